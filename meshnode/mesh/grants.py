"""What a charter lets an issuer grant, an issuer a member, and a member announce.

Pure rules over values whose signatures were verified already; each raises
`RecordRefused` with the first rule broken.
"""

from typing import Final

from meshnode.codec.records import (
    ANY_GROUP,
    Certificate,
    Charter,
    Issuer,
    Member,
    Role,
)
from meshnode.mesh.prefixes import contains, host_prefix, overlaps
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.types import Prefix

VALIDITY_SKEW: Final = 300
"""Seconds by which wall clocks of members may differ."""

MIN_CIDR_LENGTH: Final = 8
MAX_CIDR_LENGTH: Final = 30
"""The IPv4 address space of a network: from 2²⁴ addresses to two hosts."""

_NO_KEY = bytes(32)
_IPV4_BITS = 32

# No member owns these, whoever certified it: they mean the host itself, its link, or
# nobody (RFC 6890). A default route may still contain them.
_NEVER_ROUTED = tuple(
    Prefix.parse(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/127",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    )
)
_STOCK_ROLES = Role.STOCK | Role.EXIT


def require_in_time(not_before: int, not_after: int, *, wall: int | None) -> None:
    """Check validity at *wall* seconds, give or take the skew; None: at any time."""
    if wall is None:
        return
    if wall < not_before - VALIDITY_SKEW:
        raise RecordRefused(Refusal.NOT_YET_VALID)
    if wall > not_after + VALIDITY_SKEW:
        raise RecordRefused(Refusal.EXPIRED)


def require_usable_space(cidr: Prefix) -> None:
    """Check that *cidr* can be the IPv4 addresses of a network."""
    if (
        cidr.version != 4
        or not MIN_CIDR_LENGTH <= cidr.length <= MAX_CIDR_LENGTH
        or any(overlaps(cidr, reserved) for reserved in _NEVER_ROUTED)
    ):
        raise RecordRefused(Refusal.ADDRESS_SPACE)


def require_sound_issuer(issuer: Issuer, charter: Charter) -> None:
    """Check what holds for an issuer at any time."""
    if issuer.not_before >= issuer.not_after:
        raise RecordRefused(Refusal.BAD_VALIDITY)
    if not all(contains(charter.cidr, pool) for pool in issuer.pools):
        raise RecordRefused(Refusal.ADDRESS_NOT_GRANTED)
    if issuer.issuing_key == _NO_KEY:
        raise RecordRefused(Refusal.BAD_KEY)


def require_sound_certificate(
    certificate: Certificate, charter: Charter, ula: Prefix
) -> None:
    """Check what holds for a certificate whoever signed it; *ula* is the network's."""
    if certificate.not_before >= certificate.not_after:
        raise RecordRefused(Refusal.BAD_VALIDITY)
    if ANY_GROUP in certificate.groups:
        # It stands for all groups in a grant; nobody is a member of it.
        raise RecordRefused(Refusal.GROUP_NOT_GRANTED)
    _require_keys(certificate)
    _require_host_address(certificate.ipv4, charter.cidr)
    for subnet in certificate.subnets:
        _require_ownable(subnet, certificate, charter.cidr, ula)


def require_granted(certificate: Certificate, issuer: Issuer) -> None:
    """Check that *certificate* gives nothing that *issuer* may not give."""
    address = host_prefix(certificate.ipv4)
    if not any(contains(pool, address) for pool in issuer.pools):
        raise RecordRefused(Refusal.ADDRESS_NOT_GRANTED)
    if not may_grant_groups(certificate.groups, issuer):
        raise RecordRefused(Refusal.GROUP_NOT_GRANTED)
    for subnet in certificate.subnets:
        if not any(contains(granted, subnet) for granted in issuer.subnets):
            raise RecordRefused(Refusal.SUBNET_NOT_GRANTED)
    if certificate.roles & ~issuer.roles:
        raise RecordRefused(Refusal.ROLE_NOT_GRANTED)
    if certificate.not_after - certificate.not_before > issuer.max_lifetime:
        raise RecordRefused(Refusal.LIFETIME)
    if (
        certificate.not_before < issuer.not_before
        or certificate.not_after > issuer.not_after
    ):
        raise RecordRefused(Refusal.OUTLIVES_ISSUER)


def may_grant_groups(groups: tuple[str, ...], issuer: Issuer) -> bool:
    """Whether *issuer* may put members into all of *groups*."""
    if ANY_GROUP in groups:
        return False
    return ANY_GROUP in issuer.groups or set(groups).issubset(issuer.groups)


def require_certified_routes(member: Member, certificate: Certificate) -> None:
    """Check that *member* announces nothing but what a sound *certificate* lets it.

    A certified subnet includes all inside it, except a default route: an exit
    announces that route itself, and no part of it.
    """
    for route in member.routes:
        if not may_announce(route.prefix, certificate):
            raise RecordRefused(Refusal.ROUTE_NOT_GRANTED)


def may_announce(prefix: Prefix, certificate: Certificate) -> bool:
    """Whether *certificate*, a sound one, lets its member announce *prefix*."""
    return any(
        contains(subnet, prefix) if subnet.length else subnet == prefix
        for subnet in certificate.subnets
    )


def _require_keys(certificate: Certificate) -> None:
    is_stock = Role.STOCK in certificate.roles
    if certificate.wireguard_key == _NO_KEY:
        raise RecordRefused(Refusal.BAD_KEY)
    if (certificate.signing_key == _NO_KEY) != is_stock:
        raise RecordRefused(Refusal.BAD_KEY)
    if bool(certificate.gateways) != is_stock:
        raise RecordRefused(Refusal.BAD_STOCK)
    if certificate.wireguard_key in certificate.gateways:
        raise RecordRefused(Refusal.BAD_STOCK)
    if is_stock and certificate.roles & ~_STOCK_ROLES:
        raise RecordRefused(Refusal.BAD_STOCK)


def _require_host_address(ipv4: bytes, cidr: Prefix) -> None:
    address = host_prefix(ipv4)
    last = cidr.network + (1 << _IPV4_BITS - cidr.length) - 1
    if not contains(cidr, address) or address.network in (cidr.network, last):
        raise RecordRefused(Refusal.BAD_ADDRESS)


def _require_ownable(
    prefix: Prefix, certificate: Certificate, cidr: Prefix, ula: Prefix
) -> None:
    if prefix.length == 0:
        # The default route: overlay addresses are more specific and keep their owners.
        if Role.EXIT not in certificate.roles:
            raise RecordRefused(Refusal.RESERVED_SUBNET)
        return
    if any(overlaps(prefix, reserved) for reserved in (cidr, ula, *_NEVER_ROUTED)):
        raise RecordRefused(Refusal.RESERVED_SUBNET)
