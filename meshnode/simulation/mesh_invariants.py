"""What must hold after every event of a simulated mesh, beside the tunnels' own rules.

As there, the rules are written from what can be seen: the records a node holds, its
disk, its table of owners, and the packets. They do not ask the code they judge who is
a member.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

from meshnode.codec import ip
from meshnode.codec.records import Role, Route
from meshnode.codec.wireguard import message_type
from meshnode.dataplane.gate import INTRODUCTION_TYPE
from meshnode.mesh.grants import VALIDITY_SKEW
from meshnode.mesh.node import MeshNode
from meshnode.mesh.prefixes import contains, host_prefix
from meshnode.mesh.record_set import KEPT_AFTER_END, Record, end_of, identity_of
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.routes import RoutingTable
from meshnode.mesh.trust import Trust, VerifiedMember, VerifiedRevocation
from meshnode.simulation import inside, mesh_inside
from meshnode.simulation.application import address_text, parse_inner
from meshnode.simulation.invariants import Invariant, standard_invariants
from meshnode.simulation.invariants_bounds import ArmedTimers
from meshnode.simulation.invariants_ciphers import AskedCiphers
from meshnode.simulation.invariants_sizes import ProvenSizes
from meshnode.simulation.invariants_strangers import NoGain
from meshnode.simulation.invariants_traffic import NoAmplification
from meshnode.simulation.trace import Flight
from meshnode.types import Prefix

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.mesh_host import MeshHome
    from meshnode.simulation.mesh_world import MeshWorld
    from meshnode.simulation.world import World

# Deadlines are whole wall seconds, and the packet may come in the same instant.
_ROUNDING: Final = 1.0

_NOWHERE: Final = tuple(
    map(
        Prefix.parse,
        ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8", "fe80::/10"),
    )
)


class MeshInvariant(Invariant):
    """A rule about mesh nodes; those of a step are judged when it ended."""

    @property
    def mesh(self) -> "MeshWorld":
        """The world, which has a mesh."""
        return cast("MeshWorld", self._world)

    def settled(self, host: "SimulatedHost") -> None:
        """Judge the node, unless nothing of it counts any more."""
        home = self.mesh.homes.get(host.name)
        if home is None or home.node is None or host.is_mute:
            return
        self.judge(home, home.node)

    def judge(self, home: "MeshHome", node: MeshNode) -> None:
        """A step of the node ended."""


class CertifiedSource(MeshInvariant):
    """Who sends a packet is certified for its source, as far as the receiver knows."""

    rule = (
        "I2: no inner packet is delivered from a source outside the sender's "
        "currently valid certificate"
    )

    def delivered(self, host: "SimulatedHost", packet: bytes) -> None:
        """Look for a record of the sender that allows the source."""
        home = self.mesh.homes.get(host.name)
        if home is None or home.node is None or host.workers is None:
            return
        if not host.workers.is_quiet or host.is_programming:
            return  # commands that forbid it may be under way
        source = ip.source(packet)
        sender = parse_inner(packet).sender
        name = next(h.name for h in self._world.hosts.values() if h.index == sender)
        key = self._world.hosts[name].public_key.raw
        wall = mesh_inside.believed_wall(home.node)
        for member in home.node.records.members_of(key):
            if _counts(home.node, member, wall) and _may_send(member, source):
                return
        self.fail(host, f"{name} got through with the source {address_text(source)}")


class MonotoneMembership(MeshInvariant):
    """Records only become more, and later; nothing that was put away comes back."""

    rule = (
        "I7: membership is a monotone join of validly signed records: no "
        "resurrection, no rollback"
    )

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._roots: dict[str, tuple[bytes, int]] = {}
        self._backups: dict[str, int] = {}
        self._best: dict[str, dict[bytes, tuple[int, bytes]]] = {}
        self._verified: set[bytes] = set()
        self._trust: Trust | None = None

    def judge(self, home: "MeshHome", node: MeshNode) -> None:
        """Compare the set with all that the node ever held."""
        host = home.host
        root = node.records.tree.root
        if self._roots.get(host.name) == root:
            return
        self._roots[host.name] = root
        if self._backups.get(host.name, 0) != home.restored_backups:
            # What it learned after the backup is lost, as it should be.
            self._backups[host.name] = home.restored_backups
            self._best[host.name] = {}
        best = self._best.setdefault(host.name, {})
        here = {identity_of(record): record for record in node.records}
        for id, record in here.items():
            rank = (record.version, record.data)
            if rank < best.get(id, rank):
                self.fail(host, f"went back: {_describe(record)}")
            best[id] = rank
            self._verify(host, record)
            if isinstance(record, VerifiedMember) and _is_struck(node, record):
                self.fail(host, f"holds one that was struck off: {_describe(record)}")
        for id in best.keys() - here.keys():
            self._check_absence(host, node, best[id][1])
        for member in node.membership:
            if member.key != node.key:
                self._check_member(host, node, member)

    def _check_absence(
        self, host: "SimulatedHost", node: MeshNode, data: bytes
    ) -> None:
        record = self._read(data)
        if record is None:
            return  # a later charter refuses it
        if isinstance(record, VerifiedMember) and _is_struck(node, record):
            return
        if end_of(record) + KEPT_AFTER_END <= mesh_inside.believed_wall(node):
            return
        self.fail(host, f"forgot {_describe(record)}")

    def _check_member(
        self, host: "SimulatedHost", node: MeshNode, member: VerifiedMember
    ) -> None:
        wall = mesh_inside.believed_wall(node)
        if not _counts(node, member, wall):
            self.fail(host, f"counts {_describe(member)}, which it must not")

    def _verify(self, host: "SimulatedHost", record: Record) -> None:
        if record.data in self._verified:
            return
        if self._read(record.data) is None:
            self.fail(host, f"holds what nobody may have signed: {_describe(record)}")
        self._verified.add(record.data)

    def _read(self, data: bytes) -> Record | None:
        """Verify a record by all charters there are."""
        chain = self.mesh.charters()
        if self._trust is None or len(self._trust.chain()) != len(chain):
            self._trust = Trust(self.mesh.network_id)
            for charter in chain:
                self._trust.add_charter(charter)
        for verify in (
            lambda: self._trust.verify_member(data, wall=None),
            lambda: self._trust.verify_revocation(data),
        ):
            try:
                return verify()
            except RecordRefused:
                continue
        return None


class OwnWord(MeshInvariant):
    """A node's word about itself gets later, and has one text for each version."""

    rule = "I7: the versions of a node's own record never go back, nor mean two things"

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._said: dict[tuple[bytes, int], bytes] = {}
        self._last: dict[str, tuple[int, int]] = {}

    def judge(self, home: "MeshHome", node: MeshNode) -> None:
        """Compare with what it said before."""
        version, data = node.own.version, node.own.data
        backups, last = self._last.get(home.host.name, (0, 0))
        if backups != home.restored_backups:
            # It cannot know what it said after the backup until others tell it.
            for key in [key for key in self._said if key[0] == node.key]:
                del self._said[key]
            last = 0
        if version < last:
            self.fail(home.host, f"says version {version} after version {last}")
        self._last[home.host.name] = (home.restored_backups, version)
        if self._said.setdefault((node.key, version), data) != data:
            self.fail(home.host, f"says two things in version {version}")


