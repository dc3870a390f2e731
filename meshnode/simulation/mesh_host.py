"""A mesh node on a simulated host: production's `MeshNode` over the host's engine.

It stands for `node.mesh_shell` and does in one step what that does: what was decided
is kept, then given to the workers, then sent, then done to the host, then told. There
are moments in between at which the power may fail (`Boundary`).
"""

import enum
from collections import Counter, deque
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final

from meshnode.codec.message_bytes import decode_message
from meshnode.codec.messages import Message
from meshnode.codec.record_bytes import decode_certificate, parse_envelope
from meshnode.codec.records import Role, Route
from meshnode.deadlines import Deadline
from meshnode.errors import BadPacket, CodecError
from meshnode.hostplan import Announced, HostPlan
from meshnode.mesh.describe import describe_event
from meshnode.mesh.engine_tunnels import EngineTunnels
from meshnode.mesh.events import MeshEvent
from meshnode.mesh.node import MeshNode
from meshnode.mesh.ports import StateChange
from meshnode.mesh.prefixes import contains
from meshnode.mesh.punch_sockets import (
    CloseSocket,
    CloseSockets,
    KeepSocket,
    OpenSockets,
    SocketOrder,
)
from meshnode.mesh.settings import NodeIdentity, NodeSettings
from meshnode.simulation.control import Control
from meshnode.simulation.detours import TlsDetours
from meshnode.simulation.host import PORT
from meshnode.simulation.mesh_disk import MeshDisk
from meshnode.types import Datagram, Endpoint, Path, Prefix
from meshnode.wireguard import events
from meshnode.wireguard.config import DeviceChange

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost

Contacts = dict[bytes, tuple[Endpoint, ...]]
"""Whom to talk to first: WireGuard keys with endpoints."""

_KEPT_EVENTS: Final = 200


class Boundary(enum.Enum):
    """A moment of a step at which the power may fail."""

    BEFORE_KEEPING = "before anything of the step is on disk"
    BEFORE_SENDING = "when all is on disk, and nothing was sent"
    AFTER_SENDING = "when all was sent"


