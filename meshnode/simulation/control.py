"""The control process of a simulated host: the engine, its vault and its inbox.

It does in one step what the Trio shell of production does in several tasks: persist
what the engine asks to be persisted, forward its commands, send its datagrams.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from meshnode.codec.forwarding import decode_report
from meshnode.codec.probes import PROBE_TYPE
from meshnode.codec.wireguard import message_type
from meshnode.dataplane.gate import INTRODUCTION_TYPE
from meshnode.deadlines import Deadline, earliest
from meshnode.forwarding import Command, SessionsHeld
from meshnode.ports import TrafficView
from meshnode.simulation.trace import Flight
from meshnode.types import Datagram, Path
from meshnode.wireguard.constants import HANDSHAKE_QUEUE
from meshnode.wireguard.engine import Engine
from meshnode.wireguard.events import (
    ConfigurationChanged,
    Event,
    HandshakeCompleted,
    HandshakeGivenUp,
    PeerStateChanged,
    TimestampsReserved,
)

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost

MTU: Final = 1420


class Control:
    """One life of a control process.

    Args:
        host: whose it is.
        traffic: the facts of the data plane.
        forward: takes each command on its way to the workers.
        random: the entropy of this life.

    A mesh, or a test, takes part by the callbacks `introductions`, `probes`,
    `on_event`, `before_sending`, `take_received` and `carry`, which are those of
    `node.driver.Driver`, and by its own timer:
    `timer_above` says when it is due, `on_timer_above` is called then.
    """

    def __init__(
        self,
        host: "SimulatedHost",
        *,
        traffic: TrafficView,
        forward: Callable[[Command], None],
        random: Random,
    ) -> None:
        self.engine = Engine(
            entropy=random.randbytes,
            traffic=traffic,
            wall_time=host.clock.wall_time(host.world.now),
            now=host.now,
            timestamp_mark=host.supervisor.disk.timestamp_mark,
        )
        self.inbox: deque[tuple[Flight, Datagram]] = deque()
        self.inbox_overflows = 0
        self.introductions: Callable[[bytes, Path], None] | None = None
        self.probes: Callable[[bytes, Path], None] | None = None
        self.on_event: Callable[[Event], None] = lambda event: None
        self.before_sending: Callable[[], list[Datagram]] = list
        self.take_received: Callable[[], list[Datagram]] = list
        self.carry: Callable[[Datagram], Datagram | None] = lambda datagram: datagram
        self.timer_above: Callable[[], Deadline | None] = lambda: None
        self.on_timer_above: Callable[[], None] = lambda: None
        self._host = host
        self._forward = forward
        self._serving = False

    def receive(self, flight: Flight, datagram: Datagram) -> None:
        """Take a handshake message that ingress found in *flight*; drop it if full.

        With a `handshake_cost` each is served only that long after the one before.
        """
        if len(self.inbox) >= HANDSHAKE_QUEUE:
            self.inbox_overflows += 1
            return
        self.inbox.append((flight, datagram))
        if not self._host.handshake_cost:
            self.serve()
        elif not self._serving:
            self._serving = True
            self._host.world.after(self._host.handshake_cost, self._serve_later)

    def serve(self) -> None:
        """Handle the oldest message of the inbox."""
        host = self._host
        flight, datagram = self.inbox.popleft()
        queued = len(self.inbox) + host.pretended_queue
        with host.judged(flight):
            self._receive(datagram.data, datagram.path, queued=queued)

    def _receive(self, data: bytes, path: Path, *, queued: int) -> None:
        kind = message_type(data)
        if self.introductions and kind == INTRODUCTION_TYPE:
            self.introductions(data, path)
        elif self.probes and kind == PROBE_TYPE:
            self.probes(data, path)
        else:
            self.engine.receive_datagram(data, path, now=self._host.now, queued=queued)

    def handle_report(self, message: bytes) -> None:
        """Take a report of a worker."""
        report = decode_report(message)
        self.engine.handle_report(report, now=self._host.now)
        if isinstance(report, SessionsHeld) and report.last:
            self._host.supervisor.sessions_told()

    def drain(self) -> bool:
        """Pass on everything the engine has to say; return whether it was anything."""
        moved = False
        ahead: list[Datagram] = []
        event = self.engine.next_event()
        while True:
            while event is not None:
                self._handle_event(event)
                moved = True
                event = self.engine.next_event()
            ahead += self.before_sending()
            received = self.take_received()
            for datagram in received:
                self._receive(datagram.data, datagram.path, queued=0)
            event = self.engine.next_event()
            if event is None and not received:
                break
        for command in self.engine.commands_to_forward():
            self._forward(command)
            moved = True
        for datagram in [*ahead, *self.engine.datagrams_to_send()]:
            carried = self.carry(datagram)
            if carried is not None:
                self._send(carried)
                moved = True
        return moved

    def next_deadline(self) -> Deadline | None:
        """Return when the engine, or what is above it, wants to be woken."""
        return earliest(self.engine.next_deadline(), self.timer_above())

    def handle_deadline(self) -> None:
        """Wake whoever is due."""
        now = self._host.now
        self.engine.handle_deadline(now=now)
        above = self.timer_above()
        if above is not None and above.at <= now:
            self.on_timer_above()

    def _send(self, datagram: Datagram) -> None:
        self._host.send(datagram.data, datagram.path, hops=datagram.hops)

    def _serve_later(self) -> None:
        host = self._host
        if host.control is not self:
            return  # this process died meanwhile
        if host.is_frozen:
            host.world.at(host.frozen_until, self._serve_later)
            return
        if self.inbox:
            self.serve()
            host.settle()
        self._serving = bool(self.inbox)
        if self._serving:
            host.world.after(host.handshake_cost, self._serve_later)

    def _handle_event(self, event: Event) -> None:
        self._keep(event)
        self.on_event(event)

    def _keep(self, event: Event) -> None:
        host = self._host
        match event:
            case TimestampsReserved(mark=mark):
                host.supervisor.disk.timestamp_mark = mark
                self.engine.mark_saved(mark)
            case ConfigurationChanged():
                host.supervisor.vault.state = self.engine.state()
            case PeerStateChanged(slot=slot):
                self._save_peer(slot)
            case HandshakeCompleted(public_key=key, is_initiator=is_initiator):
                host.world.sessions += 1
                role = "initiator" if is_initiator else "responder"
                host.note(f"session with {host.world.name_of(key)} as {role}")
            case HandshakeGivenUp(public_key=key):
                host.note(f"gave up on {host.world.name_of(key)}")

    def _save_peer(self, slot: int) -> None:
        peers = self._host.supervisor.vault.state.peers
        kept = self.engine.peer_state(slot)
        peers[:] = [peer for peer in peers if peer.slot != slot]
        if kept is not None:
            peers.append(kept)
