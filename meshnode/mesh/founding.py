"""Found a network: its first charter, first issuer and first member, all at once."""

from typing import Final

from meshnode.codec.names import check_label
from meshnode.codec.record_bytes import parse_envelope
from meshnode.codec.records import ANY_GROUP, Certificate, Issuer, Role
from meshnode.crypto.signing import SigningKey
from meshnode.errors import CodecError, ConfigError
from meshnode.mesh.documents import create_certificate, create_charter, create_issuer
from meshnode.mesh.invites import DEFAULT_LIFETIME
from meshnode.mesh.prefixes import contains
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.trust import Trust, network_id_of
from meshnode.types import Prefix
from meshnode.values import frozen

ISSUER_LIFETIME: Final = 5 * 365 * 86400
"""Seconds the first issuer may certify, unless somebody says otherwise."""

FOUNDER_ROLES: Final = Role.RENDEZVOUS | Role.RELAY | Role.ISSUER | Role.POLICY

ANY_SUBNET: Final = (Prefix.parse("0.0.0.0/0"), Prefix.parse("::/0"))

_ALL_ROLES: Final = FOUNDER_ROLES | Role.EXIT | Role.STOCK
_LEAST_LENGTH: Final = 8
_MOST_LENGTH: Final = 29
# RFC 1918, and RFC 6598 that providers share: what is nobody's on the internet.
_OVERLAY_SPACE: Final = (
    Prefix.parse("10.0.0.0/8"),
    Prefix.parse("172.16.0.0/12"),
    Prefix.parse("192.168.0.0/16"),
    Prefix.parse("100.64.0.0/10"),
)


@frozen
class Founding:
    """What the founder begins with, as envelopes; all of it verified."""

    network_id: bytes
    charter: bytes
    issuer: bytes
    certificate: bytes


@frozen
class FounderKeys:
    """The keys of a founding node: its own two, the authority's and the issuer's."""

    wireguard_key: bytes
    signing_key: bytes
    authority: SigningKey
    issuing: SigningKey


def parse_network_cidr(text: str) -> Prefix:
    """Read the IPv4 prefix of a new network.

    Raises:
        ConfigError: if it is none of private or shared address space, or not from
            /8 to /29.
    """
    cidr = Prefix.parse(text)
    if not any(contains(space, cidr) for space in _OVERLAY_SPACE):
        raise ConfigError(
            f"{cidr} is not within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or "
            "100.64.0.0/10, so it may be somebody's on the internet; choose another"
        )
    if not _LEAST_LENGTH <= cidr.length <= _MOST_LENGTH:
        raise ConfigError(f"{cidr} is not from /{_LEAST_LENGTH} to /{_MOST_LENGTH}")
    return cidr


def found_network(
    name: str,
    cidr: Prefix,
    node_name: str,
    keys: FounderKeys,
    *,
    own_subnets: tuple[Prefix, ...] = (),
    groups: tuple[str, ...] = (ANY_GROUP,),
    subnets: tuple[Prefix, ...] = ANY_SUBNET,
    serial: bytes,
    wall: int,
    issuer_lifetime: int = ISSUER_LIFETIME,
    lifetime: int = DEFAULT_LIFETIME,
) -> Founding:
    """Return the first records of the network *name*; the caller stores them.

    The founder gets the first address of *cidr* and the roles rendezvous, relay,
    issuer and policy. Its issuer may grant every address, every role, *groups*, and
    *subnets* with all inside them.

    Args:
        name: of the network, a label.
        cidr: from `parse_network_cidr`.
        node_name: of the founder, a label.
        keys: all of the founder's.
        own_subnets: what the founder itself may announce.
        groups: what the issuer may grant later; the founder is in none of them.
        subnets: what members may be allowed to announce.
        serial: 16 random bytes.
        wall: wall seconds.
        issuer_lifetime: seconds.
        lifetime: of the founder's certificate, seconds.

    Raises:
        ConfigError: if a name, prefix or time is out of range, or the authority and
            the issuing key are the same.
    """
    check_label(name, "the network's name")
    check_label(node_name, "the node's name")
    if keys.authority.public == keys.issuing.public:
        raise ConfigError("the authority and the issuer have different keys")
    network_id = network_id_of(keys.authority.public)
    issuer = Issuer(
        issuing_key=keys.issuing.public,
        name=node_name,
        pools=(cidr,),
        groups=groups,
        subnets=subnets,
        roles=_ALL_ROLES,
        max_lifetime=issuer_lifetime,
        not_before=wall,
        not_after=wall + issuer_lifetime,
    )
    certificate = Certificate(
        serial=serial,
        name=node_name,
        wireguard_key=keys.wireguard_key,
        signing_key=keys.signing_key,
        ipv4=(cidr.network + 1).to_bytes(4, "big"),
        subnets=own_subnets,
        groups=(),
        roles=FOUNDER_ROLES,
        gateways=(),
        not_before=wall,
        not_after=wall + lifetime,
        member_since=wall,
    )
    try:
        founding = Founding(
            network_id,
            create_charter(keys.authority, name=name, cidr=cidr, created=wall),
            create_issuer(keys.authority, network_id, issuer),
            create_certificate(keys.issuing, network_id, certificate),
        )
        _verify(founding, wall)
    except (CodecError, RecordRefused) as error:
        raise ConfigError(f"the network cannot be founded: {error}") from None
    return founding


def _verify(founding: Founding, wall: int) -> None:
    trust = Trust(founding.network_id)
    trust.add_charter(founding.charter)
    trust.verify_certificate(
        parse_envelope(founding.certificate),
        parse_envelope(founding.issuer),
        wall=wall,
    )