class CertifiedRoutes(MeshInvariant):
    """Nobody owns a prefix that its certificate does not hold."""

    rule = "I8: no prefix is hijacked"

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._tables: dict[str, RoutingTable] = {}

    def judge(self, home: "MeshHome", node: MeshNode) -> None:
        """Check every owner of every prefix, when the table is another."""
        table = node.roads.routing
        if self._tables.get(home.host.name) is table:
            return
        self._tables[home.host.name] = table
        for prefix, key in _ownerships(table):
            member = node.membership.by_key(key)
            if member is None or not _may_own(member, prefix):
                owner = self._world.key_owners.get(key, key.hex())
                self.fail(home.host, f"{owner} owns {prefix}")


class KeptBeforeUsed(MeshInvariant):
    """When a step ended, what it decided is on disk, all of it."""

    rule = "I11: state on disk is always old-complete or new-complete"

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._seen: dict[str, tuple[int, tuple[bytes, int]]] = {}

    def judge(self, home: "MeshHome", node: MeshNode) -> None:
        """Compare the disk with the memory, when either moved."""
        if node.outbox.changes or node.outbox.datagrams:
            self.fail(home.host, "a step ended with something left to carry out")
        state = (home.disk.writes, node.records.tree.root)
        if self._seen.get(home.host.name) == state:
            return
        self._seen[home.host.name] = state
        kept = home.disk.records()
        for record in node.records:
            if kept.get(identity_of(record)) != record.data:
                self.fail(home.host, f"did not keep {_describe(record)}")
        own = home.disk.load()
        if (own.own_version, own.own) != (node.own.version, node.own.data):
            self.fail(home.host, "did not keep its own record")


