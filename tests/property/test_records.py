"""Every record and message survives its bytes, and has no other bytes than these."""

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec import messages as m
from meshnode.codec import record_bytes as rb
from meshnode.codec.message_bytes import decode_message, encode_message
from meshnode.codec.records import (
    Certificate,
    Charter,
    Endpoints,
    Envelope,
    Issuer,
    Kind,
    Member,
    MemberRecord,
    Policy,
    Revocation,
    Role,
    Route,
)
from meshnode.mesh.prefixes import contains, overlaps
from meshnode.types import Endpoint, Prefix

KEYS = st.binary(min_size=32, max_size=32)
EIGHT = st.binary(min_size=8, max_size=8)
TIMES = st.integers(0, 2**40)
VERSIONS = st.integers(1, 2**63 - 1)
DOCUMENT_VERSIONS = st.integers(1, 2**32 - 1)
U32 = st.integers(0, 2**32 - 1)
ROLES = st.integers(0, 63).map(Role)


def labels(most: int) -> st.SearchStrategy[str]:
    """Labels by a regular expression: another way to say the grammar."""
    return st.from_regex(
        rf"\A[a-z0-9]([a-z0-9-]{{0,{most - 2}}}[a-z0-9])?\Z", fullmatch=True
    )


def lines(most: int) -> st.SearchStrategy[str]:
    """Printable ASCII."""
    return st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=most)


def distinct(
    values: st.SearchStrategy[Any], least: int, most: int, by: Any = None
) -> st.SearchStrategy[tuple[Any, ...]]:
    """Tuples without repetition."""
    return st.lists(values, min_size=least, max_size=most, unique_by=by or repr).map(
        tuple
    )


def prefixes(version: int, bits: int) -> st.SearchStrategy[Prefix]:
    """Prefixes of one family, of every length, without host bits."""
    return st.integers(0, bits).flatmap(
        lambda length: st.integers(0, 2**length - 1).map(
            lambda head: Prefix(version, head << (bits - length), length)
        )
    )


PREFIXES = prefixes(4, 32) | prefixes(6, 128)
# Addresses of one host each, as the codec takes them.
HOSTS = st.one_of(
    st.integers(1, 2**32 - 2)
    .map(ipaddress.IPv4Address)
    .filter(lambda address: not address.is_multicast),
    st.integers(1, 2**128 - 1)
    .map(ipaddress.IPv6Address)
    .filter(lambda address: not address.is_multicast and not address.ipv4_mapped),
).map(str)
ENDPOINTS = st.builds(Endpoint, HOSTS, st.integers(1, 65535))
GROUPS = distinct(labels(32), 0, 8)
SUBNETS = distinct(PREFIXES, 0, 16)

CHARTERS = st.builds(
    Charter,
    st.binary(min_size=16, max_size=16),
    DOCUMENT_VERSIONS,
    labels(63),
    PREFIXES,
    distinct(KEYS, 1, 4),
    TIMES,
)
ISSUERS = st.builds(
    Issuer,
    KEYS,
    labels(63),
    distinct(PREFIXES, 0, 4),
    GROUPS,
    SUBNETS,
    ROLES,
    TIMES,
    TIMES,
    TIMES,
)
CERTIFICATES = st.builds(
    Certificate,
    st.binary(min_size=16, max_size=16),
    labels(63),
    KEYS,
    KEYS,
    st.binary(min_size=4, max_size=4),
    SUBNETS,
    GROUPS,
    ROLES,
    distinct(KEYS, 0, 3),
    TIMES,
    TIMES,
    TIMES,
)
ROUTES = st.builds(Route, PREFIXES, st.integers(0, 65535), st.integers(1, 255))
MEMBERS = st.builds(
    Member,
    VERSIONS,
    distinct(ROUTES, 0, 16, by=lambda route: route.prefix),
    st.booleans(),
)
REVOCATIONS = st.builds(Revocation, KEYS, TIMES, TIMES, lines(64))
POLICIES = st.builds(
    Policy,
    DOCUMENT_VERSIONS,
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"),
        max_size=300,
    ),
)
ENDPOINT_RECORDS = st.builds(Endpoints, KEYS, VERSIONS, distinct(ENDPOINTS, 0, 8))

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


def bodies(
    values: st.SearchStrategy[Any], encode: Encode, decode: Decode
) -> st.SearchStrategy[tuple[Any, Encode, Decode]]:
    """Values of one kind with their codec."""
    return values.map(lambda value: (value, encode, decode))


BODIES = st.one_of(
    bodies(CHARTERS, rb.encode_charter, rb.decode_charter),
    bodies(ISSUERS, rb.encode_issuer, rb.decode_issuer),
    bodies(CERTIFICATES, rb.encode_certificate, rb.decode_certificate),
    bodies(MEMBERS, rb.encode_member, rb.decode_member),
    bodies(REVOCATIONS, rb.encode_revocation, rb.decode_revocation),
    bodies(POLICIES, rb.encode_policy, rb.decode_policy),
    bodies(ENDPOINT_RECORDS, rb.encode_endpoints, rb.decode_endpoints),
)


@given(BODIES)
def test_bodies_round_trip(case: tuple[Any, Encode, Decode]) -> None:
    """What is decoded equals what was encoded, and encodes to the same bytes."""
    value, encode, decode = case
    data = encode(value)
    decoded = decode(data)
    assert decoded == value
    assert encode(decoded) == data


@given(BODIES)
def test_bodies_are_plain_msgpack(case: tuple[Any, Encode, Decode]) -> None:
    """Any msgpack library reads an array with as many items as the value has fields."""
    value, encode, _ = case
    assert len(msgpack.unpackb(encode(value))) == len(value.__dataclass_fields__)


