"""One child of the supervisor: started, watched by a pidfd, started again.

A child is a fresh interpreter and inherits nothing but the descriptors of its task;
its environment holds no more than a locale. It gets its own process group, so that
Ctrl-C reaches the supervisor alone.
"""

import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Final

from meshnode.errors import HostError
from meshnode.host.clock import boottime
from meshnode.node.backoff import Backoff
from meshnode.node.tasks import (
    AnyTask,
    CarrierTask,
    ControlTask,
    ForwardTask,
    ProxyTask,
    WorkerTask,
    arguments_of,
    descriptors_of,
)

CONTROL: Final = "control"
TLS: Final = "tls"
FORWARD: Final = "forward"
PROXY: Final = "proxy"
CARRIER: Final = "carrier"
"""The roles that are no `Worker`."""

END_GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL for a child."""

_ENVIRONMENT: Final = {"LANG": "C.UTF-8", "PATH": os.defpath}
_PROXY_VARIABLES: Final = ("HTTPS_PROXY", "https_proxy")
"""What control is told besides: it may hold a password, so it is no argument."""

_log = logging.getLogger("meshnode.node")


def close_on_exec() -> None:
    """Let no child inherit descriptors that we were started with by accident."""
    for entry in os.listdir("/proc/self/fd"):
        number = int(entry)
        if number > 2:
            try:
                os.set_inheritable(number, False)
            except OSError:
                continue  # the one of the listing itself


def role_of(task: AnyTask) -> str:
    """Return the name of the role that *task* gives to a process."""
    if isinstance(task, WorkerTask):
        return task.worker.name
    if isinstance(task, ForwardTask):
        return FORWARD
    if isinstance(task, ProxyTask):
        return PROXY
    if isinstance(task, CarrierTask):
        return CARRIER
    return CONTROL if isinstance(task, ControlTask) else TLS


def spawn(task: AnyTask) -> int:
    """Start the process of *task* and return its process id.

    Raises:
        HostError: if there can be no more processes.
    """
    role = role_of(task)
    environment = dict(_ENVIRONMENT)
    if role == CONTROL:
        known = os.environ
        environment |= {key: known[key] for key in _PROXY_VARIABLES if key in known}
    # Isolated: no module comes from a directory or variable of whoever started us.
    command = [sys.executable, "-I", "-m", "meshnode.node.child", role]
    # Duplicating a descriptor onto itself only clears its close-on-exec flag.
    keep = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in descriptors_of(task)]
    quiet = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    try:
        return os.posix_spawn(
            sys.executable,
            [*command, *arguments_of(task)],
            environment,
            file_actions=[quiet, *keep],
            setpgroup=0,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    except OSError as error:
        raise HostError(
            f"cannot start {role}: {error.strerror}", errno=error.errno or 11
        ) from error


class Child:
    """A role, and the process that has it now, if any.

    Args:
        name: that of its role.
        start: starts the process and returns its id; raises `HostError`.
        is_wanted: whether it is needed from the beginning; else `want` says when.
    """

    def __init__(
        self, name: str, start: Callable[[], int], *, is_wanted: bool = True
    ) -> None:
        self.name = name
        self.pid = 0
        self.start_at: float | None = 0.0 if is_wanted else None
        self._is_wanted = is_wanted
        self._start = start
        self._backoff = Backoff()
        self._pidfd = -1

    @property
    def is_running(self) -> bool:
        """Whether the process has not been collected yet."""
        return self._pidfd >= 0

    def fileno(self) -> int:
        """Return the descriptor that is readable when the process has ended."""
        return self._pidfd

    def is_due(self, now: float) -> bool:
        """Whether the process shall be started at *now*."""
        return self.start_at is not None and self.start_at <= now

    def want(self) -> None:
        """Let the process be started, unless that was said before."""
        if not self._is_wanted:
            self._is_wanted = True
            self.start_at = 0.0

    def start(self, *, now: float) -> None:
        """Start the process; if that fails it is tried again later."""
        self._backoff.started(now=now)
        try:
            self.pid = self._start()
            self._pidfd = _open_pidfd(self.pid)
        except (HostError, OSError) as error:
            self.start_at = self._backoff.died(now=now)
            _log.error("%s: %s", self.name, error)
            return
        self.start_at = None
        _log.debug("%s started as process %d", self.name, self.pid)

    def collect(self, *, now: float) -> str:
        """Take note of the end; return its reason, such as "exit code 1"."""
        status = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._pidfd = -1
        self.start_at = self._backoff.died(now=now)
        if status is None:
            return "unknown"
        return describe_end(status.si_code, status.si_status)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process if it runs."""
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, number)


def _open_pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:
        # No descriptor is left: a process nobody watches must not go on.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def describe_end(code: int, status: int) -> str:
    """Say how a process ended, from `si_code` and `si_status` (waitid(2))."""
    if code == os.CLD_EXITED:
        return f"exit code {status}"
    try:
        return f"signal {signal.Signals(status).name}"
    except ValueError:
        return f"signal {status}"


def end_children(children: Iterable[Child]) -> None:
    """Ask all to end, and kill those that have not after `END_GRACE`."""
    running = {child.fileno(): child for child in children if child.is_running}
    poll = select.poll()
    for descriptor, child in running.items():
        child.signal(signal.SIGTERM)
        poll.register(descriptor, select.POLLIN)
    give_up_at = boottime() + END_GRACE
    while running and (left := give_up_at - boottime()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            poll.unregister(descriptor)
            running.pop(descriptor).collect(now=boottime())
    for child in running.values():
        _log.warning("%s does not end: killed", child.name)
        child.signal(signal.SIGKILL)
        child.collect(now=boottime())
