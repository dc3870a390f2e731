"""Records as bytes: pinned encodings, bounds, and one spelling of everything."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from meshnode.codec import record_bytes as rb
from meshnode.codec.records import (
    MAX_ENVELOPE_BYTES,
    MAX_POLICY_BYTES,
    Certificate,
    Charter,
    Endpoints,
    Envelope,
    Issuer,
    Kind,
    Mapping,
    Member,
    MemberRecord,
    NatHint,
    Policy,
    RelayHint,
    Revocation,
    Role,
    Route,
)
from meshnode.errors import CodecError
from meshnode.types import Endpoint, Prefix

K1, K2 = b"\x11" * 32, b"\x22" * 32
K1_HEX, K2_HEX = "c420" + "11" * 32, "c420" + "22" * 32
NET = Prefix.parse("10.20.0.0/16")

CHARTER = Charter(bytes(16), 1, "home", NET, (K1, K2), 7)
ISSUER = Issuer(K1, "gate", (NET,), ("staff",), (), Role.RELAY, 60, 5, 70000)
CERTIFICATE = Certificate(
    bytes(16), "pc", K1, K2, b"\x0a\x14\x00\x01", (NET,), (), Role(63), (), 5, 6, 4
)
MEMBER = Member(3, (Route(NET, 100, 1),), True)
REVOCATION = Revocation(K1, 5, 6, "lost")
POLICY = Policy(2, "[[allow]]\n")
ENDPOINTS = Endpoints(K1, 9, (Endpoint("192.0.2.1", 51820),))

HINTS = Endpoints(
    K1,
    9,
    (),
    K2,
    NatHint(Mapping.ENDPOINT_DEPENDENT, 1024, 2047),
    (RelayHint(K1, 20),),
)

# Encoder, decoder, a value, and its bytes field by field.
BODIES: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any], Any, str]] = {
    "charter": (
        rb.encode_charter,
        rb.decode_charter,
        CHARTER,
        "96" + "c410" + "00" * 16 + "01" + "a4686f6d65" + "c403100a14"
        f"92{K1_HEX}{K2_HEX}" + "07",
    ),
    "issuer": (
        rb.encode_issuer,
        rb.decode_issuer,
        ISSUER,
        f"99{K1_HEX}" + "a467617465" + "91c403100a14" + "91a57374616666" + "90" + "02"
        "3c" + "05" + "ce00011170",
    ),
    "certificate": (
        rb.encode_certificate,
        rb.decode_certificate,
        CERTIFICATE,
        "9cc410" + "00" * 16 + f"a27063{K1_HEX}{K2_HEX}" + "c4040a140001"
        "91c403100a14" + "90" + "3f" + "90" + "05" + "06" + "04",
    ),
    "member": (
        rb.encode_member,
        rb.decode_member,
        MEMBER,
        "93" + "03" + "9193c403100a14" + "64" + "01" + "c3",
    ),
    "revocation": (
        rb.encode_revocation,
        rb.decode_revocation,
        REVOCATION,
        f"94{K1_HEX}" + "05" + "06" + "a46c6f7374",
    ),
    "policy": (
        rb.encode_policy,
        rb.decode_policy,
        POLICY,
        "92" + "02" + "aa5b5b616c6c6f775d5d0a",
    ),
    "endpoints": (
        rb.encode_endpoints,
        rb.decode_endpoints,
        ENDPOINTS,
        f"96{K1_HEX}" + "09" + "91c406c0000201ca6c" + "c400" + "93000000" + "90",
    ),
    "endpoints with hints": (
        rb.encode_endpoints,
        rb.decode_endpoints,
        HINTS,
        f"96{K1_HEX}" + "0990" + K2_HEX + "9302cd0400cd07ff" + f"9192{K1_HEX}14",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_have_these_bytes(name: str) -> None:
    """A changed encoding would make every signature of before worthless."""
    encode, decode, value, encoded = BODIES[name]
    assert encode(value).hex() == encoded
    assert decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize("name", BODIES)
def test_bodies_are_refused_when_cut_extended_or_of_another_kind(name: str) -> None:
    """No truncation, no trailing byte, and no body of one kind passes for another."""
    encode, decode, value, _ = BODIES[name]
    data = encode(value)
    for other in [*(data[:size] for size in range(len(data))), data + b"\0"]:
        with pytest.raises(CodecError):
            decode(other)
    for other_encode, _, other_value, _ in BODIES.values():
        if type(other_value) is not type(value):
            with pytest.raises(CodecError):
                decode(other_encode(other_value))


@pytest.mark.parametrize("name", BODIES)
def test_bodies_have_one_spelling(name: str) -> None:
    """The outer array with a longer header is the same value, and refused."""
    encode, decode, value, _ = BODIES[name]
    data = encode(value)
    with pytest.raises(CodecError, match="canonical"):
        decode(b"\xdc\x00" + bytes((data[0] & 15,)) + data[1:])


MANY_KEYS = tuple(bytes((n,)) * 32 for n in range(9))
MANY_NETS = tuple(Prefix(4, n << 24, 8) for n in range(1, 20))

OUT_OF_RANGE: list[tuple[Callable[[Any], bytes], Any]] = [
    (rb.encode_charter, replace(CHARTER, network_id=bytes(15))),
    (rb.encode_charter, replace(CHARTER, version=0)),
    (rb.encode_charter, replace(CHARTER, version=2**32)),
    (rb.encode_charter, replace(CHARTER, name="Home")),
    (rb.encode_charter, replace(CHARTER, name="")),
    (rb.encode_charter, replace(CHARTER, name="a" * 64)),
    (rb.encode_charter, replace(CHARTER, authorities=())),
    (rb.encode_charter, replace(CHARTER, authorities=(K1, K1))),
    (rb.encode_charter, replace(CHARTER, authorities=MANY_KEYS[:5])),
    (rb.encode_charter, replace(CHARTER, created=-1)),
    (rb.encode_charter, replace(CHARTER, created=2**40 + 1)),
    (rb.encode_charter, replace(CHARTER, created=True)),
    (rb.encode_issuer, replace(ISSUER, issuing_key=bytes(33))),
    (rb.encode_issuer, replace(ISSUER, pools=MANY_NETS[:5])),
    (rb.encode_issuer, replace(ISSUER, pools=(NET, NET))),
    (rb.encode_issuer, replace(ISSUER, groups=("a" * 33,))),
    (rb.encode_issuer, replace(ISSUER, groups=tuple("abcdefghi"))),
    (rb.encode_issuer, replace(ISSUER, groups=("a", "a"))),
    (rb.encode_issuer, replace(ISSUER, subnets=MANY_NETS[:17])),
    (rb.encode_issuer, replace(ISSUER, roles=Role(64))),
    (rb.encode_certificate, replace(CERTIFICATE, serial=bytes(15))),
    (rb.encode_certificate, replace(CERTIFICATE, name="a\nb")),
    (rb.encode_certificate, replace(CERTIFICATE, ipv4=bytes(16))),
    (rb.encode_certificate, replace(CERTIFICATE, gateways=MANY_KEYS[:4])),
    (rb.encode_certificate, replace(CERTIFICATE, gateways=(K1, K1))),
    (rb.encode_certificate, replace(CERTIFICATE, subnets=(Prefix(4, 1, 8),))),
    (rb.encode_certificate, replace(CERTIFICATE, not_after=True)),
    (rb.encode_member, replace(MEMBER, version=0)),
    (rb.encode_member, replace(MEMBER, version=2**63)),
    (rb.encode_member, replace(MEMBER, routes=(Route(NET, 65536),))),
    (rb.encode_member, replace(MEMBER, routes=(Route(NET, -1),))),
    (rb.encode_member, replace(MEMBER, routes=(Route(NET, 1, 0),))),
    (rb.encode_member, replace(MEMBER, routes=(Route(NET, 1, 256),))),
    (rb.encode_member, replace(MEMBER, routes=tuple(map(Route, MANY_NETS[:17])))),
    (rb.encode_member, replace(MEMBER, version=True)),
    (rb.encode_revocation, replace(REVOCATION, subject=b"")),
    (rb.encode_revocation, replace(REVOCATION, reason="a" * 65)),
    (rb.encode_revocation, replace(REVOCATION, reason="\x1b[2J")),
    (rb.encode_policy, replace(POLICY, version=0)),
    (rb.encode_policy, replace(POLICY, text="a" * MAX_POLICY_BYTES)),
    (rb.encode_policy, replace(POLICY, text="\x00")),
    (rb.encode_endpoints, replace(ENDPOINTS, version=0)),
    (rb.encode_endpoints, replace(HINTS, probe_key=bytes(31))),
    (rb.encode_endpoints, replace(HINTS, nat=NatHint(first_port=65536))),
    (rb.encode_endpoints, replace(HINTS, relays=HINTS.relays * 2)),
    (rb.encode_endpoints, replace(ENDPOINTS, candidates=ENDPOINTS.candidates * 2)),
    (
        rb.encode_endpoints,
        replace(
            ENDPOINTS,
            candidates=tuple(Endpoint("192.0.2.1", port) for port in range(1, 10)),
        ),
    ),
]


@pytest.mark.parametrize(("encode", "value"), OUT_OF_RANGE)
def test_fields_out_of_range_are_not_written(
    encode: Callable[[Any], bytes], value: Any
) -> None:
    """Every bound of `codec.records` holds when writing."""
    with pytest.raises(CodecError):
        encode(value)


def test_a_member_announces_a_prefix_once() -> None:
    """The same prefix with two metrics would leave open which one counts."""
    member = Member(1, (Route(NET, 1), Route(NET, 2)))
    with pytest.raises(CodecError):
        rb.encode_member(member)
    plain = [1, [[b"\x08\x0a", 1, 1], [b"\x08\x0a", 2, 1]], False]
    with pytest.raises(CodecError):
        rb.decode_member(msgpack.packb(plain))


def test_lists_as_long_as_allowed_are_taken() -> None:
    """The bounds themselves are within."""
    member = Member(2**63 - 1, tuple(Route(net, 65535, 255) for net in MANY_NETS[:16]))
    assert rb.decode_member(rb.encode_member(member)) == member
    charter = replace(CHARTER, authorities=MANY_KEYS[:4], version=2**32 - 1)
    assert rb.decode_charter(rb.encode_charter(charter)) == charter


ENVELOPE = Envelope(Kind.MEMBER, K1, b"\x33" * 64, b"body")


def test_an_envelope_has_these_bytes() -> None:
    """Kind, signer, signature and body, in this order."""
    data = rb.serialise_envelope(ENVELOPE)
    assert data.hex() == f"9404{K1_HEX}c440" + "33" * 64 + "c404" + b"body".hex()
    assert rb.parse_envelope(data) == ENVELOPE


def test_what_is_signed_names_the_network_and_the_kind() -> None:
    """The same body in another network, or as another kind, is other bytes."""
    signed = rb.signed_bytes(bytes(range(16)), Kind.CERTIFICATE, b"body")
    assert signed == b"meshnode/1" + bytes(range(16)) + b"\x03" + b"body"


@pytest.mark.parametrize(
    "plain",
    [
        [0, K1, bytes(64), b""],
        [8, K1, bytes(64), b""],
        [True, K1, bytes(64), b""],
        [4, K1[1:], bytes(64), b""],
        [4, K1, bytes(63), b""],
        [4, K1, bytes(65), b""],
        [4, K1, bytes(64), ""],
        [4, K1, bytes(64), None],
        [4, K1, bytes(64), []],
        [4, K1, bytes(64)],
        [4, K1, bytes(64), b"", b""],
        [4, K1, bytes(64), bytes(MAX_ENVELOPE_BYTES)],
    ],
)
def test_other_envelopes_are_refused(plain: Any) -> None:
    """Unknown kinds, wrong lengths, wrong types, wrong counts."""
    with pytest.raises(CodecError):
        rb.parse_envelope(msgpack.packb(plain))


def test_envelopes_end_where_their_kind_says() -> None:
    """1,100 bytes for all; a policy 65,536, where the reader expects one."""
    overhead = len(rb.serialise_envelope(replace(ENVELOPE, body=bytes(256)))) - 256
    longest = replace(ENVELOPE, body=bytes(MAX_ENVELOPE_BYTES - overhead))
    data = rb.serialise_envelope(longest)
    assert len(data) == MAX_ENVELOPE_BYTES
    assert rb.parse_envelope(data) == longest
    with pytest.raises(CodecError):
        rb.serialise_envelope(replace(longest, body=longest.body + b"\0"))

    policy = replace(ENVELOPE, kind=Kind.POLICY, body=bytes(65_000))
    data = rb.serialise_envelope(policy)
    assert rb.parse_envelope(data, max_bytes=MAX_POLICY_BYTES) == policy
    with pytest.raises(CodecError, match="too long"):
        rb.parse_envelope(data)
    with pytest.raises(CodecError):
        rb.serialise_envelope(replace(policy, body=bytes(MAX_POLICY_BYTES)))


def test_only_a_policy_may_be_long() -> None:
    """A long envelope of another kind is refused even where a policy may be."""
    data = msgpack.packb([int(Kind.MEMBER), K1, bytes(64), bytes(2000)])
    with pytest.raises(CodecError, match="too long"):
        rb.parse_envelope(data, max_bytes=MAX_POLICY_BYTES)


@pytest.mark.parametrize("issuer", [None, replace(ENVELOPE, kind=Kind.ISSUER)])
@pytest.mark.parametrize("member", [None, ENVELOPE])
def test_member_records_survive(
    issuer: Envelope | None, member: Envelope | None
) -> None:
    """With and without an issuer, with and without the member's word."""
    whole = MemberRecord(replace(ENVELOPE, kind=Kind.CERTIFICATE), issuer, member)
    data = rb.serialise_member_record(whole)
    assert rb.parse_member_record(data) == whole
    assert len(msgpack.unpackb(data)) == 3


