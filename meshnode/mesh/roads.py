"""From the members to the tunnels and the host: who owns what, and what that needs.

    roads.refresh(now=...)      # after any change of members, health or policy
    roads.plan()                # what the host is to look like now

Routes are computed whole from the members there are; what did not change is not
touched below.
"""

import ipaddress
from collections.abc import Callable, Collection, Mapping

from meshnode.codec.records import Policy, Role
from meshnode.errors import ConfigError
from meshnode.hostplan import Announced, HostPlan, Larger
from meshnode.mesh.exits import ExitChoice
from meshnode.mesh.health import OwnerHealth
from meshnode.mesh.membership import Membership
from meshnode.mesh.policy import (
    Directory,
    PolicyMember,
    compile_filter,
    failed_tests,
)
from meshnode.mesh.policy_text import OPEN, AccessPolicy, parse_policy
from meshnode.mesh.ports import TunnelPeer, Tunnels
from meshnode.mesh.prefixes import contains
from meshnode.mesh.routes import (
    MemberRoutes,
    RoutingTable,
    build_table,
    certified_exit_routes,
    offered_exit_routes,
)
from meshnode.mesh.settings import NodeSettings
from meshnode.mesh.trust import VerifiedMember
from meshnode.types import Prefix

_EMPTY = RoutingTable({}, (), (), (), ())
_CLOSED = AccessPolicy(is_open=False)


