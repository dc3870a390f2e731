"""Who owns which prefix: from certificates and announcements to a routing table.

Pure and without memory: the same members, rule and health give the same table on every
node, whatever the order they came in. What a member says counts only as far as its
certificate goes, and nothing it says can move an overlay address.
"""

import enum
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from meshnode.codec.records import Certificate, Member, Role, Route
from meshnode.errors import ConfigError
from meshnode.mesh.ports import Share, SharedPrefix
from meshnode.mesh.prefixes import contains, host_prefix, order, overlaps
from meshnode.types import Prefix
from meshnode.values import frozen

MAX_OWNERS: Final = 16
"""Owners of one prefix, as many as `forwarding.SharePrefix` carries."""

DEFAULT_ROUTES: Final = (Prefix(4, 0, 0), Prefix(6, 0, 0))

ACCEPT_ALL: Final = DEFAULT_ROUTES
"""Everything but default routes, which are taken only by choosing an exit."""

ACCEPT_NONE: Final[tuple[Prefix, ...]] = ()

_NEVER_ROUTED: Final = tuple(
    map(
        Prefix.parse,
        (
            *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"),
            *("::/96", "::ffff:0:0/96", "fe80::/10", "ff00::/8"),
        ),
    )
)
"""Loopback, link-local, multicast, reserved, and IPv4 written as IPv6."""


class RouteRefusal(enum.Enum):
    """Why an announced prefix is nobody's, in words for `status`."""

    OVERLAY = "it overlaps the network's own addresses"
    NEVER_ROUTED = "such addresses are never routed"
    NOT_EXIT = "its certificate does not make it an exit"
    NOT_CERTIFIED = "its certificate does not hold it"
    OWN = "we announce it ourselves"
    TOO_MANY = f"it has {MAX_OWNERS} better owners"


@frozen
class MemberRoutes:
    """A valid member as routing sees it.

    `ipv6` is its overlay address, 16 bytes; `member` its word about itself, None if
    it is a stock member.
    """

    certificate: Certificate
    ipv6: bytes
    member: Member | None

    @property
    def key(self) -> bytes:
        """The WireGuard key."""
        return self.certificate.wireguard_key

    @property
    def addresses(self) -> tuple[Prefix, Prefix]:
        """Its overlay addresses."""
        return host_prefix(self.certificate.ipv4), host_prefix(self.ipv6)


@frozen
class RefusedRoute:
    """An announcement that does not count."""

    prefix: Prefix
    key: bytes
    why: RouteRefusal


@frozen
class OfferedRoute:
    """An announcement that counts, of a prefix that our rule does not accept."""

    prefix: Prefix
    key: bytes


@frozen
class RoutingTable:
    """Every prefix with its owners, by WireGuard key; each in a fixed order.

    `accepted` are the prefixes, beside the overlay's own, that lead into the tunnel.
    """

    exclusive: dict[bytes, tuple[Prefix, ...]]
    shared: tuple[SharedPrefix, ...]
    accepted: tuple[Prefix, ...]
    offered: tuple[OfferedRoute, ...]
    refused: tuple[RefusedRoute, ...]


@frozen
class _Owner:
    key: bytes
    metric: int
    weight: int


def parse_accept(words: Sequence[str]) -> tuple[Prefix, ...]:
    """Read which routes to accept: `all`, `none`, or prefixes that hold them.

    Raises:
        ConfigError: if a word is none of these, or `all` or `none` has company.
    """
    if "all" in words or "none" in words:
        if len(words) != 1:
            raise ConfigError("accept either 'all', 'none' or a list of prefixes")
        return ACCEPT_ALL if words[0] == "all" else ACCEPT_NONE
    return tuple(Prefix.parse(word) for word in words)


def build_table(
    members: Iterable[MemberRoutes],
    *,
    own_key: bytes,
    overlay: tuple[Prefix, ...],
    accept: tuple[Prefix, ...],
    announced: Collection[Prefix] = (),
    unhealthy: Collection[bytes] = (),
    exit_key: bytes = b"",
) -> RoutingTable:
    """Decide who owns what.

    Args:
        members: the valid ones, each key once; ourselves may be among them.
        own_key: our WireGuard key.
        overlay: the network's IPv4 prefix and its ULA, which nobody can announce.
        accept: announced prefixes inside one of these are taken.
        announced: what we announce ourselves, and so reach without the mesh.
        unhealthy: owners that do not answer; they come last.
        exit_key: whose default routes are taken, b"" for nobody's.
    """
    builder = _Builder(own_key, frozenset(unhealthy))
    present = [one for one in members if one.member is None or not one.member.has_left]
    builder.give_addresses(present)
    for one in present:
        if one.key == own_key or one.member is None:
            continue
        for route in _first_of_each(one.member.routes):
            why = _refusal(route.prefix, one.certificate, overlay)
            if why is None and route.prefix in announced:
                why = RouteRefusal.OWN
            if why is not None:
                builder.refused.append(RefusedRoute(route.prefix, one.key, why))
            elif one.key == exit_key and route.prefix in DEFAULT_ROUTES:
                # Not `accepted`: what leads into the tunnel then is the host's to say.
                builder.add_owner(route.prefix, _Owner(one.key, 0, 1))
            elif _is_accepted(route.prefix, accept):
                builder.accepted.add(route.prefix)
                owner = _Owner(one.key, route.metric, route.weight)
                builder.add_owner(route.prefix, owner)
            else:
                builder.offered.append(OfferedRoute(route.prefix, one.key))
    return builder.table()


