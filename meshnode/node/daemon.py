"""Become a daemon, and let the command that was typed tell how the start went.

The parent waits until the daemon is ready or says what went wrong, so that after it
has returned the interface can be used, or the shell knows that it cannot.
"""

import contextlib
import os
import select
import signal
from typing import Final

from meshnode.errors import HostError, MeshnodeError
from meshnode.host.privileges import die_with_parent

START_TIMEOUT: Final = 60.0
"""Seconds after which a daemon that said nothing is given up."""

_READY: Final = b"ready"
_ERROR: Final = b"error"
_MAX_REPORT: Final = 4096


class Starter:
    """Where the daemon reports how its start went, once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def ready(self) -> None:
        """Everything runs: the parent may return."""
        self._report(_READY)

    def failed(self, error: BaseException) -> None:
        """The start failed; the parent shows *error*. Later ones are for nobody."""
        code = error.exit_code if isinstance(error, MeshnodeError) else 1
        text = str(error)
        if not isinstance(error, MeshnodeError):
            text = f"unexpected {type(error).__name__}: {text}"
        self._report(_ERROR + bytes((code,)) + text.encode()[: _MAX_REPORT - 16])

    def _report(self, report: bytes) -> None:
        if self._descriptor >= 0:
            # If the parent was killed, the daemon is none the worse for it.
            with contextlib.suppress(BrokenPipeError):
                os.write(self._descriptor, report)
            os.close(self._descriptor)
            self._descriptor = -1


def daemonise() -> Starter | None:
    """Fork twice; return None in the parent once the daemon is ready.

    In the daemon a `Starter` is returned, which must be told of success or failure.

    Raises:
        HostError: in the parent: what the daemon reported, with its exit code.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        os.waitpid(child, 0)
        _await_start(reading)
        return None
    os.close(reading)
    os.setsid()
    if os.fork():
        os._exit(0)
    return _leave(writing)


def attach() -> Starter | None:
    """Fork a process that ends with ours; return None in ours once it is ready.

    In the new process a `Starter` is returned, as by `daemonise`. It has a session of
    its own, so that no key of the terminal reaches it.

    Raises:
        HostError: in ours: what the other reported, with its exit code.
    """
    reading, writing = os.pipe()
    parent = os.getpid()
    if os.fork():
        os.close(writing)
        _await_start(reading)
        return None
    os.close(reading)
    os.setsid()
    die_with_parent(parent, signal.SIGTERM)
    return _leave(writing)


def _leave(writing: int) -> Starter:
    """Let go of the terminal and of the directory."""
    os.chdir("/")
    # At once, for the children inherit it too: whoever reads our output to its end
    # must not have to wait for the node's.
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for standard in range(3):
        os.dup2(null, standard)
    os.close(null)
    # A hangup of the terminal is nothing to a daemon.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return Starter(writing)


def _await_start(descriptor: int) -> None:
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        report = b""
        if poll.poll(START_TIMEOUT * 1000):
            report = os.read(descriptor, _MAX_REPORT)
    finally:
        os.close(descriptor)
    if report == _READY:
        return
    if not report.startswith(_ERROR):
        raise HostError(
            "the node ended while it started: run it with --foreground to see why"
        )
    error = HostError(report[len(_ERROR) + 1 :].decode(errors="replace"))
    error.exit_code = report[len(_ERROR)]
    raise error
