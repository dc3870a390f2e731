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
import socket
from collections.abc import Callable
from contextlib import ExitStack
from signal import SIGKILL
from typing import Final

from meshnode.codec.lifeline import (
    MAX_MESSAGE_BYTES,
    Begin,
    Direction,
    DropSocket,
    Failed,
    KeepSocket,
    LinkChanged,
    Ready,
    Rebind,
    Rebound,
    SupervisorMessage,
    WantCarrier,
    WantProxy,
    WantTls,
    Worker,
    WorkerStarted,
    decode_from_control,
    encode,
)
from meshnode.dataplane.engines import check_engine
from meshnode.errors import CodecError, HostError
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair
from meshnode.host.clock import boottime
from meshnode.host.filewatch import FileWatch
from meshnode.host.linkwatch import LinkGone
from meshnode.host.notify import notify_ready
from meshnode.host.privileges import require_net_admin
from meshnode.host.rootless import enter_rootless
from meshnode.host.udp import descriptors_of, open_udp_pairs
from meshnode.node.children import (
    CARRIER,
    CONTROL,
    FORWARD,
    PROXY,
    TLS,
    Child,
    close_on_exec,
    end_children,
)
from meshnode.node.daemon import Starter, attach, daemonise
from meshnode.node.launch import Launcher, Settings
from meshnode.node.log import configure_logging
from meshnode.node.loop import PollLoop
from meshnode.node.resources import Opening, Resources
from meshnode.node.signals import ending_signals
from meshnode.node.tasks import NO_DESCRIPTOR

START_TIMEOUT: Final = 50.0
"""Seconds within which all processes must be ready."""

_LIFELINE_BYTES: Final = 2**18
_log = logging.getLogger("meshnode.node")


def run_interface(
    name: str,
    *,
    foreground: bool,
    settings: Settings,
    opening: Opening,
) -> int:
    """Run the interface *name* until it is told to end.

    Unless *foreground*, the caller's process returns as soon as a daemon is ready,
    and a daemon returns from here at its end. The exit code is returned.

    Raises:
        HostError: naming what is in the way; nothing was changed.
        ConfigError: if there is no such engine, or it cannot have so many workers.
    """
    if opening.rootless is None:
        require_net_admin()
    check_engine(settings.engine, opening.workers)
    configure_logging(name, settings.log_level)
    if foreground:
        _supervise(name, settings, opening, notify_ready)
        return 0
    starter = daemonise()
    if starter is None:
        return 0
    return _run_daemon(name, settings, opening, starter)


def run_attached(name: str, *, settings: Settings, opening: Opening) -> None:
    """Run the interface *name* in a process that ends with ours; return when it serves.

    Raises:
        HostError: what the other process reported of its start.
        ConfigError: if there is no such engine, or it cannot have so many workers.
    """
    check_engine(settings.engine, opening.workers)
    starter = attach()
    if starter is not None:
        configure_logging(name, settings.log_level)
        os._exit(_run_daemon(name, settings, opening, starter))


def _run_daemon(
    name: str, settings: Settings, opening: Opening, starter: Starter
) -> int:
    try:
        _supervise(name, settings, opening, starter.ready)
    except Exception as error:  # whatever it is, the parent must hear of it
        starter.failed(error)
        return 1
    return 0