def certified_exit_routes(certificate: Certificate) -> tuple[Prefix, ...]:
    """Return the default routes that the certificate lets its member announce."""
    if Role.EXIT not in certificate.roles:
        return ()
    return tuple(one for one in DEFAULT_ROUTES if one in certificate.subnets)


def offered_exit_routes(one: MemberRoutes) -> tuple[Prefix, ...]:
    """Return the default routes that a member announces and may; none: no exit."""
    if one.member is None or one.member.has_left:
        return ()
    announced = {route.prefix for route in one.member.routes}
    certified = certified_exit_routes(one.certificate)
    return tuple(prefix for prefix in certified if prefix in announced)


def _refusal(
    prefix: Prefix, certificate: Certificate, overlay: tuple[Prefix, ...]
) -> RouteRefusal | None:
    if prefix in DEFAULT_ROUTES:
        if Role.EXIT not in certificate.roles:
            return RouteRefusal.NOT_EXIT
        # And it certifies itself only: else an exit could announce any single
        # network, and `accept all` would take it.
        if prefix not in certificate.subnets:
            return RouteRefusal.NOT_CERTIFIED
        return None
    if any(overlaps(prefix, taken) for taken in overlay):
        return RouteRefusal.OVERLAY
    if any(contains(special, prefix) for special in _NEVER_ROUTED):
        return RouteRefusal.NEVER_ROUTED
    if not any(
        subnet.length and contains(subnet, prefix) for subnet in certificate.subnets
    ):
        return RouteRefusal.NOT_CERTIFIED
    return None


def _is_accepted(prefix: Prefix, accept: tuple[Prefix, ...]) -> bool:
    return prefix.length > 0 and any(contains(one, prefix) for one in accept)


def _first_of_each(routes: tuple[Route, ...]) -> tuple[Route, ...]:
    """Drop what a member says again of a prefix."""
    first: dict[Prefix, Route] = {}
    for route in routes:
        first.setdefault(route.prefix, route)
    return tuple(first.values())


class _Builder:
    """Collects owners of prefixes, then ranks them."""

    def __init__(self, own_key: bytes, unhealthy: frozenset[bytes]) -> None:
        self._own_key = own_key
        self._unhealthy = unhealthy
        self._exclusive: dict[bytes, list[Prefix]] = {}
        self._owners: dict[Prefix, list[_Owner]] = {}
        self.accepted: set[Prefix] = set()
        self.offered: list[OfferedRoute] = []
        self.refused: list[RefusedRoute] = []

    def give_addresses(self, present: list[MemberRoutes]) -> None:
        """Give each member its own addresses, or its gateways if it is stock."""
        gateways = {
            one.key for one in present if not one.certificate.roles & Role.STOCK
        }
        for one in present:
            if one.key == self._own_key:
                continue
            carriers = one.certificate.gateways
            if not one.certificate.roles & Role.STOCK or self._own_key in carriers:
                self._exclusive.setdefault(one.key, []).extend(one.addresses)
                continue
            for metric, key in enumerate(dict.fromkeys(carriers)):
                if key in gateways:
                    for address in one.addresses:
                        self.add_owner(address, _Owner(key, metric, 1))

    def add_owner(self, prefix: Prefix, owner: _Owner) -> None:
        self._owners.setdefault(prefix, []).append(owner)

    def table(self) -> RoutingTable:
        shared = []
        for prefix, owners in sorted(self._owners.items(), key=lambda i: order(i[0])):
            if len(owners) == 1:
                self._exclusive.setdefault(owners[0].key, []).append(prefix)
            else:
                shared.append(self._share(prefix, owners))
        return RoutingTable(
            {key: tuple(self._exclusive[key]) for key in sorted(self._exclusive)},
            tuple(shared),
            tuple(sorted(self.accepted, key=order)),
            tuple(sorted(self.offered, key=lambda one: (order(one.prefix), one.key))),
            tuple(sorted(self.refused, key=lambda one: (order(one.prefix), one.key))),
        )

    def _share(self, prefix: Prefix, owners: list[_Owner]) -> SharedPrefix:
        ranked = sorted(owners, key=lambda owner: (*self._rank(owner), owner.key))
        for owner in ranked[MAX_OWNERS:]:
            self.refused.append(RefusedRoute(prefix, owner.key, RouteRefusal.TOO_MANY))
        ranked = ranked[:MAX_OWNERS]
        best = self._rank(ranked[0])
        return SharedPrefix(
            prefix,
            tuple(
                Share(owner.key, owner.weight)
                for owner in ranked
                if self._rank(owner) == best
            ),
            tuple(sorted(owner.key for owner in ranked)),
        )

    def _rank(self, owner: _Owner) -> tuple[bool, int]:
        return owner.key in self._unhealthy, owner.metric
