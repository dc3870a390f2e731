"""The signed records of a mesh as values, and the limits they obey.

`meshnode.codec.record_bytes` gives them their bytes; `docs/mesh.md` tells who signs
what. Nothing here is verified: `meshnode.mesh.trust` is for that.
"""

import enum
from typing import Final

from meshnode.types import Endpoint, Prefix
from meshnode.values import frozen

MAX_ENVELOPE_BYTES: Final = 1100
MAX_POLICY_BYTES: Final = 65536
MAX_AUTHORITIES: Final = 4
MAX_SUBNETS: Final = 16
MAX_GROUPS: Final = 8
MAX_ROUTES: Final = 16
MAX_CANDIDATES: Final = 8
MAX_GATEWAYS: Final = 3
MAX_POOLS: Final = 4
MAX_NAME_BYTES: Final = 63
MAX_GROUP_BYTES: Final = 32
MAX_REASON_BYTES: Final = 64
MAX_RELAYS: Final = 3
"""Relays that an endpoint record names."""

ANY_GROUP: Final = "any"
"""Among an issuer's groups: it may grant every one. No member is in a group of this
name."""


class Kind(enum.IntEnum):
    """What an envelope holds; part of what is signed."""

    CHARTER = 1
    ISSUER = 2
    CERTIFICATE = 3
    MEMBER = 4
    REVOCATION = 5
    POLICY = 6
    ENDPOINTS = 7


class Role(enum.IntFlag):
    """What a member is certified to do for others."""

    NONE = 0
    RENDEZVOUS = 1
    RELAY = 2
    ISSUER = 4
    EXIT = 8
    POLICY = 16
    STOCK = 32


@frozen
class Envelope:
    """Signed bytes: `signer` an Ed25519 key, 32 bytes; `signature` 64 bytes."""

    kind: Kind
    signer: bytes
    signature: bytes
    body: bytes


@frozen
class Charter:
    """What makes a network one: its name, address space and authorities.

    `network_id` is 16 bytes, `version` 1 or more; `authorities` are 1–4 Ed25519
    keys; `created` is wall seconds.
    """

    network_id: bytes
    version: int
    name: str
    cidr: Prefix
    authorities: tuple[bytes, ...]
    created: int


@frozen
class Issuer:
    """What an issuing key (Ed25519, 32 bytes) may certify.

    `max_lifetime` is seconds; `not_before` and `not_after` wall seconds. `subnets`
    are the prefixes members may be allowed to announce, everything inside included;
    an empty `groups` allows none.
    """

    issuing_key: bytes
    name: str
    pools: tuple[Prefix, ...]
    groups: tuple[str, ...]
    subnets: tuple[Prefix, ...]
    roles: Role
    max_lifetime: int
    not_before: int
    not_after: int


@frozen
class Certificate:
    """Who a member is: names, keys, addresses and what it may announce.

    `serial` is 16 random bytes; `wireguard_key` X25519 and `signing_key` Ed25519,
    32 bytes each (zeros for a stock member); `ipv4` the overlay address as 4 bytes;
    `gateways` are WireGuard keys of the members that carry a stock member; times are
    wall seconds.
    """

    serial: bytes
    name: str
    wireguard_key: bytes
    signing_key: bytes
    ipv4: bytes
    subnets: tuple[Prefix, ...]
    groups: tuple[str, ...]
    roles: Role
    gateways: tuple[bytes, ...]
    not_before: int
    not_after: int
    member_since: int


@frozen
class Route:
    """A prefix a member announces: lower `metric` (0–65535) first, then by `weight`.

    `weight` is 1–255.
    """

    prefix: Prefix
    metric: int = 100
    weight: int = 1


@frozen
class Member:
    """A member's word about itself: `version` grows with every change.

    `has_left` says goodbye: its addresses and routes are gone until a later version.
    """

    version: int
    routes: tuple[Route, ...] = ()
    has_left: bool = False


@frozen
class MemberRecord:
    """A member envelope as it travels: three envelopes, each verified by the next.

    `issuer` is None if an authority certified the member itself; `member` is None
    for a stock member, which signs nothing.
    """

    certificate: Envelope
    issuer: Envelope | None
    member: Envelope | None


@frozen
class Revocation:
    """A key that counts for nothing from now on.

    `subject` is a WireGuard, signing or issuing key, 32 bytes; `until` wall seconds
    after which nothing it could be used for is valid anyway.
    """

    subject: bytes
    revoked_at: int
    until: int
    reason: str


@frozen
class Policy:
    """The network's access policy: its version and text (TOML)."""

    version: int
    text: str


class Mapping(enum.IntEnum):
    """Which outer port a member's NAT uses: one, or another for each remote."""

    UNKNOWN = 0
    ENDPOINT_INDEPENDENT = 1
    ENDPOINT_DEPENDENT = 2


@frozen
class NatHint:
    """What a member has seen of the NAT before it: a hint for others, never proof.

    Outer ports have come from `first_port` to `last_port`, both 0 if that says nothing.
    """

    mapping: Mapping = Mapping.UNKNOWN
    first_port: int = 0
    last_port: int = 0


@frozen
class RelayHint:
    """A relay that a member can be reached by: its key, and the round trip to it."""

    key: bytes
    milliseconds: int


@frozen
class Endpoints:
    """Where a member can be reached: at most 8 candidates, best first.

    `probe_key` (X25519, 32 bytes, b"" for none) is what probes to it are sealed to;
    `relays` are its best, at most 3, the nearest first.
    """

    wireguard_key: bytes
    version: int
    candidates: tuple[Endpoint, ...]
    probe_key: bytes = b""
    nat: NatHint = NatHint()
    relays: tuple[RelayHint, ...] = ()
