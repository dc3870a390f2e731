"""Feeds the engine and carries out what it asks for: the shell's one pair of hands.

Every method gives the engine one input and then drains it, in the order that the
engine demands: first what must outlive us (marks on disk, the vault), then the
commands, then the datagrams. None of it waits, so each call is one atomic step.

A mesh above the engine takes part by three callbacks. What it asks of the engine in
them belongs to the same step.
"""

import logging
import time
from collections.abc import Callable, Iterable

from meshnode.codec import tai64n
from meshnode.codec.lifeline import Worker
from meshnode.codec.probes import PROBE_TYPE
from meshnode.codec.wireguard import message_type
from meshnode.crypto.keys import PrivateKey
from meshnode.dataplane.gate import INTRODUCTION_TYPE
from meshnode.errors import HostError
from meshnode.forwarding import Report
from meshnode.host.clock import BootTimer, boottime
from meshnode.node.fleet import Fleet
from meshnode.node.marks import TimestampMarks
from meshnode.node.outlet import Outlet
from meshnode.node.vault import Vault
from meshnode.types import Datagram, Path
from meshnode.wireguard.config import DeviceChange, DeviceStatus
from meshnode.wireguard.engine import Engine
from meshnode.wireguard.events import (
    ConfigurationChanged,
    Event,
    HandshakeCompleted,
    HandshakeGivenUp,
    PeerStateChanged,
    TimestampsReserved,
)
from meshnode.wireguard.timestamps import RESERVATION

_log = logging.getLogger("meshnode.node")


def _ignore(event: Event) -> None:
    """Without a mesh nobody else needs the events."""


def _as_it_is(datagram: Datagram) -> Datagram | None:
    """Without a mesh there are no relay channels."""
    return datagram


def _nothing_before() -> list[Datagram]:
    """Without a mesh the engine's datagrams are all there are."""
    return []


