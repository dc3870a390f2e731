"""Any bytes from anyone: a value, or one named refusal, and nothing changed."""

import random
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec import messages as m
from meshnode.codec import record_bytes as rb
from meshnode.codec.message_bytes import decode_message, encode_message
from meshnode.codec.records import (
    MAX_POLICY_BYTES,
    Endpoints,
    Kind,
    Mapping,
    NatHint,
    Policy,
    Revocation,
)
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.sealed import open_sealed, seal_to
from meshnode.errors import AuthenticationError, CodecError
from meshnode.mesh.documents import (
    create_endpoints,
    create_policy,
    create_revocation,
)
from meshnode.mesh.refusal import RecordRefused
from meshnode.types import Endpoint
from tests.certified_network import (
    AUTHORITY,
    CERTIFICATE,
    CHARTER,
    ISSUER,
    MEMBER,
    MEMBER_SIGNING,
    NETWORK_ID,
    WALL,
    member_record,
    stock_record,
    trusting,
)

REVOCATION = Revocation(bytes(32), 1, 2, "lost")
POLICY = Policy(1, "[[allow]]\n")
ENDPOINTS = Endpoints(CERTIFICATE.wireguard_key, 1, (Endpoint("192.0.2.1", 1),))


def parse_policy_envelope(data: bytes) -> Any:
    """Parse an envelope where a policy may be."""
    return rb.parse_envelope(data, max_bytes=MAX_POLICY_BYTES)


# Every entry for bytes that decodes without keys, and its way back.
CODECS: list[tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = [
    (rb.parse_envelope, rb.serialise_envelope),
    (parse_policy_envelope, rb.serialise_envelope),
    (rb.parse_member_record, rb.serialise_member_record),
    (rb.decode_charter, rb.encode_charter),
    (rb.decode_issuer, rb.encode_issuer),
    (rb.decode_certificate, rb.encode_certificate),
    (rb.decode_member, rb.encode_member),
    (rb.decode_revocation, rb.encode_revocation),
    (rb.decode_policy, rb.encode_policy),
    (rb.decode_endpoints, rb.encode_endpoints),
]
RECORDS = [
    CHARTER,
    member_record(),
    stock_record(),
    create_revocation(AUTHORITY, NETWORK_ID, REVOCATION),
    create_policy(AUTHORITY, NETWORK_ID, POLICY),
    create_endpoints(MEMBER_SIGNING, NETWORK_ID, ENDPOINTS),
]
SEEDS = [
    *RECORDS,
    rb.parse_envelope(CHARTER).body,
    rb.encode_issuer(ISSUER),
    rb.encode_certificate(CERTIFICATE),
    rb.encode_member(MEMBER),
    rb.encode_revocation(REVOCATION),
    rb.encode_policy(POLICY),
    rb.encode_endpoints(ENDPOINTS),
]
FRAMES = [
    encode_message(message)
    for message in (
        m.Hello(bytes(8), 3, 1, 0, True),
        m.Push((member_record(),)),
        m.Digests(b"\x01", (bytes(8),) * 16),
        m.Leaf(b"", ((bytes(8), bytes(8)),) * 3),
        m.Want((bytes(8),) * 3),
        m.Pong(bytes(8), Endpoint("2001:db8::1", 9)),
        m.JoinRequest(bytes(32), bytes(32), "pc", bytes(64)),
        m.Refused("used", "no more"),
        m.Chunk(1, 2, 0, 3, b"abc"),
        m.Accepts((8, 4, 99), (1, 2**31)),
        m.LargestSize(8920),
        m.SizeProbe(bytes(8), 8920),
        m.SizeProven(bytes(8), 8920),
        m.RelayOpen(bytes(32), (b"r" * 32,), (b"o" * 32,), 7, (bytes(148),)),
        m.RelayOffer(bytes(32), 7, (b"i" * 600, bytes(148))),
        m.RelayAccept(7, 2**31),
        m.RelayOpened(7, 8, 300),
        m.RelayClose(7, m.RelayReason.NO_CAPACITY),
        m.CallMe(
            7,
            True,
            bytes(32),
            (Endpoint("192.0.2.1", 5),),
            None,
            NatHint(Mapping.ENDPOINT_DEPENDENT, 5, 6),
            (Endpoint("2001:db8::1", 9),),
        ),
        m.ProbeMe(bytes(32), Endpoint("192.0.2.1", 5)),
        m.ProbeThem(bytes(32), bytes(32), Endpoint("192.0.2.1", 5)),
        m.ProbeKey(bytes(32), True),
    )
]
TRUST = trusting()
VERIFIED = TRUST.verify_member(member_record(), wall=WALL)


def feed(data: bytes) -> None:
    """Decode every way; what is taken must encode to the very same bytes."""
    for decode, encode in CODECS:
        try:
            value = decode(data)
        except CodecError:
            continue
        assert encode(value) == data


def feed_message(frame: bytes) -> None:
    """Decode a control frame; what is taken must be the frame without padding."""
    feed_probe(frame)
    try:
        message = decode_message(frame)
    except CodecError:
        return
    encoded = encode_message(message)
    assert frame.startswith(encoded)
    assert not any(frame[len(encoded) :])


def feed_probe(frame: bytes) -> None:
    """Decode it as if padding had been cut off, as of a probe; it says its size."""
    cut = 8920 - len(frame)
    try:
        message = decode_message(frame, cut)
    except CodecError:
        return
    assert cut <= 15 or message == m.SizeProbe(getattr(message, "nonce", b""), 8920)


def feed_trust(data: bytes) -> None:
    """Verify every way; only what somebody signed is taken, and no charter."""
    for verify in (
        lambda: TRUST.add_charter(data),
        lambda: TRUST.verify_member(data, wall=None),
        lambda: TRUST.verify_revocation(data),
        lambda: TRUST.verify_policy(data),
        lambda: TRUST.verify_endpoints(data, VERIFIED),
    ):
        try:
            verify()
        except RecordRefused:
            continue
        assert data in RECORDS
    assert TRUST.chain() == (CHARTER,)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Change, cut out or insert some bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        where = rng.randrange(len(changed) + 1)
        changed[where : where + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
    return bytes(changed)


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    """Bytes without sense are refused everywhere."""
    feed(data)
    feed_message(data)
    feed_message(b"\x01" + len(data).to_bytes(2, "little") + data)
    feed_trust(data)


PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=20)
    | st.sampled_from([bytes(n) for n in (4, 5, 6, 8, 16, 18, 32, 64, 128)])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=9)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=14,
)