class Roads:
    """The routing of one node.

    Args:
        key: our WireGuard key.
        network: the network's name.
        overlay: its IPv4 prefix and its ULA.
        membership: who counts.
        tunnels: are told who owns which prefix.
        health: knows who does not answer.
        sizes: returns to whom larger or only smaller packets may go, and how large
            (bytes).
        settings: of this host.
    """

    def __init__(
        self,
        *,
        key: bytes,
        network: str,
        overlay: tuple[Prefix, Prefix],
        membership: Membership,
        tunnels: Tunnels,
        health: OwnerHealth,
        sizes: Callable[[], Mapping[bytes, int]],
        settings: NodeSettings,
        keepalive: Callable[[bytes], int],
    ) -> None:
        self.settings = settings
        self.routing = _EMPTY
        self.policy = OPEN
        self.exits = ExitChoice()
        self._key = key
        self._network = network
        self.overlay = overlay
        self._membership = membership
        self._tunnels = tunnels
        self._health = health
        self._sizes = sizes
        self._keepalive = keepalive
        self._peers: set[bytes] = set()

    # --- policy ---

    def use_policy(self, policy: Policy | None) -> None:
        """Let this signed policy be in force; None is open.

        Raises:
            ConfigError: if its text is no policy; the one before stays in force, or
                nothing is let in if there was none.
        """
        try:
            self.policy = OPEN if policy is None else parse_policy(policy.text)
        except ConfigError:
            if self.policy is OPEN:
                # A node that cannot read the rules must not let everybody in.
                self.policy = _CLOSED
            raise

    def directory(self) -> Directory:
        """Return the members as policies select them."""
        return Directory(
            PolicyMember(m.certificate.name, m.certificate.groups, m.addresses)
            for m in self._membership
        )

    def check_policy(self, text: str) -> AccessPolicy:
        """Return the policy in *text* if its own tests hold among the members.

        Raises:
            ConfigError: with what is wrong, or the tests that fail.
        """
        policy = parse_policy(text)
        failures = failed_tests(policy, self.directory())
        if failures:
            raise ConfigError("; ".join(failures))
        return policy

    # --- routes ---

    def refresh(self, *, now: float) -> bool:
        """Compute the routes anew and tell the tunnels; return whether they changed."""
        members = [as_routes(member) for member in self._membership]
        unhealthy = self._health.unhealthy
        exit_key = self._choose_exit(members, unhealthy, now)
        table = build_table(
            members,
            own_key=self._key,
            overlay=self.overlay,
            accept=self.settings.accept,
            announced=[one.prefix for one in self.announced],
            unhealthy=unhealthy,
            exit_key=exit_key,
        )
        self._tell_tunnels(table, now)
        owners = [key for one in table.shared for key in one.accept]
        standby = self.exits.standby
        watched = [*owners, *standby, *([exit_key] if exit_key else [])]
        self._health.set_owners(dict.fromkeys(watched), standby=standby, now=now)
        has_changed = table != self.routing
        self.routing = table
        return has_changed

    @property
    def announced(self) -> tuple[Announced, ...]:
        """All that others reach through us: of the settings, and what is beyond."""
        ours = self._membership.by_key(self._key)
        if ours is None or not self.settings.offers_exit:
            return self.settings.announced
        known = {one.prefix for one in self.settings.announced}
        beyond = certified_exit_routes(ours.certificate)
        return (
            *self.settings.announced,
            *(Announced(prefix) for prefix in beyond if prefix not in known),
        )

    @property
    def exit_in_use(self) -> VerifiedMember | None:
        """The member that the traffic of this host leaves by, None for none."""
        chosen = self.exits.chosen
        return self._membership.by_key(chosen) if chosen else None

    def key_of(self, name: str) -> bytes | None:
        """Return the key of the member with this name, None if there is none."""
        member = self._membership.by_name(name)
        return None if member is None else member.key

    def exit_offers(self) -> dict[str, tuple[Prefix, ...]]:
        """Return which default routes each other member offers, by its name."""
        found = {
            member.certificate.name: offered_exit_routes(as_routes(member))
            for member in self._membership
            if member.key != self._key
        }
        return {name: routes for name, routes in sorted(found.items()) if routes}

    @property
    def peers(self) -> frozenset[bytes]:
        """The keys of the members that are peers of the tunnels."""
        return frozenset(self._peers)

    def meet(self, member: VerifiedMember, *, now: float) -> None:
        """Let a new member shake hands before the routes are computed."""
        is_stock = Role.STOCK in member.certificate.roles
        if member.key not in self._peers and member.key != self._key and not is_stock:
            self._peers.add(member.key)
            self._tunnels.set_peer(TunnelPeer(member.key), now=now)

    def part(self, key: bytes, *, now: float) -> None:
        """Cut off at once who is no member any more."""
        if key in self._peers:
            self._peers.remove(key)
            self._tunnels.remove_peer(key, now=now)

    def plan(self) -> HostPlan | None:
        """Return what the host is to look like; None while we are no member."""
        ours = self._membership.by_key(self._key)
        if ours is None:
            return None
        v4, v6 = ours.addresses
        behind = self._behind_us()
        announced = self.announced
        return HostPlan(
            network=self._network,
            interface=self.settings.interface,
            table=self.settings.table,
            fwmark=self.settings.fwmark,
            mtu=self.settings.mtu,
            addresses=(
                f"{ipaddress.IPv4Address(v4.network)}/{self.overlay[0].length}",
                f"{ipaddress.IPv6Address(v6.network)}/{self.overlay[1].length}",
            ),
            routes=tuple(dict.fromkeys((*self.routing.accepted, *self._imported()))),
            announced=announced,
            forwards=bool(announced or behind or self.settings.imported),
            filter=compile_filter(
                self.policy, self.directory(), self._received((v4, v6), behind)
            ),
            larger=self._larger(),
            narrower=self._narrower(),
            full_tunnel=self.settings.full_tunnel,
        )

    def _larger(self) -> Larger | None:
        """Return whose own addresses take larger packets, if any may ever.

        What is behind a member may be narrower than the path to it.
        """
        if self.settings.max_mtu <= self.settings.mtu:
            return None
        proven = {
            key: size for key, size in self._sizes().items() if size > self.settings.mtu
        }
        routes = [
            (address, proven[member.key])
            for member in self._membership
            if member.key in proven
            for address in member.addresses
        ]
        return Larger(self.settings.max_mtu, tuple(sorted(routes, key=_by_prefix)))

    def _narrower(self) -> tuple[tuple[Prefix, int], ...]:
        """Return what only smaller packets reach.

        It is everything that leads to such a member, for the way there is narrow
        whatever is behind it; the narrowest counts where several own a prefix.
        """
        narrow = {
            key: size for key, size in self._sizes().items() if size < self.settings.mtu
        }
        if not narrow:
            return ()
        routes = {
            prefix: size
            for key, size in narrow.items()
            for prefix in self.routing.exclusive.get(key, ())
        }
        for one in self.routing.shared:
            sizes = [narrow[s.key] for s in one.forward if s.key in narrow]
            if sizes:
                routes[one.prefix] = min(sizes)
        return tuple(sorted(routes.items(), key=_by_prefix))

    def _received(
        self, own: tuple[Prefix, ...], behind: tuple[Prefix, ...]
    ) -> tuple[Prefix, ...]:
        """Return all that packets come in for by the overlay interface.

        Stock members that we carry reach everything through us, so that what passes
        on its way to others is under the policy here, too.
        """
        announced = tuple(one.prefix for one in self.announced)
        if behind:
            return (*self.overlay, *self.routing.accepted, *announced)
        return (*own, *announced)

    def _choose_exit(
        self, members: list[MemberRoutes], unhealthy: Collection[bytes], now: float
    ) -> bytes:
        """Return the key of the exit to use, b"" for none."""
        if not self.settings.exits:
            return self.exits.choose((), {}, (), now=now)
        offers = {
            one.certificate.name: one.key
            for one in members
            if one.key != self._key and offered_exit_routes(one)
        }
        return self.exits.choose(self.settings.exits, offers, unhealthy, now=now)

    def _imported(self) -> tuple[Prefix, ...]:
        """Return what leads to imported peers and is not inside the overlay."""
        return tuple(
            prefix
            for prefix in self.settings.imported
            if not any(contains(ours, prefix) for ours in self.overlay)
        )

    def _behind_us(self) -> tuple[Prefix, ...]:
        """Return the addresses of the stock members that we carry."""
        return tuple(
            address
            for member in self._membership
            if self._key in member.certificate.gateways
            for address in member.addresses
        )

    def _tell_tunnels(self, table: RoutingTable, now: float) -> None:
        wanted: dict[bytes, TunnelPeer] = {}
        for member in self._membership:
            is_stock = Role.STOCK in member.certificate.roles
            prefixes = table.exclusive.get(member.key, ())
            if member.key == self._key or (is_stock and not prefixes):
                continue
            wanted[member.key] = TunnelPeer(
                member.key,
                prefixes,
                is_sought=not is_stock,
                keepalive=self._keepalive(member.key),
            )
        for key in sorted(self._peers - wanted.keys()):
            self.part(key, now=now)
        for peer in wanted.values():
            self._tunnels.set_peer(peer, now=now)
        self._peers = set(wanted)
        self._tunnels.share_prefixes(table.shared, now=now)


def _by_prefix(route: tuple[Prefix, int]) -> tuple[int, int]:
    return route[0].version, route[0].network


def as_routes(member: VerifiedMember) -> MemberRoutes:
    """Return a member as routing sees it."""
    ipv6 = member.addresses[1].network.to_bytes(16, "big")
    return MemberRoutes(member.certificate, ipv6, member.member)
