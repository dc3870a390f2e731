"""One node of a simulated network: the real engine over the real data-plane code.

The glue is production's, done in one step: whatever moves one part, everything it
gives rise to is passed on until nothing is left (`settle`). Messages between the
processes may take time, datagrams always do.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from meshnode.deadlines import Deadline
from meshnode.simulation.application import Application
from meshnode.simulation.clock import Clock
from meshnode.simulation.control import MTU, Control
from meshnode.simulation.detours import LOOPBACK
from meshnode.simulation.supervisor import Supervisor
from meshnode.simulation.trace import TTL, Flight
from meshnode.simulation.workers import Workers
from meshnode.types import Endpoint, Path, Source
from meshnode.wireguard.config import DeviceChange
from meshnode.wireguard.engine import Engine

if TYPE_CHECKING:
    from meshnode.simulation.world import World

PORT: Final = 51820
_FIRST_BESIDE: Final = 32768
_BESIDE: Final = 16384
_MAX_ROUNDS: Final = 1000


class SimulatedHost:
    """A host of the world; its methods are what can be done to it or by it.

    `handshake_cost` is how many seconds control takes for one handshake message;
    `pretended_queue` is added to the length of its queue. `frozen_until` is the world
    time at which a suspended or stalled host runs again. `visitors` are programs beside
    the node, by their UDP port. Of a host that `is_mute` nothing gets out any more: its
    power fails at this very moment. `ports` are UDP ports beside the node's own, open
    for searches, and `kept_ports` those of them that stay. `bridges` take what is sent
    to a port of the loopback address: TLS is behind them.
    """

    def __init__(
        self,
        world: "World",
        name: str,
        index: int,
        clock: Clock,
        *,
        slowness: float,
    ) -> None:
        self.world = world
        self.name = name
        self.index = index
        self.clock = clock
        self.private_key = world.new_key(name)
        self.public_key = self.private_key.public_key()
        self.application = Application(
            index, send=self.send_packet, number=world.next_packet_number
        )
        self.handshake_cost = 0.0
        self.pretended_queue = 0
        self.frozen_until = 0.0
        self.prefers_ipv6 = False
        self.visitors: dict[int, Callable[[Flight], None]] = {}
        self.is_mute = False
        self.bridges: dict[int, Callable[[bytes], None]] = {}
        self.ports: set[int] = set()
        self.kept_ports: set[int] = set()
        self._next_port = _FIRST_BESIDE
        self.addresses: dict[int, str] = {}
        self.supervisor = Supervisor(self, slowness=slowness)
        self._now = 0.0
        self._moves = 0
        self._is_deaf = False
        self._held: list[Flight] = []
        self._is_settling = False
        self.move()

    # --- what it is ---

    @property
    def now(self) -> float:
        """Boottime seconds; never goes back while the machine runs."""
        self._now = max(self._now, self.clock.boottime(self.world.now))
        return self._now

    @property
    def endpoint(self) -> Endpoint:
        """The address others are told."""
        return Endpoint(self.addresses[6 if self.prefers_ipv6 else 4], PORT)

    @property
    def control(self) -> Control | None:
        """The control process, None while it is down."""
        return self.supervisor.control

    @property
    def workers(self) -> Workers | None:
        """The workers, None while the node is off."""
        return self.supervisor.workers

    @property
    def engine(self) -> Engine:
        """The engine of the control process that runs.

        Raises:
            RuntimeError: if none does.
        """
        if self.control is None:
            raise RuntimeError(f"no control process runs on {self.name}")
        return self.control.engine

    @property
    def is_frozen(self) -> bool:
        """Whether the host is suspended or stalled."""
        return self.frozen_until > self.world.now

    @property
    def is_programming(self) -> bool:
        """Whether control waits for what the workers hold."""
        return self.supervisor.is_adopting

    def path_of(self, flight: Flight) -> Path:
        """Return the path by which *flight* came."""
        port = flight.destination.port
        beside = port if port in self.ports else 0
        return Path(flight.source, Source(flight.destination.host, 0, beside))

    def name_of_slot(self, slot: int) -> str | None:
        """Return the name of the host that is our peer in *slot*."""
        for peer in self.supervisor.vault.state.peers:
            if peer.slot == slot:
                return self.world.name_of(peer.public_key)
        return None

    def is_listening(self, endpoint: Endpoint) -> bool:
        """Whether the UDP port at *endpoint* is open and the machine awake."""
        if endpoint.port in self.visitors:
            return not self.is_frozen
        is_asleep = self.is_frozen and self._is_deaf
        is_ours = endpoint.port == PORT or endpoint.port in self.ports
        return self.workers is not None and is_ours and not is_asleep

    def outlook(self) -> str:
        """Say what the host waits for, for the story."""
        if self.workers is None:
            return "switched off"
        if self.is_frozen:
            return f"frozen until {self.frozen_until:.3f}"
        if self.control is None:
            return "control process is down"
        deadline = self.control.next_deadline()
        if deadline is None:
            return f"boottime {self.now:.3f}, no deadline"
        return (
            f"boottime {self.now:.3f}, next deadline {deadline.at:.3f} "
            f"(in {deadline.at - self.now:.3f} s): {deadline.reason}"
        )

    def next_wakeup(self) -> Deadline | None:
        """Return when, in world time, the host wants to run, and why."""
        if self.control is None or self.workers is None or self.is_frozen:
            return None
        deadline = self.control.next_deadline()
        if deadline is None:
            return None
        at = max(self.clock.world_time(deadline.at), self.world.now)
        return Deadline(at, deadline.reason)

    # --- ports beside the node's own ---

    def open_ports(self, count: int) -> tuple[int, ...]:
        """Open so many UDP ports for the node; return their numbers."""
        first = self._next_port
        self._next_port = _FIRST_BESIDE + (first + count - _FIRST_BESIDE) % _BESIDE
        opened = tuple(
            [
                _FIRST_BESIDE + (first + n - _FIRST_BESIDE) % _BESIDE
                for n in range(count)
            ]
        )
        self.ports.update(opened)
        return opened

    def close_ports(self, *, but: int = 0) -> None:
        """Close those that are not kept, but this one."""
        self.ports &= self.kept_ports | {but}

    # --- verbs ---

    def configure(self, change: DeviceChange) -> None:
        """Apply a change, as `wg set` would."""
        if change.private_key is not None:
            self.private_key = change.private_key
            self.public_key = change.private_key.public_key()
        with self.world.watch.configuring(self):
            self.engine.configure(change, now=self.now)
            self.supervisor.configured = self.engine.state()
            self.settle()

    def set_link(self, *, up: bool) -> None:
        """Set the TUN device up or down."""
        self.note("link up" if up else "link down")
        self.engine.set_link(mtu=MTU, up=up, now=self.now)
        self.settle()

    def request(
        self, to: str, *, version: int = 4, size: int = 100, claim: str | None = None
    ) -> int:
        """Let the application send a request to another host; return its number."""
        number = self.application.request(
            self.world.hosts[to].index,
            now=self.world.now,
            version=version,
            size=size,
            claim=None if claim is None else self.world.hosts[claim].index,
        )
        self.settle()
        return number

    def send_packet(self, packet: bytes) -> None:
        """Put an IP packet into the TUN device; `settle` makes it leave."""
        if self.workers is not None and not self.is_frozen:
            self.workers.send_packet(packet)

    def receive(self, flight: Flight) -> None:
        """Take a datagram from the network."""
        visitor = self.visitors.get(flight.destination.port)
        if visitor is not None:
            visitor(flight)
            return
        if self.workers is None:
            return
        if self.is_frozen:
            self._held.append(flight)
            return
        path = self.path_of(flight)
        with self.judged(flight):
            handshake = self.workers.receive(flight.data, path)
        if handshake is not None and self.control is not None:
            self.control.receive(flight, handshake)
        self.settle()

    def wake(self) -> None:
        """Handle the deadline that is due."""
        if self.control is None or self.is_frozen:
            return
        deadline = self.control.next_deadline()
        if deadline is not None:
            # World time and boottime are converted in floating point.
            rounding = 1e-6
            if 0.0 < deadline.at - self.now < rounding:
                self._now = deadline.at
            self.control.handle_deadline()
        self.settle()

    def send(self, data: bytes, path: Path, *, hops: int = 0) -> None:
        """Send a datagram by *path*, without its source if we lost that address.

        It comes to at most so many routers; 0 for as many as usual.
        """
        if self.is_mute or path.remote.version not in self.addresses:
            return
        if path.remote.host == LOOPBACK:
            bridge = self.bridges.get(path.remote.port)
            if bridge is not None:
                bridge(data)
            return
        source = self.addresses[path.remote.version]
        if path.source is not None and path.source.host in self.addresses.values():
            source = path.source.host
        port = path.port
        if port and port not in self.ports:
            return  # the socket was closed meanwhile
        origin = Endpoint(source, port or PORT)
        self.world.transmit(self, data, origin, path.remote, ttl=hops or TTL)

    def settle(self) -> None:
        """Pass on everything that waits, and tell the world that a step ended."""
        if self._is_settling:
            return  # an inner call of a step that settles at its end
        self._is_settling = True
        try:
            self._pass_on()
        finally:
            self._is_settling = False
        self.world.touched(self)

    def note(self, text: str) -> None:
        """Add a line to the story."""
        self.world.trace.note(self.world.now, self.name, text)

    # --- accidents ---

    def freeze(self, seconds: float, *, deaf: bool) -> None:
        """Let nothing run for that long; boottime goes on.

        *deaf* is a suspended machine, which loses what arrives; else its processes
        are only stalled, and the sockets keep it.
        """
        self.note(f"{'suspended' if deaf else 'stalled'} for {seconds:.1f} s")
        self.frozen_until = self.world.now + seconds
        self._is_deaf = deaf
        if self.workers is not None:
            self.workers.freeze()
        self.world.at(self.frozen_until, self._thaw)
        self.world.touched(self)

    def thaw_now(self) -> None:
        """End a suspension or a stall before its time."""
        if self.is_frozen:
            self.frozen_until = self.world.now
            self._thaw()

    def move(self) -> None:
        """Take new addresses and leave the old ones."""
        network = self.world.network
        for address in self.addresses.values():
            network.take_address(address, self.name)
        self._moves += 1
        self.addresses = {
            4: f"198.18.{self.index}.{self._moves % 250 + 1}",
            6: f"2001:db8:{self.index + 1:x}::{self._moves:x}",
        }
        for address in self.addresses.values():
            network.give_address(address, self.name)
        if self._moves > 1:
            self.note(f"moves to {self.endpoint}")

    def forget_held(self) -> None:
        """Lose what arrived while the host was frozen."""
        self._held.clear()

    def reboot_clock(self) -> None:
        """Begin boottime anew, as after a reset of a machine that is off."""
        self.clock.booted_at = self.world.now
        self._now = 0.0

    # --- glue ---

    @contextmanager
    def judged(self, flight: Flight) -> Iterator[None]:
        """Let the invariants see what *flight*, handled in the block, leads to."""
        watch = self.world.watch
        before = self._accepted_packets()
        watch.arriving(self, flight)
        yield
        is_accepted = self._accepted_packets() != before
        if is_accepted:
            watch.accepted(self, flight)
        self._pass_on()
        watch.arrived(self, flight, accepted=is_accepted)

    def _accepted_packets(self) -> int:
        return 0 if self.workers is None else self.workers.tally.accepted

    def _pass_on(self) -> None:
        for _ in range(_MAX_ROUNDS):
            moved = self.control is not None and self.control.drain()
            if not self._drain_workers() and not moved:
                return
        raise RuntimeError(f"{self.name} does not come to rest")

    def _drain_workers(self) -> bool:
        workers = self.workers
        if workers is None:
            return False
        moved = False
        for datagram in workers.datagrams_to_send():
            self.send(datagram.data, datagram.path)
            moved = True
        for packet in workers.packets_to_deliver():
            self.world.watch.delivered(self, packet)
            self.application.receive(packet, now=self.world.now)
            moved = True
        return workers.send_reports() or moved

    def _thaw(self) -> None:
        if self.is_frozen or self.workers is None:
            return
        self.note("runs again")
        self.workers.thaw(control_runs=self.control is not None)
        self.wake()
        held, self._held = self._held, []
        for flight in held:
            self.receive(flight)
        self.settle()
