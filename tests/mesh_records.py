"""Verified records made by hand, for tests that do not care for signatures."""

from meshnode.codec.records import Certificate, Kind, Member, Revocation, Role
from meshnode.crypto.primitives import blake2s
from meshnode.mesh.trust import VerifiedMember, VerifiedRevocation, record_id
from meshnode.types import Prefix

WALL = 1_700_000_000
DAY = 86400
AUTHORITY = b"A" * 32


def key_of(number: int) -> bytes:
    """Return the WireGuard key of member *number*."""
    return blake2s(b"wireguard %d" % number)


def signing_key_of(number: int) -> bytes:
    """Return the signing key of member *number*."""
    return blake2s(b"signing %d" % number)


def issuer_of(number: int) -> bytes:
    """Return the issuing key of issuer *number*."""
    return blake2s(b"issuing %d" % number)


def member(
    number: int = 1,
    *,
    version: int = 1,
    signer: bytes = AUTHORITY,
    key: bytes | None = None,
    signing_key: bytes | None = None,
    name: str | None = None,
    host: int | None = None,
    since: int = WALL - DAY,
    begins: int = WALL - DAY,
    ends: int = WALL + 30 * DAY,
    has_left: bool = False,
    text: bytes = b"",
) -> VerifiedMember:
    """Return a member; *text* tells apart records that are otherwise alike."""
    key = key_of(number) if key is None else key
    host = number if host is None else host
    certificate = Certificate(
        serial=bytes(16),
        name=f"member-{number}" if name is None else name,
        wireguard_key=key,
        signing_key=signing_key_of(number) if signing_key is None else signing_key,
        ipv4=host.to_bytes(4, "big"),
        subnets=(),
        groups=(),
        roles=Role.NONE,
        gateways=(),
        not_before=begins,
        not_after=ends,
        member_since=since,
    )
    data = repr((certificate, version, signer, has_left, text)).encode()
    return VerifiedMember(
        certificate=certificate,
        issuer=None,
        signer=signer,
        member=Member(version, (), has_left),
        data=data,
        id=record_id(Kind.MEMBER, key),
        key=key,
        addresses=(
            Prefix(4, host, 32),
            Prefix(6, int.from_bytes(blake2s(key)[:16], "big"), 128),
        ),
        version=version,
    )


def revocation(
    subject: bytes,
    *,
    signer: bytes = AUTHORITY,
    until: int = WALL + 60 * DAY,
    text: str = "",
) -> VerifiedRevocation:
    """Return a revocation; by an authority if *signer* is `AUTHORITY`."""
    return VerifiedRevocation(
        revocation=Revocation(subject, WALL, until, text),
        signer=signer,
        by_authority=signer == AUTHORITY,
        data=repr((subject, signer, until, text)).encode(),
        id=record_id(Kind.REVOCATION, subject + signer),
        version=until,
    )