class MeshLife:
    """The node of one life of a control process.

    Args:
        host: whose it is.
        control: the process.
        home: what outlives it.
        random: the entropy of this life.
    """

    def __init__(
        self, host: "SimulatedHost", control: Control, home: "MeshHome", random: Random
    ) -> None:
        self._host = host
        self._home = home
        control.engine.limit_padding(home.settings.mtu)
        self.tunnels = EngineTunnels(control.engine)
        self.node = MeshNode(
            home.identity,
            home.settings,
            home.disk.load(),
            tunnels=self.tunnels,
            entropy=random.randbytes,
            now=host.now,
            wall=home.wall,
        )
        self._armed: Deadline | None = None
        self._detours = TlsDetours(host, self._set_detour)
        control.engine.configure(
            DeviceChange(private_key=home.identity.private_key), now=host.now
        )
        control.introductions = self._receive_introduction
        control.probes = self._receive_probe
        control.on_event = self._handle_event
        control.before_sending = self._carry_out
        control.take_received = self._take_received
        control.carry = self._carry
        control.timer_above = lambda: self._armed
        control.on_timer_above = self._handle_deadline

    def start(self) -> None:
        """Begin: the engine is restored, and the workers are programmed next."""
        now, node = self._host.now, self.node
        node.start(now=now, wall=self._home.wall)
        self.tunnels.adopt(node.peer_keys(), now=now)
        self.follow_addresses()
        node.set_contacts(self._home.contacts, now=now, wall=self._home.wall)

    def follow_addresses(self) -> None:
        """Tell the node the host's own addresses."""
        addresses = self._host.addresses
        local = tuple(Endpoint(addresses[version], PORT) for version in addresses)
        self.node.set_addresses(local, now=self._host.now, wall=self._home.wall)

    def send(self, key: bytes, message: Message) -> None:
        """Say anything to a peer, as a member may that does not run our code."""
        self.tunnels.send(key, message, now=self._host.now)
        self._host.settle()

    # --- the driver's callbacks ---

    def _handle_event(self, event: events.Event) -> None:
        now, wall, node = self._host.now, self._home.wall, self.node
        match event:
            case events.ControlFrame(_, public_key, frame, cut, path):
                try:
                    message = decode_message(frame, cut)
                except CodecError:
                    self._home.bad_frames += 1
                    return
                node.receive_message(
                    public_key.raw, message, path=path, now=now, wall=wall
                )
            case events.DeviceUp():
                node.device_up(now=now, wall=wall)
            case events.EndpointWanted(_, public_key):
                node.endpoint_wanted(public_key.raw, now=now, wall=wall)
            case events.HandshakeBegun(_, public_key, _):
                node.handshake_begun(public_key.raw, now=now, wall=wall)
            case events.HandshakeCompleted(_, public_key, _):
                self.tunnels.flush(now=now)
                node.session_started(public_key.raw, now=now, wall=wall)
            case events.HandshakeGivenUp(_, public_key):
                node.handshake_given_up(public_key.raw, now=now, wall=wall)
            case events.PeerHeard(_, public_key, path):
                node.peer_heard(public_key.raw, path, now=now, wall=wall)
            case events.PathChanged(_, public_key):
                node.path_changed(public_key.raw, now=now, wall=wall)
            case events.PeerTrafficResumed(_, public_key):
                node.traffic_resumed(public_key.raw, now=now, wall=wall)

    def _receive_introduction(self, data: bytes, path: Path) -> None:
        now = self._host.now
        try:
            self.node.receive_introduction(data, now=now, wall=self._home.wall)
        except BadPacket as bad:
            self._home.refused_introductions[bad.reason.name] += 1
        self.tunnels.flush(now=now)

    def _receive_probe(self, data: bytes, path: Path) -> None:
        now = self._host.now
        try:
            self.node.receive_probe(data, path, now=now, wall=self._home.wall)
        except BadPacket as bad:
            self._home.refused_probes[bad.reason.name] += 1
        else:
            self._home.opened_probes += 1
        self.tunnels.flush(now=now)

    def _obey(self, order: SocketOrder) -> None:
        """Open and close UDP ports of the host beside that of its node."""
        host = self._host
        match order:
            case OpenSockets(count):
                ports = host.open_ports(count)
                self.node.sockets_opened(ports, now=host.now, wall=self._home.wall)
            case KeepSocket(port):
                host.kept_ports.add(port)
            case CloseSocket(port):
                host.kept_ports.discard(port)
                host.close_ports()
            case CloseSockets(aside):
                host.close_ports(but=aside)

    def _handle_deadline(self) -> None:
        self._armed = None
        self.node.handle_deadline(now=self._host.now, wall=self._home.wall)

    def _take_received(self) -> list[Datagram]:
        outbox = self.node.outbox
        received, outbox.received = outbox.received, []
        return received

    def _carry(self, datagram: Datagram) -> Datagram | None:
        return self.node.relays.carry(datagram, now=self._host.now)

    def _carry_out(self) -> list[Datagram]:
        host, home, node = self._host, self._home, self.node
        outbox = node.outbox
        self.tunnels.flush(now=host.now)
        home.keep(outbox.changes)
        outbox.changes = []
        for order in node.sockets.take_orders():
            self._obey(order)
        datagrams, outbox.datagrams = outbox.datagrams, []
        while outbox.events:
            home.tell(outbox.events.popleft())
        node.pings.answers()
        plan = node.plan_to_apply()
        if plan is not None and not host.is_mute:
            home.plan = plan
        self._armed = node.next_deadline(now=host.now, wall=home.wall)
        if set(node.detours.watch.wanted) != self._detours.dialled:
            self._detours.follow(node.detours.wanted(now=host.now))
        return datagrams

    def _set_detour(self, key: bytes, endpoint: Endpoint | None) -> None:
        host, home = self._host, self._home
        if home.life is self and host.control is not None:
            self.node.set_detour(key, endpoint, now=host.now, wall=home.wall)
            host.settle()


