"""The supervisor of one interface: keeps descriptors, starts processes, cleans up.

It decides little and imports little, because everything else depends on its staying
alive: no Trio, no netlink library, no packets. One poll loop waits for the ends of its
children (pidfds), for control's requests, for the interface, for the socket file of the
userspace API, and for signals.

What ends it: SIGTERM or SIGINT, or that the interface or the socket file was removed.
Should it be killed, its children end by themselves, and control cleans up.
"""

import logging
import os
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Final

from meshnode.codec.forwarding import CodecError
from meshnode.codec.lifeline import (
    MAX_MESSAGE_BYTES,
    Begin,
    LinkChanged,
    Ready,
    Rebind,
    Rebound,
    SupervisorMessage,
    Worker,
    WorkerStarted,
    decode_from_control,
    encode,
)
from meshnode.dataplane.interface import open_engine
from meshnode.errors import HostError
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair
from meshnode.host.clock import boottime
from meshnode.host.filewatch import FileWatch
from meshnode.host.linkwatch import LinkGone, LinkWatch
from meshnode.host.privileges import require_net_admin
from meshnode.host.tun import Offload
from meshnode.host.udp import open_udp_pair
from meshnode.node.children import Child, close_on_exec, spawn
from meshnode.node.daemon import Starter, daemonise
from meshnode.node.log import configure_logging
from meshnode.node.resources import Resources
from meshnode.node.signals import ending_signals
from meshnode.node.tasks import NO_DESCRIPTOR, ControlTask, WorkerTask

START_TIMEOUT: Final = 30.0
"""Seconds within which all processes must be ready."""

END_GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL for a child."""

_LIFELINE_BYTES: Final = 2**18
_log = logging.getLogger("meshnode.node")


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for on the command line."""

    engine: str
    log_level: str
    state_dir: Path


def run_interface(
    name: str,
    *,
    foreground: bool,
    engine: str,
    log_level: str,
    state_dir: Path,
    run_dir: Path,
) -> int:
    """Run the WireGuard interface *name* until it is told to end.

    Unless *foreground*, the caller's process returns as soon as a daemon is ready,
    and a daemon returns from here at its end. The exit code is returned.

    Raises:
        HostError: naming what is in the way; nothing was changed.
        ConfigError: if there is no such engine.
    """
    require_net_admin()
    if engine != "reference":  # the one that is always there needs no import here
        open_engine(engine)
    settings = Settings(engine, log_level, state_dir.absolute())
    configure_logging(name, log_level)
    if foreground:
        _supervise(name, run_dir.absolute(), settings, _no_report)
        return 0
    run_dir = run_dir.absolute()
    starter = daemonise()
    return 0 if starter is None else _run_daemon(name, run_dir, settings, starter)


def _no_report() -> None:
    """Nobody waits for a node in the foreground."""


def _run_daemon(name: str, run_dir: Path, settings: Settings, starter: Starter) -> int:
    try:
        _supervise(name, run_dir, settings, starter.ready)
    except Exception as error:  # whatever it is, the parent must hear of it
        starter.failed(error)
        _log.error("ended: %r", error)
        return 1
    return 0


def _supervise(
    name: str, run_dir: Path, settings: Settings, on_ready: Callable[[], None]
) -> None:
    close_on_exec()
    with ending_signals() as signals, ExitStack() as stack:
        resources = Resources.open(name, run_dir=run_dir)
        stack.callback(resources.close)
        supervisor = Supervisor(resources, settings, on_ready)
        stack.callback(supervisor.close)
        supervisor.run(signals)