@given(st.integers(0, 19), st.lists(PLAIN, max_size=9))
def test_sound_msgpack_of_the_wrong_shape(number: int, rest: list[Any]) -> None:
    """Any msgpack values are refused or mean one thing."""
    data = msgpack.packb([number, *rest])
    feed(data)
    feed(msgpack.packb(rest))
    feed_message(b"\x01" + len(data).to_bytes(2, "little") + data)


@pytest.mark.parametrize("number", range(4))
def test_mutated_records(seed: int, number: int) -> None:
    """Records and bodies with changed, cut or inserted bytes."""
    rng = random.Random(f"{seed} {number}")
    for step in range(1000):
        data = mutated(rng, rng.choice(SEEDS))
        try:
            feed(data)
            feed_trust(data)
        except Exception as error:
            error.add_note(f"seed {seed}, {number}, step {step}, bytes {data.hex()}")
            raise


@pytest.mark.parametrize("number", range(4))
def test_mutated_messages(seed: int, number: int) -> None:
    """Frames with changed, cut or inserted bytes."""
    rng = random.Random(f"{seed} {number}")
    for step in range(3000):
        frame = mutated(rng, rng.choice(FRAMES))
        try:
            feed_message(frame)
        except Exception as error:
            error.add_note(f"seed {seed}, {number}, step {step}, bytes {frame.hex()}")
            raise


@pytest.mark.parametrize("data", SEEDS)
def test_truncation_at_every_byte(data: bytes) -> None:
    """No beginning of a record is a record."""
    for size in range(len(data)):
        feed(data[:size])
        feed_trust(data[:size])


@pytest.mark.parametrize("data", RECORDS)
def test_every_flipped_bit_of_a_record(data: bytes) -> None:
    """Everything in a record is signed by somebody."""
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        feed_trust(bytes(changed))


@pytest.mark.parametrize("frame", FRAMES)
def test_every_flipped_bit_and_every_cut_of_a_message(frame: bytes) -> None:
    """A frame that still decodes means exactly its bytes."""
    for bit in range(8 * len(frame)):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        feed_message(bytes(changed))
    for size in range(len(frame)):
        feed_message(frame[:size])


@pytest.mark.parametrize("number", range(2))
def test_mutated_sealed_bytes(seed: int, number: int) -> None:
    """Sealed bytes open as they were or not at all."""
    rng = random.Random(f"{seed} {number}")
    private = PrivateKey(rng.randbytes(32))
    sealed = seal_to(private.public_key().raw, b"text", ephemeral=rng.randbytes(32))
    for _ in range(300):
        data = mutated(rng, sealed)
        if data != sealed:
            with pytest.raises(AuthenticationError):
                open_sealed(private, data)


def test_kinds_are_all_fed() -> None:
    """No kind of record was forgotten among the seeds."""
    kinds = {Kind.MEMBER, Kind.CERTIFICATE, Kind.ISSUER}
    for data in RECORDS:
        try:
            kinds.add(rb.parse_envelope(data).kind)
        except CodecError:
            assert rb.parse_member_record(data)
    assert kinds == set(Kind)
