"""A founded network with one issuer and one member, every field of which can change.

Keys are made of small numbers, so that a test can say whose signature it means.
"""

from dataclasses import replace
from typing import Any, Final

from meshnode.codec.records import (
    Certificate,
    Issuer,
    Member,
    Role,
    Route,
)
from meshnode.crypto.primitives import x25519_base
from meshnode.crypto.signing import SigningKey
from meshnode.mesh.documents import (
    create_certificate,
    create_charter,
    create_issuer,
    create_member_record,
    create_stock_record,
)
from meshnode.mesh.trust import Trust, network_id_of
from meshnode.types import Prefix

WALL: Final = 1_800_000_000
DAY: Final = 86400
CIDR: Final = Prefix.parse("10.20.0.0/16")


def signing_key(number: int) -> SigningKey:
    """Return the signing key with this number, 0–255."""
    return SigningKey(bytes((number,)) * 32)


def wireguard_key(number: int) -> bytes:
    """Return the public WireGuard key with this number, 0–255."""
    return x25519_base(bytes((number,)) * 32)


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    """Return prefixes from their text forms."""
    return tuple(Prefix.parse(text) for text in texts)


AUTHORITY: Final = signing_key(1)
ISSUING: Final = signing_key(2)
MEMBER_SIGNING: Final = signing_key(3)
NETWORK_ID: Final = network_id_of(AUTHORITY.public)
CHARTER: Final = create_charter(AUTHORITY, name="home", cidr=CIDR, created=WALL - DAY)

ISSUER: Final = Issuer(
    issuing_key=ISSUING.public,
    name="gate",
    pools=prefixes("10.20.1.0/24"),
    groups=("staff", "guest"),
    subnets=prefixes("192.168.0.0/16", "2001:db8::/32"),
    roles=Role.RENDEZVOUS | Role.RELAY | Role.STOCK,
    max_lifetime=30 * DAY,
    not_before=WALL - DAY,
    not_after=WALL + 365 * DAY,
)
CERTIFICATE: Final = Certificate(
    serial=bytes(range(16)),
    name="laptop",
    wireguard_key=wireguard_key(3),
    signing_key=MEMBER_SIGNING.public,
    ipv4=bytes((10, 20, 1, 7)),
    subnets=prefixes("192.168.7.0/24", "2001:db8:7::/48"),
    groups=("staff",),
    roles=Role.RELAY,
    gateways=(),
    not_before=WALL,
    not_after=WALL + 30 * DAY,
    member_since=WALL,
)
STOCK: Final = replace(
    CERTIFICATE,
    name="phone",
    wireguard_key=wireguard_key(4),
    signing_key=bytes(32),
    ipv4=bytes((10, 20, 1, 8)),
    subnets=(),
    roles=Role.STOCK,
    gateways=(wireguard_key(3),),
)
MEMBER: Final = Member(5, (Route(Prefix.parse("192.168.7.128/25"), 10, 2),))


def trusting() -> Trust:
    """Return the trust of a node that has the charter and knows nothing else."""
    trust = Trust(NETWORK_ID)
    trust.add_charter(CHARTER)
    return trust


def issuer_envelope(signer: SigningKey = AUTHORITY, **changes: Any) -> bytes:
    """Return the issuer's envelope, with changed fields or another signer."""
    return create_issuer(signer, NETWORK_ID, replace(ISSUER, **changes))


def certificate_envelope(signer: SigningKey = ISSUING, **changes: Any) -> bytes:
    """Return the member's certificate, with changed fields or another signer."""
    return create_certificate(signer, NETWORK_ID, replace(CERTIFICATE, **changes))


def member_record(
    *,
    certificate: bytes | None = None,
    issuer: bytes | None = None,
    signer: SigningKey = MEMBER_SIGNING,
    member: Member = MEMBER,
) -> bytes:
    """Return the member's record; what is None is as it should be."""
    return create_member_record(
        signer,
        NETWORK_ID,
        certificate=certificate_envelope() if certificate is None else certificate,
        issuer=issuer_envelope() if issuer is None else issuer,
        member=member,
    )


def stock_record(**changes: Any) -> bytes:
    """Return the record of a stock member, with changed fields."""
    stock = create_certificate(ISSUING, NETWORK_ID, replace(STOCK, **changes))
    return create_stock_record(certificate=stock, issuer=issuer_envelope())