class MeshHome:
    """What of a mesh node outlives its process: papers, settings, disk, host plan.

    `key` is its WireGuard key, as long as it lives. `fails_at` is the boundary at which
    the power fails in the next step that keeps something, None for never; the node is
    down then until somebody starts it. `since` is the world time at which the host
    became a member.
    """

    def __init__(
        self,
        host: "SimulatedHost",
        identity: NodeIdentity,
        settings: NodeSettings,
        contacts: Contacts,
    ) -> None:
        self.host = host
        self.identity = identity
        # Kept, as rules ask for it in every step, and making it costs a curve.
        self.key = identity.private_key.public_key().raw
        self.settings = settings
        self.contacts = contacts
        envelope = parse_envelope(identity.certificate)
        certificate = decode_certificate(envelope.body)
        self.ipv4 = certificate.ipv4
        self.serves_as_rendezvous = Role.RENDEZVOUS in certificate.roles
        self.since = host.world.now
        self.disk = MeshDisk()
        self.plan: HostPlan | None = None
        self.life: MeshLife | None = None
        self.fails_at: Boundary | None = None
        self.restored_backups = 0
        self.bad_frames = 0
        self.refused_introductions: Counter[str] = Counter()
        self.refused_probes: Counter[str] = Counter()
        self.opened_probes = 0
        self.events: deque[tuple[float, MeshEvent]] = deque(maxlen=_KEPT_EVENTS)
        self._lives = 0
        host.supervisor.on_restored = self._begin

    @property
    def wall(self) -> float:
        """Wall seconds, as this host believes."""
        return self.host.clock.wall_time(self.host.world.now)

    @property
    def node(self) -> MeshNode | None:
        """The node of the process that runs, None while none does."""
        return self.life.node if self.life and self.host.control else None

    @property
    def running(self) -> MeshNode:
        """The node of the process that runs.

        Raises:
            RuntimeError: if none does.
        """
        if self.node is None:
            raise RuntimeError(f"no mesh node runs on {self.host.name}")
        return self.node

    def leads_into_tunnel(self, destination: Prefix) -> bool:
        """Whether the host's routes lead packets for this address into the tunnel."""
        if self.plan is None:
            return False
        overlay = [Prefix.parse(address) for address in self.plan.addresses]
        routes = (*overlay, *self.plan.routes)
        return any(contains(route, destination) for route in routes)

    def move(self) -> None:
        """Let the host take new addresses; its node is told by the kernel."""
        self.host.move()
        if self.node is not None and self.life is not None:
            self.life.follow_addresses()
            self.host.settle()

    def configure(self, settings: NodeSettings) -> None:
        """Change what the administrator of the host decided."""
        self.settings = settings
        if self.node is not None:
            self.node.configure(settings, now=self.host.now, wall=self.wall)
            self.host.settle()

    def announce(self, routes: tuple[Route, ...]) -> None:
        """Announce exactly these routes, as `meshnode route` does."""
        announced = tuple(Announced(route.prefix) for route in routes)
        self.configure(replace(self.settings, routes=routes, announced=announced))

    def restore(self, backup: MeshDisk) -> None:
        """Put an older state in the place of ours; the node is down."""
        self.restored_backups += 1
        self.disk.restore(backup)

    # --- for the life of a process ---

    def keep(self, changes: list[StateChange]) -> None:
        """Write what a step decided; the power may fail before or after."""
        host = self.host
        if not changes or host.is_mute:
            return
        boundary, self.fails_at = self.fails_at, None
        if boundary is not Boundary.BEFORE_KEEPING:
            self.disk.apply(changes)
        if boundary is None:
            return
        host.note(f"the power fails {boundary.value}")
        host.is_mute = boundary is not Boundary.AFTER_SENDING
        host.world.at(host.world.now, self.lose_power)

    def lose_power(self) -> None:
        """Crash at once, with what was not waited for lost."""
        self.host.supervisor.crash()
        self.disk.lose_power()

    def tell(self, event: MeshEvent) -> None:
        """Take an event for the story."""
        if self.host.is_mute:
            return
        self.events.append((self.host.world.now, event))
        name, *facts = describe_event(event).values()
        self.host.note(" ".join(map(str, (name, *facts))))

    def _begin(self, control: Control) -> None:
        self._lives += 1
        seed = f"{self.host.world.seed}/{self.host.name}/mesh/{self._lives}"
        self.life = MeshLife(self.host, control, self, Random(seed))
        self.life.start()
        control.drain()
