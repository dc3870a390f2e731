"""The control process: a Trio shell around the engine.

Theory of operation. First the state that an earlier control process left is taken
from the vault, and every worker is asked which sessions it holds; they are adopted,
and traffic never notices. Then tasks bring input to the driver, one a source, and
everything is decided inside its synchronous calls. Should one of them fail, the whole
process ends and another takes over: a device half-changed is worse than a moment
without control.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from meshnode.codec.lifeline import Begin, workers_of
from meshnode.codec.tap import ring_of, tap_bytes
from meshnode.dataplane.shared_sessions import SESSIONS_BYTES, PlaceBook
from meshnode.dataplane.tap import RingTap
from meshnode.dataplane.traffic import ControlView, TrafficTable, table_bytes
from meshnode.errors import HostError
from meshnode.host.clock import BootTimer, boottime
from meshnode.host.journal import Journal
from meshnode.host.memory import map_shared
from meshnode.host.udp import adopt_pairs
from meshnode.manage.uapi_server import serve_uapi
from meshnode.node.control_lifeline import ControlLifeline, SupervisorGoneError
from meshnode.node.driver import Driver
from meshnode.node.fleet import Fleet, open_book
from meshnode.node.managed_device import ManagedDevice, MeshDevice
from meshnode.node.marks import TimestampMarks
from meshnode.node.outlet import Outlet
from meshnode.node.program_link import ProgramLink
from meshnode.node.pumps import (
    pump_deadlines,
    pump_handshakes,
    pump_lifeline,
    pump_reports,
)
from meshnode.node.shared import VAULT_BYTES, counters_bytes
from meshnode.node.takeover import take_over
from meshnode.node.tasks import NO_DESCRIPTOR, ControlTask
from meshnode.node.vault import Vault
from meshnode.wireguard.engine import Engine

if TYPE_CHECKING:
    from meshnode.node.mesh_control import MeshControl
    from meshnode.node.search_sockets import SearchSocketSet

_PARENT_TIMEOUT: Final = 2.0
_log = logging.getLogger("meshnode.node")


def run_control(
    task: ControlTask, mesh_kind: "Callable[..., MeshControl] | None" = None
) -> int:
    """Be the control process until the supervisor ends it; return an exit code.

    A bare interface needs no *mesh_kind*, nor the time that its import takes.
    If the supervisor died, the socket file of the userspace API is removed and what
    else is in the journal undone.
    """
    # Outside of Trio's care the signal must not cut the cleaning up short.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = Control(task, mesh_kind)
    has_ended = False
    try:
        trio.run(control.run)
    except* SupervisorGoneError:
        has_ended = True
    finally:
        control.close()
        if has_ended or os.getppid() != task.parent:
            _clean_up(task)
    return 0


class Control:
    """Everything of a control process, made from the descriptors of its task."""

    def __init__(
        self,
        task: ControlTask,
        mesh_kind: "Callable[..., MeshControl] | None" = None,
    ) -> None:
        self._uapi = socket.socket(fileno=task.uapi_fd)
        self._handshakes = socket.socket(fileno=task.handshakes_fd)
        count = len(task.egress_fds)
        lifeline, *channels = [
            socket.socket(fileno=fd)
            for fd in (task.lifeline_fd, *task.egress_fds, *task.ingress_fds)
        ]
        self._sockets = [self._uapi, self._handshakes, lifeline, *channels]
        self._lifeline = ControlLifeline(lifeline, count)
        links = zip(workers_of(count), map(ProgramLink, channels), strict=True)
        self._fleet = Fleet(dict(links), _places(task))
        tap = memoryview(map_shared(task.tap_fd, tap_bytes(count)))
        self._outlet = Outlet(
            adopt_pairs([*task.udp4_fds, *task.udp6_fds], count),
            RingTap(ring_of(tap, 2 * count)),
        )
        self._timer = BootTimer()
        traffic = TrafficTable(map_shared(task.traffic_fd, table_bytes(count)), count)
        engine = Engine(
            entropy=os.urandom,
            traffic=ControlView(traffic),
            wall_time=time.time(),
            now=boottime(),
        )
        make_driver = partial(
            Driver,
            engine,
            vault=Vault(map_shared(task.vault_fd, VAULT_BYTES)),
            marks=TimestampMarks(task.state_dir),
            outlet=self._outlet,
            workers=self._fleet,
            timer=self._timer,
        )
        self._mesh: MeshControl | None = None
        if mesh_kind is None:
            self._driver = make_driver()
            return
        counters = memoryview(map_shared(task.counters_fd, counters_bytes(count)))
        self._mesh = mesh_kind(task, engine, counters=counters, tap=tap)
        shell = self._mesh.shell
        shell.sockets.adopt(task.beside_fds)
        self._outlet.beside = shell.sockets.by_port
        self._driver = make_driver(
            introductions=shell.receive_introduction,
            probes=shell.receive_probe,
            on_event=shell.handle_event,
            before_sending=shell.carry_out,
            take_received=shell.take_received,
            carry=shell.carry,
        )

    async def run(self) -> None:
        """Serve until SIGTERM; raises `SupervisorGoneError` if the supervisor dies."""
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve)
                await anext(signals)
                nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Close this process's descriptors."""
        if self._mesh is not None:
            self._mesh.close()
        self._outlet.close()
        self._timer.close()
        for one in self._sockets:
            one.close()

    async def _serve(self) -> None:
        driver, lifeline = self._driver, self._lifeline
        begin = await lifeline.receive()
        if not isinstance(begin, Begin):
            raise HostError("the supervisor did not say how things stand")
        async with trio.open_nursery() as nursery:
            for worker, link in self._fleet.links.items():
                reprogram = partial(driver.reprogram, worker)
                nursery.start_soon(link.send_forever, reprogram)
            self._fleet.use_sockets(self._outlet.pairs)
            if self._mesh is not None:
                self._share_sockets(self._mesh.shell.sockets)
            await self._take_over(begin)
            nursery.start_soon(pump_lifeline, driver, lifeline)
            nursery.start_soon(pump_handshakes, driver, self._handshakes)
            nursery.start_soon(pump_deadlines, driver)
            for link in self._fleet.links.values():
                nursery.start_soon(pump_reports, driver, link)
            listener = trio.socket.from_stdlib_socket(self._uapi)
            if self._mesh is None:
                device = ManagedDevice(driver, self._outlet, lifeline, self._fleet)
                nursery.start_soon(serve_uapi, listener, device)
                lifeline.tell_ready()
            else:
                nursery.start_soon(serve_uapi, listener, MeshDevice(driver))
                nursery.start_soon(
                    self._mesh.serve,
                    driver,
                    lifeline.tell_ready,
                    lifeline.want_tls,
                    lifeline.want_proxy,
                    lifeline.want_carrier,
                )

    def _share_sockets(self, sockets: "SearchSocketSet") -> None:
        """Let the workers speak by what a search has won, and have it kept."""
        sockets.on_kept = lambda port, one: self._lifeline.keep_socket(
            port, one.fileno()
        )
        sockets.on_dropped = self._lifeline.drop_socket
        sockets.on_change = self._fleet.use_beside
        if sockets.kept():
            self._fleet.use_beside(sockets.kept())

    async def _take_over(self, begin: Begin) -> None:
        driver = self._driver
        if self._mesh is None:
            await take_over(driver, self._fleet, self._lifeline, begin)
            return
        start = partial(self._mesh.start, driver)
        await take_over(driver, self._fleet, self._lifeline, begin, on_restored=start)


def _places(task: ControlTask) -> PlaceBook | None:
    if task.sessions_fd == NO_DESCRIPTOR:
        return None
    memory = memoryview(map_shared(task.sessions_fd, SESSIONS_BYTES))
    return open_book(memory, workers_of(len(task.egress_fds)))


def _clean_up(task: ControlTask) -> None:
    """Undo what the dead supervisor did to the host."""
    # Its descriptors are closed a moment before it is gone, in any order; only then
    # can it be told that nobody serves the socket file.
    give_up_at = boottime() + _PARENT_TIMEOUT
    while os.getppid() == task.parent:
        if boottime() > give_up_at:
            return  # it lives, and has only let go of us
        time.sleep(0.01)
    _log.warning("the supervisor is gone: cleaning up")
    journal = Journal(task.journal_fd, task.journal_path)
    for line in journal.undo_all():
        _log.info("%s", line)
