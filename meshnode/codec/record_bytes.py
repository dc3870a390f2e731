"""Bytes of signed records: envelopes, what is signed in them, and each kind of body.

`docs/mesh.md` lists the fields; every body is an array in the order of the dataclass
in `meshnode.codec.records`. There is one encoding of every value, and no other is
taken. Lists keep their order and hold nothing twice.

Nothing here is verified. Whoever reads an envelope checks its signature over
`signed_bytes` before it lets the body be decoded.
"""

from typing import Any, Final

from meshnode.codec.arrays import pack_array, require_canonical, unpack_array
from meshnode.codec.names import MAX_LABEL_BYTES
from meshnode.codec.records import (
    MAX_AUTHORITIES,
    MAX_CANDIDATES,
    MAX_ENVELOPE_BYTES,
    MAX_GATEWAYS,
    MAX_GROUP_BYTES,
    MAX_GROUPS,
    MAX_POLICY_BYTES,
    MAX_POOLS,
    MAX_REASON_BYTES,
    MAX_RELAYS,
    MAX_ROUTES,
    MAX_SUBNETS,
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
from meshnode.codec.strict import (
    BOOLEAN,
    ENDPOINT,
    PREFIX,
    Layout,
    checked,
    flags,
    label,
    many,
    numbered,
    octets,
    printable,
    record,
    text,
    whole,
)
from meshnode.errors import CodecError

SIGNED_PREFIX: Final = b"meshnode/1"
"""What is signed begins with it: no signature of another protocol can be ours."""

MAX_TIME: Final = 2**40
"""Wall seconds of the far future: sums of times stay small."""

MAX_VERSION: Final = 2**63 - 1
"""Of what a member signs: the greatest integer that SQLite has, too."""

MAX_DOCUMENT_VERSION: Final = 2**32 - 1
"""Of charters and policies, which people make."""


def _check_key_or_none(value: Any) -> bytes:
    if type(value) is not bytes or len(value) not in (0, 32):
        raise ValueError("not a key, nor none")
    return value


def _key_of(hint: RelayHint) -> bytes:
    return hint.key


_KEY = octets(32)
_KEY_OR_NONE = checked(_check_key_or_none)
_PORT = whole(0, 65535)
_MILLISECONDS = whole(0, 65535)
_TIME = whole(0, MAX_TIME)
_NAME = label(MAX_LABEL_BYTES)
_VERSION = whole(1, MAX_VERSION)
_DOCUMENT_VERSION = whole(1, MAX_DOCUMENT_VERSION)
_SUBNETS = many(PREFIX, 0, MAX_SUBNETS)
_GROUPS = many(label(MAX_GROUP_BYTES), 0, MAX_GROUPS)
_ROUTE = record(Route, PREFIX, whole(0, 65535), whole(1, 255))

_ENVELOPE_FIELDS = (numbered(Kind), _KEY, octets(64))
_ENVELOPE = Layout(
    Envelope,
    *_ENVELOPE_FIELDS,
    octets(0, MAX_ENVELOPE_BYTES),
    max_bytes=MAX_ENVELOPE_BYTES,
)
_POLICY_ENVELOPE = Layout(
    Envelope,
    *_ENVELOPE_FIELDS,
    octets(0, MAX_POLICY_BYTES),
    max_bytes=MAX_POLICY_BYTES,
)
_CHARTER = Layout(
    Charter,
    octets(16),
    _DOCUMENT_VERSION,
    _NAME,
    PREFIX,
    many(_KEY, 1, MAX_AUTHORITIES),
    _TIME,
    max_bytes=MAX_ENVELOPE_BYTES,
)
_ISSUER = Layout(
    Issuer,
    _KEY,
    _NAME,
    many(PREFIX, 0, MAX_POOLS),
    _GROUPS,
    _SUBNETS,
    flags(Role),
    _TIME,
    _TIME,
    _TIME,
    max_bytes=MAX_ENVELOPE_BYTES,
)
_CERTIFICATE = Layout(
    Certificate,
    octets(16),
    _NAME,
    _KEY,
    _KEY,
    octets(4),
    _SUBNETS,
    _GROUPS,
    flags(Role),
    many(_KEY, 0, MAX_GATEWAYS),
    _TIME,
    _TIME,
    _TIME,
    max_bytes=MAX_ENVELOPE_BYTES,
)
_MEMBER = Layout(
    Member,
    _VERSION,
    many(_ROUTE, 0, MAX_ROUTES, by=lambda route: route.prefix),
    BOOLEAN,
    max_bytes=MAX_ENVELOPE_BYTES,
)
_REVOCATION = Layout(
    Revocation,
    _KEY,
    _TIME,
    _TIME,
    printable(MAX_REASON_BYTES),
    max_bytes=MAX_ENVELOPE_BYTES,
)
_POLICY = Layout(
    Policy,
    _DOCUMENT_VERSION,
    text(MAX_POLICY_BYTES),
    max_bytes=MAX_POLICY_BYTES,
)
NAT_HINT: Final = record(NatHint, numbered(Mapping), _PORT, _PORT)
"""What a member says of the NAT before it."""

_ENDPOINTS = Layout(
    Endpoints,
    _KEY,
    _VERSION,
    many(ENDPOINT, 0, MAX_CANDIDATES),
    _KEY_OR_NONE,
    NAT_HINT,
    many(record(RelayHint, _KEY, _MILLISECONDS), 0, MAX_RELAYS, by=_key_of),
    max_bytes=MAX_ENVELOPE_BYTES,
)
_PART = octets(0, MAX_ENVELOPE_BYTES)


def signed_bytes(network_id: bytes, kind: Kind, body: bytes) -> bytes:
    """Return what the signature of an envelope covers; *network_id* has 16 bytes."""
    return SIGNED_PREFIX + network_id + bytes((kind,)) + body


def parse_envelope(data: bytes, *, max_bytes: int = MAX_ENVELOPE_BYTES) -> Envelope:
    """Return the envelope that *data* is, its body untouched.

    *max_bytes* is `MAX_ENVELOPE_BYTES`, or `MAX_POLICY_BYTES` where a policy may be.

    Raises:
        CodecError: for anything `serialise_envelope` cannot have written.
    """
    if len(data) > max_bytes:
        raise CodecError("too long")
    layout = _ENVELOPE if len(data) <= MAX_ENVELOPE_BYTES else _POLICY_ENVELOPE
    envelope = layout.decode(data)
    if layout is _POLICY_ENVELOPE and envelope.kind is not Kind.POLICY:
        raise CodecError("too long")
    return envelope


def serialise_envelope(envelope: Envelope) -> bytes:
    """Return the bytes of *envelope*.

    Raises:
        CodecError: if they are more than its kind may have.
    """
    if envelope.kind is Kind.POLICY:
        return _POLICY_ENVELOPE.encode(envelope)
    return _ENVELOPE.encode(envelope)


def parse_member_record(data: bytes) -> MemberRecord:
    """Return the member record that *data* is: three envelopes, no body decoded.

    Raises:
        CodecError: for anything `serialise_member_record` cannot have written.
    """
    plain = unpack_array(data, max_bytes=MAX_ENVELOPE_BYTES)
    try:
        certificate, issuer, member = [_PART.unpack(part) for part in plain]
    except ValueError as error:  # from unpacking into three names, too
        raise CodecError(f"not three envelopes: {error}") from None
    require_canonical(plain, data)
    return MemberRecord(
        parse_envelope(certificate),
        parse_envelope(issuer) if issuer else None,
        parse_envelope(member) if member else None,
    )


def serialise_member_record(member_record: MemberRecord) -> bytes:
    """Return the bytes of *member_record*, at most `MAX_ENVELOPE_BYTES`.

    Raises:
        CodecError: if they were more.
    """
    parts = (member_record.certificate, member_record.issuer, member_record.member)
    data = pack_array([serialise_envelope(part) if part else b"" for part in parts])
    if len(data) > MAX_ENVELOPE_BYTES:
        raise CodecError(
            f"a member record of {len(data)} bytes, more than {MAX_ENVELOPE_BYTES}"
        )
    return data


def encode_charter(charter: Charter) -> bytes:
    """Return the body of a charter; raises `CodecError` for fields out of range."""
    return _CHARTER.encode(charter)


def decode_charter(body: bytes) -> Charter:
    """Return the charter of a body; raises `CodecError`."""
    return _CHARTER.decode(body)


def encode_issuer(issuer: Issuer) -> bytes:
    """Return the body of an issuer; raises `CodecError` for fields out of range."""
    return _ISSUER.encode(issuer)


def decode_issuer(body: bytes) -> Issuer:
    """Return the issuer of a body; raises `CodecError`."""
    return _ISSUER.decode(body)


def encode_certificate(certificate: Certificate) -> bytes:
    """Return the body of a certificate; raises `CodecError` for fields out of range."""
    return _CERTIFICATE.encode(certificate)


def decode_certificate(body: bytes) -> Certificate:
    """Return the certificate of a body; raises `CodecError`."""
    return _CERTIFICATE.decode(body)


def encode_member(member: Member) -> bytes:
    """Return the body of a member's word; raises `CodecError` for bad fields."""
    return _MEMBER.encode(member)


def decode_member(body: bytes) -> Member:
    """Return the member's word of a body; raises `CodecError`."""
    return _MEMBER.decode(body)


def encode_revocation(revocation: Revocation) -> bytes:
    """Return the body of a revocation; raises `CodecError` for fields out of range."""
    return _REVOCATION.encode(revocation)


def decode_revocation(body: bytes) -> Revocation:
    """Return the revocation of a body; raises `CodecError`."""
    return _REVOCATION.decode(body)


def encode_policy(policy: Policy) -> bytes:
    """Return the body of a policy; raises `CodecError` for fields out of range."""
    return _POLICY.encode(policy)


def decode_policy(body: bytes) -> Policy:
    """Return the policy of a body; raises `CodecError`."""
    return _POLICY.decode(body)


def encode_endpoints(endpoints: Endpoints) -> bytes:
    """Return the body of an endpoint record; raises `CodecError` for bad fields."""
    return _ENDPOINTS.encode(endpoints)


def decode_endpoints(body: bytes) -> Endpoints:
    """Return the endpoint record of a body; raises `CodecError`."""
    return _ENDPOINTS.decode(body)