ENVELOPES = st.builds(
    Envelope,
    st.sampled_from(Kind),
    KEYS,
    st.binary(min_size=64, max_size=64),
    st.binary(max_size=200),
)


@given(ENVELOPES)
def test_envelopes_round_trip(envelope: Envelope) -> None:
    """Whatever the body is."""
    data = rb.serialise_envelope(envelope)
    assert rb.parse_envelope(data) == envelope
    assert rb.serialise_envelope(rb.parse_envelope(data)) == data


@given(st.builds(MemberRecord, ENVELOPES, st.none() | ENVELOPES, st.none() | ENVELOPES))
def test_member_records_round_trip(record: MemberRecord) -> None:
    """Whatever the parts are."""
    data = rb.serialise_member_record(record)
    assert rb.parse_member_record(data) == record


@given(ENVELOPES, ENVELOPES, st.binary(min_size=16, max_size=16))
def test_two_envelopes_never_sign_the_same(
    one: Envelope, other: Envelope, network_id: bytes
) -> None:
    """Different kinds or bodies are different signed bytes."""
    same = (one.kind, one.body) == (other.kind, other.body)
    signed = [rb.signed_bytes(network_id, e.kind, e.body) for e in (one, other)]
    assert (signed[0] == signed[1]) is same


RECORDS = st.binary(min_size=1, max_size=60)
PATHS = st.lists(st.integers(0, 15), max_size=16).map(bytes)
SEEN = st.none() | ENDPOINTS
CHANNELS = st.integers(1, 2**32 - 1)
RELAYED = st.binary(min_size=1, max_size=500)
MESSAGES: st.SearchStrategy[m.Message] = st.one_of(
    st.builds(m.Hello, EIGHT, U32, U32, U32, st.booleans()),
    st.builds(m.Push, distinct(RECORDS, 0, 16)),
    st.builds(m.Digests, PATHS, st.lists(EIGHT, min_size=16, max_size=16).map(tuple)),
    st.builds(m.Leaf, PATHS, st.lists(st.tuples(EIGHT, EIGHT), max_size=64).map(tuple)),
    st.builds(m.Want, st.lists(EIGHT, max_size=64).map(tuple)),
    st.builds(m.Ping, EIGHT),
    st.builds(m.Pong, EIGHT, SEEN),
    st.builds(m.Publish, RECORDS),
    st.builds(m.Published, st.integers(0, 2**63 - 1), SEEN),
    st.builds(m.Lookup, KEYS),
    st.builds(m.Found, KEYS, st.binary(max_size=1100)),
    st.builds(
        m.JoinRequest, KEYS, KEYS, labels(63), st.binary(min_size=64, max_size=64)
    ),
    st.builds(m.JoinReply, RECORDS, st.binary(max_size=60)),
    st.builds(m.Refused, lines(32), lines(200)),
    st.builds(m.RenewRequest, EIGHT),
    st.builds(m.Renewed, RECORDS, st.binary(max_size=60)),
    st.builds(m.Fetch, st.sampled_from([1, 6]), U32, st.integers(0, 65536)),
    st.tuples(
        st.sampled_from([1, 6]),
        U32,
        st.integers(0, 60_000),
        st.integers(0, 500),
        st.binary(max_size=1000),
    ).map(lambda t: m.Chunk(t[0], t[1], t[2], t[2] + len(t[4]) + t[3], t[4])),
    st.builds(m.Accepts, distinct(U32, 0, 8), distinct(U32, 1, 3)),
    st.builds(m.LargestSize, st.integers(1280, 65_455)),
    st.builds(m.SizeProven, EIGHT, st.integers(1280, 65_455)),
    st.builds(
        m.RelayOpen,
        KEYS,
        distinct(KEYS, 0, 2),
        distinct(KEYS, 0, 2),
        CHANNELS,
        distinct(RELAYED, 0, 2),
    ),
    st.builds(m.RelayOffer, KEYS, CHANNELS, distinct(RELAYED, 0, 2)),
    st.builds(m.RelayAccept, CHANNELS, CHANNELS),
    st.builds(m.RelayOpened, CHANNELS, CHANNELS, st.integers(0, 3600)),
    st.builds(m.RelayClose, CHANNELS, st.sampled_from(m.RelayReason)),
)


@given(MESSAGES, st.integers(0, 15))
def test_messages_round_trip(message: m.Message, padding: int) -> None:
    """What is decoded equals what was encoded, in value and type, however padded."""
    frame = encode_message(message)
    decoded = decode_message(frame + bytes(padding))
    assert decoded == message
    assert type(decoded) is type(message)
    assert encode_message(decoded) == frame


@given(st.builds(m.SizeProbe, EIGHT, st.integers(1280, 65_455)), st.integers(0, 2000))
def test_probes_round_trip(probe: m.SizeProbe, kept: int) -> None:
    """In as many bytes as they say, however much of the padding is cut off."""
    frame = encode_message(probe)
    padding = probe.size - len(frame)
    kept = min(kept, padding)
    assert decode_message(frame + bytes(kept), padding - kept) == probe


@given(PREFIXES, PREFIXES)
def test_containment_agrees_with_the_standard_library(
    one: Prefix, other: Prefix
) -> None:
    """`contains` and `overlaps` are `subnet_of` and `overlaps` of `ipaddress`."""
    a, b = ipaddress.ip_network(str(one)), ipaddress.ip_network(str(other))
    is_same_family = a.version == b.version
    assert contains(one, other) is (is_same_family and b.subnet_of(a))  # type: ignore[arg-type]
    assert overlaps(one, other) is (is_same_family and a.overlaps(b))
    wider = replace(one, network=0, length=0)
    assert contains(wider, one)
