"""Any bytes as a probe: one kind of refusal, no answer, and nothing is remembered."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.probes import (
    PLAIN_SIZE,
    PROBE_SIZE,
    decode_plain,
    decode_sealed,
    encode_plain,
)
from meshnode.errors import BadPacket, CodecError
from meshnode.mesh.probes import Probes

KEY = bytes([7]) * 32


@given(st.binary(max_size=PROBE_SIZE + 8))
def test_datagrams_are_refused_with_one_error(data: bytes) -> None:
    """Whatever they are."""
    for whole in (data, b"\6\0\0\0" + data, (b"\6\0\0\0" + data)[:PROBE_SIZE]):
        try:
            decode_sealed(whole)
        except CodecError:
            continue


@given(st.binary(min_size=PLAIN_SIZE, max_size=PLAIN_SIZE))
def test_what_decodes_is_what_encoding_gives(plain: bytes) -> None:
    """There is one spelling of everything, also of what a member seals."""
    for whole in (plain, bytes([4]) + plain[:4] + bytes(PLAIN_SIZE - 5)):
        try:
            probe = decode_plain(whole)
        except CodecError:
            continue
        assert encode_plain(probe) == whole


def test_changed_probes_of_a_member_do_not_open(rng: random.Random) -> None:
    """And the true one still does afterwards."""
    one, other = Probes(rng.randbytes), Probes(rng.randbytes)
    one.know(KEY, other.key)
    other.know(KEY, one.key)
    for _ in range(200):
        _, ping = one.ping(KEY)
        changed = bytearray(ping)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] ^= rng.randint(1, 255)
        for data in (bytes(changed), ping[: rng.randrange(len(ping))], ping + b"\0"):
            if data != ping:
                with pytest.raises(BadPacket):
                    other.open(data)
        other.open(ping)
