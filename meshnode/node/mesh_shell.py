"""The mesh of one network inside the control process: around a `MeshNode`.

Theory of operation. The node is fed by callbacks of the driver, so each of its steps
is part of a step of the engine; what it decided is carried out in the order of
docs/mesh.md: kept on disk, then given to the workers, then sent, then done to the
host. Only the last takes time, and is done in a thread, one plan after the other.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Final

import trio

from meshnode.codec.message_bytes import decode_message
from meshnode.crypto.keys import PublicKey
from meshnode.errors import BadPacket, CodecError, HostError
from meshnode.host.addresses import AddressWatch, local_addresses
from meshnode.host.clock import BootTimer, boottime
from meshnode.host.plan import Planner
from meshnode.hostplan import HostPlan
from meshnode.manage.state import StateStore
from meshnode.manage.state_schema import place_of
from meshnode.mesh.describe import describe_event
from meshnode.mesh.engine_tunnels import EngineTunnels
from meshnode.mesh.events import HealthChanged, MeshEvent
from meshnode.mesh.node import MeshNode
from meshnode.mesh.pings import Answer
from meshnode.mesh.ports import (
    DropInvite,
    KeepInvite,
    KeepIssued,
    StateChange,
)
from meshnode.node.driver import Driver
from meshnode.node.peer_tasks import PeerTasks
from meshnode.node.search_sockets import SearchSocketSet
from meshnode.types import Datagram, Endpoint, Path
from meshnode.wireguard import events
from meshnode.wireguard.config import DeviceChange, PeerChange
from meshnode.wireguard.engine import Engine

_LEDGER: Final = (KeepIssued, KeepInvite, DropInvite)
"""What must be on disk before anybody hears of it, or two could have the same."""

_SETTLE: Final = 0.2
"""Seconds to let addresses and routes of the host come to rest."""

PLAN_TIMEOUT: Final = 10.0
"""Seconds a command waits for the host to become what it asked for."""

PLAN_RETRY: Final = 5.0
"""Seconds until a plan that the host refused is tried again."""

PLAN_ATTEMPTS: Final = 3
"""Times the first plan is tried before the node gives up."""

_log = logging.getLogger("meshnode.node")

Watcher = Callable[[MeshEvent], None]


class MeshShell:
    """Drives *node* over *engine*; the driver calls back into it.

    `sockets` are those beside the node's own that it searches with.

    Args:
        node: the node, not started yet.
        tunnels: that of the node, over *engine*.
        engine: the WireGuard engine of the interface.
        store: keeps what must outlive us.
        planner: makes the host what the node wants.
        interface: the overlay's interface.
        fwmark: of our outer packets.
    """

    def __init__(
        self,
        node: MeshNode,
        *,
        tunnels: EngineTunnels,
        engine: Engine,
        store: StateStore,
        planner: Planner,
        interface: str,
        fwmark: int,
    ) -> None:
        self.node = node
        self.is_ready = False
        self._tunnels = tunnels
        self._engine = engine
        self._store = store
        self._planner = planner
        self._interface = interface
        self._fwmark = fwmark
        self.sockets = SearchSocketSet(fwmark)
        self._timer = BootTimer()
        self._armed: float | None = None
        self._driver: Driver | None = None
        self._unsaved: dict[tuple[int, bytes], StateChange] = {}
        self._unkept: HostError | None = None
        self._plan: HostPlan | None = None
        self._applied: HostPlan | None = None
        self._plan_waits = trio.Event()
        self._plans_done = trio.Event()
        self._plans_done.set()
        self._watchers: dict[int, Watcher] = {}
        self._watcher_number = 0
        self._peers = PeerTasks(self._handle_frame)
        self._answers: dict[int, Callable[[Answer], None]] = {}
        self._port = 0
        self._on_settled: Callable[[], None] = lambda: None
        self._wireguard_peers: list[PublicKey] = []

    # --- the driver's callbacks ---

    def handle_event(self, event: events.Event) -> None:
        """Take an event of the engine."""
        now, wall, node = boottime(), time.time(), self.node
        match event:
            case events.ControlFrame(_, public_key):
                self._peers.put(public_key.raw, event)
            case events.PeerHeard(_, public_key, path):
                node.peer_heard(public_key.raw, path, now=now, wall=wall)
            case events.PathChanged(_, public_key):
                node.path_changed(public_key.raw, now=now, wall=wall)
            case events.DeviceUp():
                node.device_up(now=now, wall=wall)
            case events.EndpointWanted(_, public_key):
                node.endpoint_wanted(public_key.raw, now=now, wall=wall)
            case events.HandshakeBegun(_, public_key, _):
                node.handshake_begun(public_key.raw, now=now, wall=wall)
            case events.HandshakeCompleted(_, public_key, _):
                self._tunnels.flush(now=now)
                node.session_started(public_key.raw, now=now, wall=wall)
            case events.HandshakeGivenUp(_, public_key):
                node.handshake_given_up(public_key.raw, now=now, wall=wall)
            case events.PeerTrafficResumed(_, public_key):
                node.traffic_resumed(public_key.raw, now=now, wall=wall)

    def _handle_frame(self, key: bytes, event: events.ControlFrame) -> None:
        """Take a control frame, in the task of its peer."""
        try:
            message = decode_message(event.frame, event.cut)
        except CodecError as error:
            _log.debug("a control frame of %s: %s", PublicKey(key), error)
            return
        now = boottime()
        self._tunnels.flush(now=now)
        self.node.receive_message(
            key, message, path=event.path, now=now, wall=time.time()
        )
        self._settle()

    def receive_introduction(self, data: bytes, path: Path) -> None:
        """Take a type 7 datagram."""
        now = boottime()
        try:
            self.node.receive_introduction(data, now=now, wall=time.time())
        except BadPacket as bad:
            _log.debug("an introduction from %s: %s", path.remote, bad)
        # The handshake it announces may be right behind it.
        self._tunnels.flush(now=now)

    def take_received(self) -> list[Datagram]:
        """Return the datagrams that came along with frames, to be received next."""
        outbox = self.node.outbox
        received, outbox.received = outbox.received, []
        return received

    def carry(self, datagram: Datagram) -> Datagram | None:
        """Return what to send in place of a datagram that goes to a channel."""
        return self.node.relays.carry(datagram, now=boottime())

    def receive_probe(self, data: bytes, path: Path) -> None:
        """Take a type 6 datagram."""
        now = boottime()
        try:
            self.node.receive_probe(data, path, now=now, wall=time.time())
        except BadPacket as bad:
            _log.debug("a probe from %s: %s", path.remote, bad)
        self._tunnels.flush(now=now)

    def carry_out(self) -> list[Datagram]:
        """Carry out what the node decided; return what is to be sent first."""
        now = boottime()
        outbox = self.node.outbox
        self._tunnels.flush(now=now)
        changes, outbox.changes = outbox.changes, []
        self._keep(changes)
        for order in self.node.sockets.take_orders():
            ports = self.sockets.obey(order)
            if ports is not None:
                self.node.sockets_opened(ports, now=now, wall=time.time())
        datagrams, outbox.datagrams = outbox.datagrams, []
        while outbox.events:
            self._tell(outbox.events.popleft())
        for answer in self.node.pings.answers():
            take = self._answers.pop(answer.number, None)
            if take is not None:
                take(answer)
        plan = self.node.plan_to_apply()
        if plan is not None:
            self._plan = plan
            self._ask_for_plan()
        self._arm(now)
        self._on_settled()
        return datagrams

    # --- the beginning and the end ---

    def start(self, driver: Driver) -> None:
        """Begin: the driver has restored the engine, and programs the workers next."""
        self._driver = driver
        now, wall = boottime(), time.time()
        self._port = driver.status().listen_port
        driver.configure(
            DeviceChange(
                private_key=self.node.identity.private_key, fwmark=self._fwmark
            )
        )
        self.node.start(now=now, wall=wall)
        ours = [key.raw for key in self._wireguard_peers]
        self._tunnels.adopt([*self.node.peer_keys(), *ours], now=now)
        self.follow_addresses()
        self._settle()

    def close(self) -> None:
        """Close what is ours."""
        self._timer.close()
        self.sockets.close()
        self._store.close()

    # --- tasks ---

    async def serve_peers(self) -> None:
        """Keep a task tree for each active peer."""
        await self._peers.run()

    async def pump_deadlines(self) -> None:
        """Call the node when something is due."""
        while True:
            await trio.lowlevel.wait_readable(self._timer)
            self._timer.clear()
            self._armed = None
            now = boottime()
            self._tunnels.flush(now=now)
            self.node.handle_deadline(now=now, wall=time.time())
            self._settle()

    async def pump_plans(self, on_ready: Callable[[], None]) -> None:
        """Make the host what the node wants; call *on_ready* after the first plan."""
        if self._plan is None:
            self.is_ready = True
            on_ready()  # we are no member now; that is said in `status`
        failures = 0
        while True:
            with trio.move_on_after(PLAN_RETRY if failures else math.inf):
                await self._plan_waits.wait()
            self._plan_waits = trio.Event()
            plan = self._plan
            problem = None if plan is None else await self._apply(plan)
            failures = failures + 1 if problem else 0
            if not self._plan_waits.is_set():
                self._plans_done.set()
            if self.is_ready:
                continue
            if problem is None:
                self.is_ready = True
                on_ready()
            elif failures == PLAN_ATTEMPTS:
                raise problem  # nobody shall think that the address is there

    async def watch_addresses(self, on_moved: Callable[[], None]) -> None:
        """Follow the host's addresses, and look at its routes again when they move.

        *on_moved* is called then too: there may be other links and routers.
        """
        watch = AddressWatch()
        try:
            while True:
                await trio.lowlevel.wait_readable(watch)
                await trio.sleep(_SETTLE)
                watch.clear()
                self.follow_addresses()
                on_moved()
                self._settle()
                if self._plan is not None:
                    # Another route of the host may stand in the way, or no longer.
                    self._ask_for_plan()
        finally:
            watch.close()

    # --- for the API ---

    def set_wireguard_peers(self, peers: Iterable[PeerChange]) -> None:
        """Let exactly these be the peers that were configured by hand.

        Before `start` they are only noted, lest it parts with those of an earlier
        control process. A peer that is a member by now is the mesh's.
        """
        changes = {change.public_key: change for change in peers}
        ours = frozenset(self.node.peer_keys())
        gone = [
            PeerChange(key, remove=True)
            for key in self._wireguard_peers
            if key not in changes and key.raw not in ours
        ]
        self._wireguard_peers = list(changes)
        wanted = [one for key, one in changes.items() if key.raw not in ours]
        if self._driver is not None and (gone or wanted):
            self._driver.configure(DeviceChange(peers=[*gone, *wanted]))

    def drain(self) -> None:
        """Carry out everything; every change that a user asked for ends with it.

        Raises:
            HostError: if something could not be kept, now or before.
        """
        problem = self._settle() or self._unkept
        if problem is not None:
            raise problem

    def judge_sessions(self) -> None:
        """Let it be known what time it is: which sessions are over depends on it."""
        self._tunnels.flush(now=boottime())

    async def await_plans(self) -> None:
        """Wait until the host is what the node wants, at most `PLAN_TIMEOUT`."""
        with trio.move_on_after(PLAN_TIMEOUT):
            while self._plan_waits.is_set() or not self._plans_done.is_set():
                await self._plans_done.wait()
                await trio.lowlevel.checkpoint()

    def watch(self, watcher: Watcher) -> int:
        """Call *watcher* with every event from now on; return its number."""
        self._watcher_number += 1
        self._watchers[self._watcher_number] = watcher
        return self._watcher_number

    def unwatch(self, number: int) -> None:
        """Stop calling the watcher with this number."""
        self._watchers.pop(number, None)

    def ping(
        self, key: bytes, *, timeout: float, on_answer: Callable[[Answer], None]
    ) -> None:
        """Ask the member with *key*; *on_answer* is called once."""
        number = self.node.pings.ask(key, timeout=timeout, now=boottime())
        self._answers[number] = on_answer
        self._settle()

    # --- the steps ---

    def follow_addresses(self) -> None:
        """Tell the node the host's own addresses."""
        try:
            hosts = local_addresses(without=(self._interface,))
        except OSError as error:
            _log.warning("cannot list the host's addresses: %s", error)
            return
        local = tuple(Endpoint(host, self._port) for host in hosts)
        self.node.set_addresses(local, now=boottime(), wall=time.time())

    def follow_mapped(self, mapped: tuple[Endpoint, ...]) -> None:
        """Tell the node where routers forward our port from."""
        self.node.set_mapped(mapped, now=boottime(), wall=time.time())
        self._settle()

    def follow_near(self, key: bytes, endpoints: tuple[Endpoint, ...]) -> None:
        """Tell the node where a member was heard on a link of ours."""
        now = boottime()
        self._tunnels.flush(now=now)
        self.node.set_near(key, endpoints, now=now, wall=time.time())
        self._settle()

    def follow_detour(self, key: bytes, endpoint: Endpoint | None) -> None:
        """Tell the node behind which local endpoint TLS reaches a member, if any."""
        now = boottime()
        self._tunnels.flush(now=now)
        self.node.set_detour(key, endpoint, now=now, wall=time.time())
        self._settle()

    def call_when_settled(self, on_settled: Callable[[], None]) -> None:
        """Call *on_settled* after each step; it must only look."""
        self._on_settled = on_settled

    def _ask_for_plan(self) -> None:
        self._plan_waits.set()
        if self._plans_done.is_set():
            # Otherwise somebody may wait for the one there is.
            self._plans_done = trio.Event()

    async def _apply(self, plan: HostPlan) -> HostError | None:
        """Carry out *plan*; return why that was not possible."""
        endpoints = self._underlay()
        try:
            conflicts = await trio.to_thread.run_sync(
                lambda: self._planner.apply(plan, endpoints=endpoints)
            )
        except HostError as error:
            _log.error("%s", error)
            self.complain("host", str(error))
            return error
        self._applied = plan
        text = "; ".join(conflict.text for conflict in conflicts)
        self.complain("host", text)
        return None

    @property
    def is_tunnel_as_wanted(self) -> bool:
        """Whether the last plan is carried out, with what is wanted of a full tunnel.

        There is no plan while we are no member.
        """
        done = None if self._applied is None else self._applied.full_tunnel
        wanted = self.node.roads.settings.full_tunnel
        return self._plan == self._applied and done == wanted

    def _underlay(self) -> frozenset[str]:
        peers = [self._tunnels.path_of(key) for key in self.node.peer_keys()]
        return frozenset(path.host for path in peers if path is not None)

    def complain(self, subject: str, text: str) -> None:
        """Let *text* be what is wrong with *subject*; "" for nothing."""
        self.node.tell_health(subject, text, now=boottime())
        self._settle()

    def _settle(self) -> HostError | None:
        """Carry out everything; what cannot be kept is said, and no reason to end."""
        return None if self._driver is None else self._driver.drain()

    def _keep(self, changes: list[StateChange]) -> None:
        for change in changes:
            # What was said before of the same thing is of no interest any more.
            place = place_of(change)
            self._unsaved.pop(place, None)
            self._unsaved[place] = change
        if not self._unsaved:
            return
        try:
            self._store.apply(list(self._unsaved.values()))
        except HostError as error:
            self._unkept = error
            if any(isinstance(change, _LEDGER) for change in self._unsaved.values()):
                raise  # nobody may be told what could be forgotten
            self.node.tell_health("state", str(error), now=boottime())
            return
        self._unkept = None
        self._unsaved = {}
        self.node.tell_health("state", self._store.notice, now=boottime())

    def _tell(self, event: MeshEvent) -> None:
        is_bad = isinstance(event, HealthChanged) and event.text
        level = logging.WARNING if is_bad else logging.INFO
        name, *facts = describe_event(event).values()
        _log.log(level, "%s %s", name, " ".join(map(str, facts)))
        for watcher in list(self._watchers.values()):
            watcher(event)

    def _arm(self, now: float) -> None:
        deadline = self.node.next_deadline(now=now, wall=time.time())
        at = None if deadline is None else max(deadline.at, 0.0)
        if at != self._armed:
            self._armed = at
            self._timer.set(at)