ENVELOPED = rb.serialise_envelope(ENVELOPE)


@pytest.mark.parametrize(
    "plain",
    [
        [],
        [b"", b"", b""],
        [ENVELOPED, b""],
        [ENVELOPED, b"", b"", b""],
        [ENVELOPED, None, b""],
        [ENVELOPED, b"", b"\x90"],
        [ENVELOPED + b"\0", b"", b""],
        [ENVELOPED, ENVELOPED[:-1], b""],
        [[4, K1, bytes(64), b""], b"", b""],
    ],
)
def test_other_member_records_are_refused(plain: Any) -> None:
    """The certificate must be there, every part an envelope, and three of them."""
    with pytest.raises(CodecError):
        rb.parse_member_record(msgpack.packb(plain))


def test_a_member_record_has_one_spelling() -> None:
    """A part with a longer header is refused."""
    data = msgpack.packb([ENVELOPED, b"", b""])
    assert rb.parse_member_record(data)
    with pytest.raises(CodecError, match="canonical"):
        rb.parse_member_record(data[:-2] + b"\xc5\x00\x00")


def test_a_member_record_fits_into_one_push() -> None:
    """The whole has the length of one envelope at most, to read and to write."""
    bare = rb.serialise_member_record(MemberRecord(ENVELOPE, None, None))
    room = MAX_ENVELOPE_BYTES - len(bare) - 2  # longer byte strings, longer headers
    fitting = MemberRecord(replace(ENVELOPE, body=bytes(room + 4)), None, None)
    data = rb.serialise_member_record(fitting)
    assert len(data) == MAX_ENVELOPE_BYTES
    assert rb.parse_member_record(data) == fitting
    part = replace(ENVELOPE, body=bytes(room + 5))
    with pytest.raises(CodecError, match="more than 1100"):
        rb.serialise_member_record(MemberRecord(part, None, None))
    part = replace(ENVELOPE, body=bytes(600))
    with pytest.raises(CodecError, match="more than 1100"):
        rb.serialise_member_record(MemberRecord(part, None, part))
    envelope = rb.serialise_envelope(part)
    with pytest.raises(CodecError, match="too long"):
        rb.parse_member_record(msgpack.packb([envelope, b"", envelope]))
