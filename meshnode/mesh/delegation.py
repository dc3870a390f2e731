"""Letting another node issue certificates: a request there, a permission back.

The node makes an issuing key and asks with an *issuer request*, signed by that key; an
authority answers with the *issuer* envelope, which says what may be granted. Neither
is secret. Both travel as text between two lines (`meshnode.mesh.armour`).
"""

from collections.abc import Iterable
from typing import Final

from meshnode.codec.record_bytes import (
    decode_certificate,
    decode_issuer,
    parse_envelope,
    parse_member_record,
)
from meshnode.codec.records import (
    MAX_ENVELOPE_BYTES,
    MAX_NAME_BYTES,
    Issuer,
    Kind,
    Revocation,
)
from meshnode.codec.strict import Layout, label, octets
from meshnode.crypto.keys import KEY_BYTES
from meshnode.crypto.signing import SIGNATURE_SIZE, SigningKey, verify
from meshnode.errors import AuthenticationError, CodecError, ConfigError
from meshnode.mesh.armour import armour, unarmour
from meshnode.mesh.documents import create_issuer, create_revocation, next_charter
from meshnode.mesh.grants import VALIDITY_SKEW
from meshnode.mesh.identifiers import NETWORK_ID_BYTES
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.trust import Trust
from meshnode.values import frozen

MAX_REQUEST_BYTES: Final = 512

_REQUEST_NAME: Final = "issuer-request"
_ISSUER_NAME: Final = "issuer"
_LABEL: Final = b"meshnode/1 issuer request"


@frozen
class IssuerRequest:
    """Who wants to issue: the network's id, the node's name and its issuing key."""

    network_id: bytes
    name: str
    issuing_key: bytes


@frozen
class _Signed:
    body: bytes
    signature: bytes


_REQUEST: Final = Layout(
    IssuerRequest,
    octets(NETWORK_ID_BYTES),
    label(MAX_NAME_BYTES),
    octets(KEY_BYTES),
    max_bytes=MAX_REQUEST_BYTES,
)
_SIGNED: Final = Layout(
    _Signed,
    octets(1, MAX_REQUEST_BYTES),
    octets(SIGNATURE_SIZE),
    max_bytes=MAX_REQUEST_BYTES,
)


def serialise_issuer_request(request: IssuerRequest, issuing: SigningKey) -> str:
    """Return the text of *request*, signed by the key that it names.

    Raises:
        ConfigError: if a field is out of range.
    """
    if issuing.public != request.issuing_key:
        raise ValueError("a request is signed by the key it names")
    try:
        body = _REQUEST.encode(request)
    except CodecError as error:
        raise ConfigError(f"the request cannot be made: {error}") from None
    signed = _Signed(body, issuing.sign(_LABEL + body))
    return armour(_REQUEST_NAME, _SIGNED.encode(signed))


def parse_issuer_request(text: str) -> IssuerRequest:
    """Read a request and check its signature; raises `ConfigError`."""
    data = unarmour(_REQUEST_NAME, text, max_bytes=MAX_REQUEST_BYTES)
    try:
        signed = _SIGNED.decode(data)
        request = _REQUEST.decode(signed.body)
        verify(request.issuing_key, _LABEL + signed.body, signed.signature)
    except CodecError:
        raise ConfigError("the request is none that meshnode has made") from None
    except AuthenticationError:
        raise ConfigError("the request's signature is wrong; make it again") from None
    return request


def serialise_permission(envelope: bytes) -> str:
    """Return the text of an issuer's envelope."""
    return armour(_ISSUER_NAME, envelope)


def parse_permission(text: str) -> bytes:
    """Read the text of an issuer's envelope, unverified; raises `ConfigError`."""
    data = unarmour(_ISSUER_NAME, text, max_bytes=MAX_ENVELOPE_BYTES)
    try:
        if parse_envelope(data).kind is not Kind.ISSUER:
            raise CodecError("of another kind")
    except CodecError:
        raise ConfigError("the permission is none that meshnode has made") from None
    return data


def permit_issuer(trust: Trust, authority: SigningKey, issuer: Issuer) -> bytes:
    """Return the envelope in which *authority* permits *issuer*, verified.

    Raises:
        ConfigError: saying what the network does not allow.
    """
    try:
        envelope = create_issuer(authority, trust.network_id, issuer)
        trust.verify_issuer(parse_envelope(envelope), wall=None)
    except (CodecError, RecordRefused) as error:
        raise ConfigError(f"such an issuer would not be valid: {error}") from None
    return envelope


def succeed_charter(
    trust: Trust,
    authority: SigningKey,
    *,
    authorities: tuple[bytes, ...],
    wall: int,
) -> bytes:
    """Return the next charter, with these authorities, and add it to *trust*.

    Raises:
        ConfigError: saying what the network does not allow.
    """
    charter = trust.charter
    try:
        envelope = next_charter(
            charter,
            authority,
            name=charter.name,
            authorities=authorities,
            created=wall,
        )
        trust.add_charter(envelope)
    except (CodecError, RecordRefused) as error:
        raise ConfigError(f"such a charter would not be valid: {error}") from None
    return envelope


def revoke_by_authority(
    trust: Trust,
    authority: SigningKey,
    subject: bytes,
    *,
    reason: str,
    until: int,
    wall: int,
) -> bytes:
    """Return the revocation of any key by an authority, verified.

    *until* is when what the key is used for ends by itself, wall seconds.

    Raises:
        ConfigError: if the reason is not at most 64 bytes of printable ASCII, or the
            key no authority's.
    """
    end = max(until, wall) + 2 * VALIDITY_SKEW
    try:
        envelope = create_revocation(
            authority, trust.network_id, Revocation(subject, wall, end, reason)
        )
        trust.verify_revocation(envelope)
    except (CodecError, RecordRefused) as error:
        raise ConfigError(f"such a revocation would not be valid: {error}") from None
    return envelope


def standing_on(
    records: Iterable[tuple[int, bytes]], authority: bytes
) -> tuple[tuple[str, ...], int]:
    """Return what ends when *authority* is one no more.

    These are the names of the issuers through whom members stand on it, sorted (a
    member that it certified itself by its own name), and the number of revocations
    it signed. *records* are kinds and bytes, verified before.
    """
    names: set[str] = set()
    revocations = 0
    for kind, data in records:
        if kind == Kind.MEMBER:
            names.update(_names_through(data, authority))
        elif parse_envelope(data).signer == authority:
            revocations += 1
    return tuple(sorted(names)), revocations


def _names_through(data: bytes, authority: bytes) -> list[str]:
    record = parse_member_record(data)
    if record.issuer is None:
        is_by = record.certificate.signer == authority
        return [decode_certificate(record.certificate.body).name] if is_by else []
    if record.issuer.signer != authority:
        return []
    return [decode_issuer(record.issuer.body).name]