class Supervisor:
    """The poll loop over the processes of one interface.

    Args:
        resources: what the processes share; stays the caller's.
        settings: what they are told.
        on_ready: called once, when all of them serve.
    """

    def __init__(
        self,
        resources: Resources,
        settings: Settings,
        on_ready: Callable[[], None],
    ) -> None:
        self._resources = resources
        self._settings = settings
        self._on_ready = on_ready
        self._is_ready = False
        self._ending = ""
        self._generations = dict.fromkeys(Worker, 0)
        self._lifeline: socket.socket | None = None
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._link = LinkWatch(resources.tun.fds[0])
        self._socket_file = FileWatch(resources.uapi_path)
        self._control = Child(None, self._start_control)
        # Workers first, so that control finds them started when it begins.
        workers = [Child(worker, self._starter_of(worker)) for worker in Worker]
        self._children = [*workers, self._control]

    def run(self, signals: socket.socket) -> None:
        """Go on until there is a reason to end; children are gone afterwards.

        Raises:
            HostError: if the node could not be started.
        """
        self._listen(signals.fileno(), lambda: self._end("asked to"))
        self._listen(self._link.fileno(), self._follow_link)
        self._listen(self._socket_file.fileno(), self._check_socket_file)
        give_up_at = boottime() + START_TIMEOUT
        try:
            while not self._ending:
                self._start_due_children()
                self._wait(give_up_at)
                if not self._is_ready and boottime() > give_up_at:
                    raise HostError(f"the node was not ready in {START_TIMEOUT:g} s")
        finally:
            self._end_children()
        _log.info("ended: %s", self._ending)

    def close(self) -> None:
        """Close what is the supervisor's own."""
        self._link.close()
        self._socket_file.close()
        if self._lifeline is not None:
            self._lifeline.close()

    # --- waiting ---

    def _listen(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.POLLIN)

    def _ignore(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _wait(self, give_up_at: float) -> None:
        moments = [c.start_at for c in self._children if c.start_at is not None]
        if not self._is_ready:
            moments.append(give_up_at)
        timeout = None
        if moments:
            timeout = max(0.0, min(moments) - boottime()) * 1000 + 1
        for descriptor, _ in self._poll.poll(timeout):
            handler = self._handlers.get(descriptor)
            if handler is not None:  # an earlier one may have closed it
                handler()

    def _end(self, reason: str) -> None:
        self._ending = self._ending or reason

    # --- what is watched ---

    def _follow_link(self) -> None:
        try:
            events = self._link.events()
        except HostError as error:
            _log.warning("%s", error)
            return
        for event in events:
            if isinstance(event, LinkGone):
                self._end("the interface was deleted")
            else:
                self._tell(LinkChanged(event.mtu, event.up))

    def _check_socket_file(self) -> None:
        if self._socket_file.is_gone():
            self._end("the socket of the userspace API was removed")

    # --- children ---

    def _start_due_children(self) -> None:
        now = boottime()
        for child in self._children:
            if not child.is_running and child.is_due(now):
                child.start(now=now)
                if child.is_running:
                    self._listen(child.fileno(), lambda c=child: self._collect(c))

    def _collect(self, child: Child) -> None:
        self._ignore(child.fileno())
        reason = child.collect(now=boottime())
        if child is self._control:
            self._close_lifeline()
        # Workers end by themselves with the interface; that is no failure.
        self._follow_link()
        if self._ending:
            return
        if not self._is_ready:
            raise HostError(
                f"{child.name} ended while the node started ({reason}): run it with "
                "--foreground --log-level debug to see why"
            )
        _log.error("%s ended: %s; it is started again", child.name, reason)

    def _starter_of(self, worker: Worker) -> Callable[[], int]:
        return lambda: self._start_worker(worker)

    def _start_worker(self, worker: Worker) -> int:
        resources = self._resources
        generation = self._generations[worker] + 1
        handshakes = NO_DESCRIPTOR
        if worker is Worker.INGRESS:
            handshakes = resources.handshakes.worker.fileno()
        v6 = resources.udp.v6
        pid = spawn(
            WorkerTask(
                worker=worker,
                interface=resources.name,
                engine=self._settings.engine,
                log_level=self._settings.log_level,
                parent=os.getpid(),
                generation=generation,
                udp_offload=int(Offload.USO4 in resources.tun.offload),
                tun_fd=resources.tun.fds[0],
                udp4_fd=resources.udp.v4.fileno(),
                udp6_fd=NO_DESCRIPTOR if v6 is None else v6.fileno(),
                program_fd=resources.programs[worker].worker.fileno(),
                handshakes_fd=handshakes,
                traffic_fd=resources.traffic_fd,
                counters_fd=resources.counters_fd,
            )
        )
        self._generations[worker] = generation
        self._tell(WorkerStarted(worker, generation))
        return pid

    def _start_control(self) -> int:
        resources = self._resources
        # A link of its own: no process hears what was meant for the one before.
        ours, theirs = seqpacket_pair(buffer_bytes=_LIFELINE_BYTES)
        v6 = resources.udp.v6
        with theirs:
            pid = spawn(
                ControlTask(
                    interface=resources.name,
                    log_level=self._settings.log_level,
                    parent=os.getpid(),
                    state_dir=self._settings.state_dir,
                    journal_path=resources.journal.path,
                    journal_fd=resources.journal.fileno(),
                    lifeline_fd=theirs.fileno(),
                    egress_fd=resources.programs[Worker.EGRESS].control.fileno(),
                    ingress_fd=resources.programs[Worker.INGRESS].control.fileno(),
                    handshakes_fd=resources.handshakes.control.fileno(),
                    traffic_fd=resources.traffic_fd,
                    vault_fd=resources.vault_fd,
                    uapi_fd=resources.uapi.fileno(),
                    udp4_fd=resources.udp.v4.fileno(),
                    udp6_fd=NO_DESCRIPTOR if v6 is None else v6.fileno(),
                )
            )
        self._lifeline = ours
        self._listen(ours.fileno(), self._hear_control)
        state = self._link.state
        self._tell(
            Begin(
                egress_generation=self._generations[Worker.EGRESS],
                ingress_generation=self._generations[Worker.INGRESS],
                mtu=state.mtu,
                up=state.up,
            )
        )
        return pid

    def _end_children(self) -> None:
        running = [child for child in self._children if child.is_running]
        for child in running:
            child.signal(SIGTERM)
        poll = select.poll()
        for child in running:
            poll.register(child.fileno(), select.POLLIN)
        give_up_at = boottime() + END_GRACE
        while running and boottime() < give_up_at:
            ended = {fd for fd, _ in poll.poll(50)}
            for child in [c for c in running if c.fileno() in ended]:
                poll.unregister(child.fileno())
                child.collect(now=boottime())
                running.remove(child)
        for child in running:
            _log.warning("%s does not end: killed", child.name)
            child.signal(SIGKILL)
            child.collect(now=boottime())

    # --- the lifeline ---

    def _tell(self, message: SupervisorMessage, fds: tuple[int, ...] = ()) -> None:
        if self._lifeline is None:
            return  # the next control is told everything at its start
        try:
            sent = send_with_fds(self._lifeline, encode(message), fds)
        except HostError:
            return  # control died; its pidfd says so next
        if not sent:
            _log.error("control does not listen: it is killed")
            self._control.signal(SIGKILL)

    def _close_lifeline(self) -> None:
        if self._lifeline is not None:
            self._ignore(self._lifeline.fileno())
            self._lifeline.close()
            self._lifeline = None

    def _hear_control(self) -> None:
        if self._lifeline is None:
            return
        try:
            received = recv_with_fds(self._lifeline, max_bytes=MAX_MESSAGE_BYTES)
            if received is None:
                return
            if not received[0]:
                self._close_lifeline()
                return
            message = decode_from_control(received[0])
        except (HostError, CodecError) as error:
            _log.error("control sent nonsense: %s", error)
            return
        match message:
            case Ready():
                self._become_ready()
            case Rebind():
                self._rebind(message)

    def _become_ready(self) -> None:
        if not self._is_ready:
            self._is_ready = True
            _log.info("ready")
            self._on_ready()

    def _rebind(self, request: Rebind) -> None:
        """Open the new port first: if it cannot be had, nothing changes."""
        try:
            pair = open_udp_pair(request.port, fwmark=request.fwmark)
        except HostError as error:
            self._tell(Rebound(error.errno))
            return
        self._resources.replace_udp(pair)
        fds = tuple(one.fileno() for one in pair.sockets())
        self._tell(Rebound(0), fds)