def _supervise(
    name: str, settings: Settings, opening: Opening, on_ready: Callable[[], None]
) -> None:
    close_on_exec()
    namespace_fd = NO_DESCRIPTOR if opening.rootless is None else enter_rootless()
    with ending_signals() as signals, ExitStack() as stack:
        resources = Resources.open(
            name, settings.directories, opening, settings.offloads, namespace_fd
        )
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
        self._on_ready = on_ready
        self._is_ready = False
        self._ending = ""
        self._failure: HostError | None = None
        self._generations = dict.fromkeys(resources.programs, 0)
        self._lifeline: socket.socket | None = None
        self._loop = PollLoop()
        self._launcher = Launcher(resources, settings)
        self._link = resources.watch_link()
        self._socket_file = FileWatch(resources.uapi_path)
        self._control = Child(CONTROL, self._start_control)
        # Few nodes ever need it: it starts when control or a client asks for it.
        self._tls = Child(TLS, self._launcher.tls, is_wanted=False)
        self._proxy = Child(PROXY, self._launcher.proxy, is_wanted=False)
        self._carrier = Child(CARRIER, self._launcher.carrier, is_wanted=False)
        # Workers first, so that control finds them started when it begins.
        workers = [Child(one.name, self._starter_of(one)) for one in resources.programs]
        # Without them a node carries packets all the same.
        self._helpers = [self._tls, self._proxy, self._carrier]
        self._children = [*workers, self._control, *self._helpers]
        if resources.forwards:
            self._children.append(Child(FORWARD, self._launcher.forward))

    def run(self, signals: socket.socket) -> None:
        """Go on until there is a reason to end; children are gone afterwards.

        Raises:
            HostError: if the node could not be started.
        """
        self._loop.listen(signals.fileno(), lambda: self._end("asked to"))
        self._loop.listen(self._link.fileno(), self._follow_link)
        self._loop.listen(self._socket_file.fileno(), self._check_socket_file)
        for listener in self._resources.listeners:
            self._loop.listen(listener.fileno(), self._want_tls)
        give_up_at = boottime() + START_TIMEOUT
        try:
            while not self._ending:
                self._start_due_children()
                self._loop.wait(self._next_moment(give_up_at))
                if not self._is_ready and boottime() > give_up_at:
                    raise HostError(f"the node was not ready in {START_TIMEOUT:g} s")
        finally:
            end_children(self._children)
        _log.info("ended: %s", self._ending)

    def close(self) -> None:
        """Close what is the supervisor's own."""
        self._link.close()
        self._socket_file.close()
        if self._lifeline is not None:
            self._lifeline.close()

    def _next_moment(self, give_up_at: float) -> float | None:
        moments = [c.start_at for c in self._children if c.start_at is not None]
        if not self._is_ready:
            moments.append(give_up_at)
        return min(moments, default=None)

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

    def _want_tls(self) -> None:
        """Somebody comes, or is to be dialled, by TLS."""
        for listener in self._resources.listeners:
            self._loop.ignore(listener.fileno())
        self._tls.want()

    # --- children ---

    def _start_due_children(self) -> None:
        now = boottime()
        for child in self._children:
            if not child.is_running and child.is_due(now):
                child.start(now=now)
                if child.is_running:
                    self._loop.listen(child.fileno(), lambda c=child: self._collect(c))

    def _collect(self, child: Child) -> None:
        self._loop.ignore(child.fileno())
        reason = child.collect(now=boottime())
        if child is self._control:
            self._hear_control()
            self._close_lifeline()
        # Workers end by themselves with the interface; that is no failure.
        self._follow_link()
        if self._ending:
            return
        if not self._is_ready and child not in self._helpers:
            raise self._failure or HostError(
                f"{child.name} ended while the node started ({reason}): run it with "
                "--foreground --log-level debug to see why"
            )
        _log.error("%s ended: %s; it is started again", child.name, reason)

    def _starter_of(self, worker: Worker) -> Callable[[], int]:
        return lambda: self._start_worker(worker)

    def _start_worker(self, worker: Worker) -> int:
        generation = self._generations[worker] + 1
        pid = self._launcher.worker(worker, generation)
        self._generations[worker] = generation
        self._tell(WorkerStarted(worker, generation))
        return pid

    def _start_control(self) -> int:
        # A link of its own: no process hears what was meant for the one before.
        ours, theirs = seqpacket_pair(buffer_bytes=_LIFELINE_BYTES)
        with theirs:
            pid = self._launcher.control(theirs.fileno())
        self._lifeline = ours
        self._loop.listen(ours.fileno(), self._hear_control)
        state = self._link.state
        self._tell(
            Begin(
                egress_generations=self._generations_of(Direction.EGRESS),
                ingress_generations=self._generations_of(Direction.INGRESS),
                mtu=state.mtu,
                up=state.up,
            )
        )
        return pid

    def _generations_of(self, direction: Direction) -> tuple[int, ...]:
        generations = self._generations.items()
        return tuple([g for worker, g in generations if worker.direction is direction])

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
            self._loop.ignore(self._lifeline.fileno())
            self._lifeline.close()
            self._lifeline = None

    def _hear_control(self) -> None:
        if self._lifeline is None:
            return
        try:
            received = recv_with_fds(
                self._lifeline, max_bytes=MAX_MESSAGE_BYTES, max_fds=1
            )
        except HostError:
            received = b"", []
        if received is None:
            return
        if not received[0]:
            self._close_lifeline()  # it is dead or dying: its pidfd tells how
            return
        try:
            message = decode_from_control(received[0])
        except CodecError as error:
            _log.error("control sent nonsense and is killed: %s", error)
            self._control.signal(SIGKILL)
            message = None
        # Ours from now on, whatever it came with.
        descriptors = received[1]
        if isinstance(message, KeepSocket) and descriptors:
            self._resources.keep_beside(message.port, descriptors.pop())
        for descriptor in descriptors:
            os.close(descriptor)
        match message:
            case Ready():
                self._become_ready()
            case Rebind():
                self._rebind(message)
            case DropSocket(port):
                self._resources.drop_beside(port)
            case WantTls():
                self._want_tls()
            case WantProxy():
                self._proxy.want()
            case WantCarrier():
                self._carrier.want()
            case Failed(code, text):
                self._failure = HostError(text)
                self._failure.exit_code = code

    def _become_ready(self) -> None:
        if not self._is_ready:
            self._is_ready = True
            _log.info("ready")
            self._on_ready()

    def _rebind(self, request: Rebind) -> None:
        """Open the new port first: if it cannot be had, nothing changes."""
        count = len(self._resources.udp)
        try:
            pairs = open_udp_pairs(count, request.port, fwmark=request.fwmark)
        except HostError as error:
            self._tell(Rebound(error.errno))
            return
        self._resources.replace_udp(pairs)
        self._tell(Rebound(0), tuple(descriptors_of(pairs)))
