"""Any bytes from a worker: a report, or CodecError, and nothing else."""

import random
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode import forwarding as f
from meshnode.codec.forwarding import (
    decode_command,
    decode_report,
    encode_command,
    encode_report,
)
from meshnode.errors import CodecError
from meshnode.types import Cipher, Endpoint, Path, Prefix, Source

PATH = Path(Endpoint("2001:db8::1", 9, 2), Source("192.0.2.1", 3))
SEEDS = [
    encode_command(f.SetEndpoint(3, PATH)),
    encode_command(f.AddAllowedIps(3, (Prefix.parse("10.0.0.0/9"),) * 3)),
    encode_command(
        f.InstallSession(1, f.Session(1, 2, bytes(32), bytes(32), 0.5, True))
    ),
    encode_report(f.EndpointMoved(3, PATH)),
    encode_report(
        f.SessionsHeld(
            (f.HeldSession(1, 2, 3, 3.5, True, True, Cipher.AES_256_GCM),) * 2, True
        )
    ),
    encode_command(f.SetCipher(1, 2, Cipher.AES_256_GCM)),
    encode_report(f.RekeyDue(4, 5, False)),
    encode_command(
        f.SharePrefix(Prefix.parse("fd00::/9"), (f.ShareOfPrefix(1, 9),) * 2, (1, 2))
    ),
    encode_command(f.SendControl(3, b"\x01frame")),
    encode_command(f.SendProbe(3, b"\x01frame", 8920)),
    encode_report(f.ControlReceived(3, b"\x01frame", 300)),
]
ENDS: list[tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = [
    (decode_command, encode_command),
    (decode_report, encode_report),
]


def feed(data: bytes) -> None:
    """Decode both ways; what is taken must be a value that can be encoded."""
    for decode, encode in ENDS:
        try:
            value = decode(data)
        except CodecError:
            continue
        assert decode(encode(value)) == value


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    """Bytes without sense raise only CodecError."""
    feed(data)


PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=33)
    | st.sampled_from([bytes(4), bytes(16), bytes(5), bytes(17), bytes(32)])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.integers(0, 18), st.lists(PLAIN, max_size=4))
def test_sound_msgpack_of_the_wrong_shape(number: int, rest: list[Any]) -> None:
    """Any msgpack value after any number raises only CodecError."""
    feed(msgpack.packb([number, *rest]))


@pytest.mark.parametrize("seed", range(4))
def test_mutated_messages(seed: int) -> None:
    """Messages with changed, cut or inserted bytes raise only CodecError."""
    rng = random.Random(seed)
    for step in range(3000):
        data = bytearray(rng.choice(SEEDS))
        for _ in range(rng.randint(1, 4)):
            where = rng.randrange(len(data) + 1)
            data[where : where + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        try:
            feed(bytes(data))
        except Exception as error:
            error.add_note(f"seed {seed}, step {step}, bytes {data.hex()}")
            raise
