"""Create and sign records: the other side of `meshnode.mesh.trust`.

What is created here is not judged: `Trust` refuses what its signer may not say, so a
caller that wants to know at once lets `Trust` verify the result. Every function
raises `CodecError` if a field is out of range or the record too long.
"""

from meshnode.codec.record_bytes import (
    encode_certificate,
    encode_charter,
    encode_endpoints,
    encode_issuer,
    encode_member,
    encode_policy,
    encode_revocation,
    parse_envelope,
    serialise_envelope,
    serialise_member_record,
    signed_bytes,
)
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
)
from meshnode.crypto.signing import SigningKey
from meshnode.mesh.trust import network_id_of
from meshnode.types import Prefix


def create_charter(
    authority: SigningKey,
    *,
    name: str,
    cidr: Prefix,
    created: int,
    others: tuple[bytes, ...] = (),
) -> bytes:
    """Return the first charter of the network that *authority* founds.

    Its network id is `network_id_of(authority.public)`. *created* is wall seconds;
    *others* are the keys of up to three more authorities.
    """
    network_id = network_id_of(authority.public)
    authorities = (authority.public, *others)
    charter = Charter(network_id, 1, name, cidr, authorities, created)
    return _sign(authority, network_id, Kind.CHARTER, encode_charter(charter))


def next_charter(
    charter: Charter,
    authority: SigningKey,
    *,
    name: str,
    authorities: tuple[bytes, ...],
    created: int,
) -> bytes:
    """Return the successor of *charter*: another name, or other authorities.

    *authority* is one of *charter*'s.
    """
    successor = Charter(
        charter.network_id,
        charter.version + 1,
        name,
        charter.cidr,
        authorities,
        created,
    )
    body = encode_charter(successor)
    return _sign(authority, charter.network_id, Kind.CHARTER, body)


def create_issuer(authority: SigningKey, network_id: bytes, issuer: Issuer) -> bytes:
    """Return the envelope in which *authority* lets *issuer* certify members."""
    return _sign(authority, network_id, Kind.ISSUER, encode_issuer(issuer))


def create_certificate(
    signer: SigningKey, network_id: bytes, certificate: Certificate
) -> bytes:
    """Return the envelope of *certificate*, by an issuing key or an authority."""
    body = encode_certificate(certificate)
    return _sign(signer, network_id, Kind.CERTIFICATE, body)


def create_member_record(
    signing_key: SigningKey,
    network_id: bytes,
    *,
    certificate: bytes,
    issuer: bytes,
    member: Member,
) -> bytes:
    """Return a member record: its word about itself, beside what certifies it.

    *certificate* and *issuer* are envelopes; *issuer* is b"" if an authority signed
    the certificate.
    """
    body = encode_member(member)
    word = parse_envelope(_sign(signing_key, network_id, Kind.MEMBER, body))
    return _combine(certificate, issuer, word)


def create_stock_record(*, certificate: bytes, issuer: bytes) -> bytes:
    """Return the member record of a stock member, which signs nothing itself."""
    return _combine(certificate, issuer, None)


def create_revocation(
    signer: SigningKey, network_id: bytes, revocation: Revocation
) -> bytes:
    """Return the envelope of *revocation*, by an authority or the key's issuer."""
    body = encode_revocation(revocation)
    return _sign(signer, network_id, Kind.REVOCATION, body)


def create_policy(signer: SigningKey, network_id: bytes, policy: Policy) -> bytes:
    """Return the envelope of *policy*, by an authority or an issuer that may."""
    return _sign(signer, network_id, Kind.POLICY, encode_policy(policy))


def create_endpoints(
    signing_key: SigningKey, network_id: bytes, endpoints: Endpoints
) -> bytes:
    """Return the envelope of a member's *endpoints*, by its signing key."""
    body = encode_endpoints(endpoints)
    return _sign(signing_key, network_id, Kind.ENDPOINTS, body)


def _sign(signer: SigningKey, network_id: bytes, kind: Kind, body: bytes) -> bytes:
    signature = signer.sign(signed_bytes(network_id, kind, body))
    return serialise_envelope(Envelope(kind, signer.public, signature, body))


def _combine(certificate: bytes, issuer: bytes, word: Envelope | None) -> bytes:
    return serialise_member_record(
        MemberRecord(
            parse_envelope(certificate),
            parse_envelope(issuer) if issuer else None,
            word,
        )
    )