class Driver:
    """One engine, with what its output goes to.

    `timer` becomes readable when `handle_deadline` is due, at `armed` boottime seconds
    (None for never). Callbacks of a mesh:

    `introductions` takes datagrams of type 7 with their path; without it they are
    dropped and counted, as of an unknown type. `probes` does the same for those of type
    6. `on_event` sees every event of the
    engine, in order. `before_sending` is called when a step has no more events; the
    datagrams that it returns leave before the engine's. `take_received` is asked then
    for datagrams that came otherwise than by the UDP port. `carry` says what is really
    sent of each datagram, None for nothing now.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        vault: Vault,
        marks: TimestampMarks,
        outlet: Outlet,
        workers: Fleet,
        timer: BootTimer,
        introductions: Callable[[bytes, Path], None] | None = None,
        probes: Callable[[bytes, Path], None] | None = None,
        on_event: Callable[[Event], None] = _ignore,
        before_sending: Callable[[], list[Datagram]] = _nothing_before,
        take_received: Callable[[], list[Datagram]] = _nothing_before,
        carry: Callable[[Datagram], Datagram | None] = _as_it_is,
    ) -> None:
        self.timer = timer
        self._engine = engine
        self._vault = vault
        self._marks = marks
        self._outlet = outlet
        self._workers = workers
        self._introductions = introductions
        self._probes = probes
        self._on_event = on_event
        self._before_sending = before_sending
        self._take_received = take_received
        self._carry = carry
        self.armed: float | None = None

    # --- beginning ---

    def restore(self) -> bool:
        """Take what the vault holds, if anything; return whether it did."""
        state = self._vault.load()
        if state is not None:
            self._engine.restore(state, now=boottime())
            self._follow_key(state.private_key)
        self.adopt_port()
        return state is not None

    def adopt_port(self) -> None:
        """Keep the port that the sockets are really bound to."""
        self._engine.set_listen_port(self._outlet.pair.port)

    # --- inputs ---

    def receive(self, datagrams: Iterable[Datagram], *, queued: int) -> None:
        """Take handshake messages, introductions and probes, in the order they came.

        *queued* is how many more wait behind them.
        """
        self._receive(datagrams, queued=queued)
        self.drain()

    def _receive(self, datagrams: Iterable[Datagram], *, queued: int) -> None:
        now = boottime()
        for datagram in datagrams:
            data, path = datagram.data, datagram.path
            kind = message_type(data)
            if self._introductions and kind == INTRODUCTION_TYPE:
                self._introductions(data, path)
            elif self._probes and kind == PROBE_TYPE:
                self._probes(data, path)
            else:
                self._engine.receive_datagram(data, path, now=now, queued=queued)

    def is_under_load(self) -> bool:
        """Whether more handshakes arrive than should be answered in full."""
        return self._engine.is_under_load(now=boottime())

    def handle_reports(self, reports: Iterable[Report]) -> None:
        """Take what a worker reported."""
        now = boottime()
        for report in reports:
            self._engine.handle_report(report, now=now)
        self.drain()

    def handle_deadline(self) -> None:
        """Do what is due."""
        self.timer.clear()
        self.armed = None
        self._engine.handle_deadline(now=boottime())
        self.drain()

    def follow_link(self, *, mtu: int, up: bool) -> None:
        """Follow the TUN device: its MTU in bytes, and whether it is up."""
        self._engine.set_link(mtu=mtu, up=up, now=boottime())
        self.drain()

    def program(self, worker: Worker, generation: int) -> None:
        """Give *worker* the whole table; what still waited for it is in there."""
        self._workers.start_over(worker, generation, self._engine.program())

    def restart_worker(self, worker: Worker, generation: int) -> None:
        """Another process is *worker* now; the keys that the last one held are lost."""
        self._workers.bury(worker)
        self.program(worker, generation)
        self.lose_sessions()

    def reprogram(self, worker: Worker) -> None:
        """Commands for *worker* were lost on the way; it may hold any sessions."""
        self.program(worker, self._workers.generation(worker))
        self.lose_sessions()

    def lose_sessions(self) -> None:
        """Make all sessions anew: a worker lost keys."""
        self._engine.handle_sessions_lost(now=boottime())
        self.drain()

    # --- management ---

    def status(self) -> DeviceStatus:
        """Return what `wg show` presents."""
        return self._engine.status()

    def configure(self, change: DeviceChange) -> None:
        """Apply *change* whole; port and mark are set on the sockets already.

        Raises:
            ConfigError: if the change cannot be had; nothing was changed.
            HostError: if it cannot be kept, or was applied but would not outlive
                this process.
        """
        before = self._engine.private_key
        is_new_key = change.private_key is not None and change.private_key != before
        if is_new_key or change.clear_private_key:
            self._follow_key(change.private_key)
        try:
            self._engine.configure(change, now=boottime())
        except BaseException:
            self._follow_key(before)
            raise
        if change.listen_port is not None:
            self.adopt_port()
        problem = self.drain()
        if problem is not None:
            raise problem

    def _follow_key(self, key: PrivateKey | None) -> None:
        mark = self._marks.follow(None if key is None else key.public_key())
        if mark:
            warn_of_slow_clock(mark)
            self._engine.raise_timestamp_mark(mark)

    # --- output ---

    def drain(self) -> HostError | None:
        """Carry out what the engine asks; return why something could not be kept."""
        problem, ahead = self._keep_all()
        self._workers.forward(self._engine.commands_to_forward())
        datagrams = map(self._carry, [*ahead, *self._engine.datagrams_to_send()])
        self._outlet.send([datagram for datagram in datagrams if datagram])
        deadline = self._engine.next_deadline()
        at = None if deadline is None else deadline.at
        if at != self.armed:
            self.armed = at
            self.timer.set(at)
        return problem

    def _keep_all(self) -> tuple[HostError | None, list[Datagram]]:
        """Keep what this step leads to; return the first to send, too.

        The mesh may ask something of the engine whenever it is asked itself.
        """
        problem: HostError | None = None
        ahead: list[Datagram] = []
        event = self._engine.next_event()
        while True:
            problem = self._keep(event) or problem
            ahead += self._before_sending()
            received = self._take_received()
            self._receive(received, queued=0)
            event = self._engine.next_event()
            if event is None and not received:
                return problem, ahead

    def _keep(self, event: Event | None) -> HostError | None:
        """Make durable what *event* and those after it demand."""
        everything = False
        slots: dict[int, None] = {}
        problem = None
        while event is not None:
            match event:
                case TimestampsReserved(mark):
                    problem = self._save_mark(mark) or problem
                case ConfigurationChanged():
                    everything = True
                case PeerStateChanged(slot):
                    slots[slot] = None
                case HandshakeCompleted(_, peer, _):
                    _log.debug("handshake with %s completed", peer)
                case HandshakeGivenUp(_, peer):
                    _log.debug("handshake with %s given up: no answer", peer)
            self._on_event(event)
            event = self._engine.next_event()
        try:
            if everything:
                self._vault.save(self._engine.state())
            else:
                self._save_progress(slots)
        except HostError as error:
            _log.error("%s", error)
            problem = error
        return problem

    def _save_progress(self, slots: Iterable[int]) -> None:
        for slot in slots:
            state = self._engine.peer_state(slot)
            if state is not None:
                self._vault.save_progress(state)

    def _save_mark(self, mark: bytes) -> HostError | None:
        problem = None
        try:
            self._marks.save(mark)
        except HostError as error:
            # Going on is right: only a clock that is set back would need the mark.
            _log.error("%s", error)
            problem = error
        self._engine.mark_saved(mark)
        return problem


def warn_of_slow_clock(mark: bytes) -> None:
    """Say so if the wall clock is behind what an earlier run has used."""
    seconds, _ = tai64n.decode(mark)
    behind = seconds - RESERVATION - time.time()
    if behind > 1:
        _log.warning(
            "the clock is %d s behind the last run: set it, or peers may have to "
            "refuse us once that mark is lost",
            behind,
        )