class ArmedMeshTimers(ArmedTimers):
    """As for plain tunnels; a peer that is being looked for has the search's timer."""

    rule = "I9: every tunnel with queued traffic, and every mesh node, has a timer"

    def settled(self, host: "SimulatedHost") -> None:
        """Check the tunnels, then the node."""
        home = cast("MeshWorld", self._world).homes.get(host.name)
        node = None if home is None else home.node
        if node is None or host.control is None:
            return
        if not host.is_mute and host.control.timer_above() is None:
            self.fail(host, "the mesh node sleeps for ever")
        if host.workers is None or not inside.staged(host.workers):
            return
        peers = inside.peers(host.control)
        if not any(
            mesh_inside.is_sought(node, p.public_key.raw) for p in peers.values()
        ):
            super().settled(host)


class MeshBounds(MeshInvariant):
    """Every table of the mesh stays within its bound."""

    rule = "I10: every queue and table is within its bound"

    def judge(self, home: "MeshHome", node: MeshNode) -> None:
        """Compare each with its bound."""
        members = len(self._world.hosts)
        for what, size, bound in mesh_inside.table_sizes(node, members=members):
            if size > bound:
                self.fail(home.host, f"{what}: {size}, more than {bound}")


class HarmlessEndpoints(Invariant):
    """Nobody can make a node send to loopback, into its tunnel or to everybody."""

    rule = "F34: no datagram goes where no other host can be"

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Check where it goes."""
        to = flight.destination
        address = Prefix.parse(to.host)
        overlay = cast("MeshWorld", self._world).overlay
        if any(contains(bad, address) for bad in (*_NOWHERE, *overlay)) or not to.port:
            self.fail(host, f"a datagram goes to {to}")


class NoAmplificationByStrangers(NoAmplification):
    """As for plain tunnels; an introduction is authenticated by the record in it."""

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._root: tuple[bytes, int] | None = None
        self._opened = 0

    def arriving(self, host: "SimulatedHost", flight: Flight) -> None:
        """Remember what the node knows."""
        super().arriving(host, flight)
        self._root = self._root_of(host)
        self._opened = self._opened_by(host)

    def arrived(self, host: "SimulatedHost", flight: Flight, *, accepted: bool) -> None:
        """A record that is news may be told to others."""
        is_introduction = message_type(flight.data) == INTRODUCTION_TYPE
        is_news = is_introduction and self._root != self._root_of(host)
        if is_news and flight.origin is None:
            self.fail(host, "an introduction that no host made brought news")
        # What opens was sealed by a member, and opens once.
        is_probe = self._opened_by(host) != self._opened
        super().arrived(host, flight, accepted=accepted or is_news or is_probe)

    def _opened_by(self, host: "SimulatedHost") -> int:
        home = cast("MeshWorld", self._world).homes.get(host.name)
        return 0 if home is None else home.opened_probes

    def _root_of(self, host: "SimulatedHost") -> tuple[bytes, int] | None:
        home = cast("MeshWorld", self._world).homes.get(host.name)
        if home is None or home.node is None:
            return None
        return home.node.records.tree.root


def mesh_invariants(world: "World") -> list[Invariant]:
    """Return all rules of a world with a mesh."""
    replaced = (NoAmplification, ArmedTimers)
    return [
        *[rule for rule in standard_invariants(world) if type(rule) not in replaced],
        NoAmplificationByStrangers(world),
        NoGain(world),
        ArmedMeshTimers(world),
        CertifiedSource(world),
        MonotoneMembership(world),
        OwnWord(world),
        CertifiedRoutes(world),
        KeptBeforeUsed(world),
        MeshBounds(world),
        HarmlessEndpoints(world),
        AskedCiphers(world),
        ProvenSizes(world),
    ]


def owners_by_prefix(node: MeshNode) -> dict[Prefix, tuple[tuple[int, bytes], ...]]:
    """Return who owns each announced prefix by what the node knows, the best first.

    Owners are (metric, WireGuard key). Health is left out: who is connected to whom
    differs.
    """
    owners: dict[Prefix, list[tuple[int, bytes]]] = {}
    for member in node.membership:
        for route in _routes_of(member):
            if _may_own(member, route.prefix):
                owners.setdefault(route.prefix, []).append((route.metric, member.key))
    return {prefix: tuple(sorted(those)) for prefix, those in owners.items()}


def _ownerships(table: RoutingTable) -> Iterator[tuple[Prefix, bytes]]:
    for key, prefixes in table.exclusive.items():
        for prefix in prefixes:
            yield prefix, key
    for shared in table.shared:
        for key in dict.fromkeys((*shared.accept, *[s.key for s in shared.forward])):
            yield shared.prefix, key


def _may_own(member: VerifiedMember, prefix: Prefix) -> bool:
    if prefix in member.addresses:
        return True
    if prefix.length == 0:
        is_exit = Role.EXIT in member.certificate.roles
        return is_exit and prefix in member.certificate.subnets
    if all(prefix != route.prefix for route in _routes_of(member)):
        return False
    return any(
        subnet.length and contains(subnet, prefix)
        for subnet in member.certificate.subnets
    )


def _may_send(member: VerifiedMember, source: bytes) -> bool:
    address = host_prefix(source)
    if address in member.addresses:
        return True
    return any(
        contains(route.prefix, address) and _may_own(member, route.prefix)
        for route in _routes_of(member)
    )


def _routes_of(member: VerifiedMember) -> tuple[Route, ...]:
    return () if member.member is None else member.member.routes


def _counts(node: MeshNode, member: VerifiedMember, wall: float) -> bool:
    certificate = member.certificate
    begin = certificate.not_before - VALIDITY_SKEW - _ROUNDING
    end = certificate.not_after + VALIDITY_SKEW + _ROUNDING
    has_left = member.member is not None and member.member.has_left
    return begin <= wall <= end and not has_left and not _is_revoked(node, member)


def _revocations(node: MeshNode) -> Iterator[VerifiedRevocation]:
    for record in node.records:
        if isinstance(record, VerifiedRevocation):
            yield record


def _is_revoked(node: MeshNode, member: VerifiedMember) -> bool:
    """Whether an authority or the member's issuer revoked it."""
    return any(
        revocation.revocation.subject in _subjects(member)
        and (revocation.by_authority or revocation.signer == member.signer)
        for revocation in _revocations(node)
    )


def _is_struck(node: MeshNode, member: VerifiedMember) -> bool:
    """Whether an authority revoked it: such records are no part of the set."""
    return any(
        revocation.revocation.subject in _subjects(member) and revocation.by_authority
        for revocation in _revocations(node)
    )


def _subjects(member: VerifiedMember) -> tuple[bytes, ...]:
    return (member.key, member.certificate.signing_key, member.signer)


def _describe(record: Record) -> str:
    if isinstance(record, VerifiedMember):
        return f"member {record.certificate.name}, version {record.version}"
    return f"a revocation until {record.revocation.until}"
