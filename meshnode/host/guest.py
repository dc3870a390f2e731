"""Run a command in the network of a rootless node, as its user and for its exit code.

The command gets the network, a file system in which /etc/resolv.conf may be another
one, and our user with no capability. Nothing is written to the disk for it.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from meshnode.errors import HostError
from meshnode.host import libc
from meshnode.host.privileges import die_with_parent
from meshnode.host.userns import become_user

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""Exit codes of shells for commands that cannot be run."""

_CLONE_NEWNS: Final = 0x00020000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2
_SI_KERNEL: Final = 0x80
_RESOLV_CONF: Final = "/etc/resolv.conf"
_SCRATCH: Final = "/tmp"

_PASSED_ON: Final = frozenset(
    (
        *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
        *(signal.SIGUSR1, signal.SIGUSR2),
    )
)


def run_guest(
    namespaces: tuple[str, str], command: Sequence[str], *, resolver: str = ""
) -> int:
    """Run *command* and return its exit code, 128 and the signal if one ended it.

    Signals that are sent to us go to the command; those of the terminal reach it by
    themselves. It is killed when we are. For a process of one thread.

    Args:
        namespaces: where the user namespace and the network namespace are opened.
        command: the program, looked up in PATH, and its arguments.
        resolver: numeric address of who is asked for names inside; "" for no change.

    Raises:
        HostError: if the namespaces cannot be entered.
    """
    reading, writing = os.pipe()
    # Blocked before there is a child, so that none is lost between the two.
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, _PASSED_ON | frozenset((signal.SIGCHLD,))
    )
    try:
        parent = os.getpid()
        child = os.fork()
        if not child:
            os.close(reading)
            _be_guest(namespaces, command, resolver, parent, before, writing)
        os.close(writing)
        status = _attend(child)
        failure = os.read(reading, 4096)
    finally:
        os.close(reading)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if failure:
        raise HostError(failure.decode(errors="replace"))
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _attend(child: int) -> int:
    """Pass signals on until *child* has ended; return its status."""
    watched = _PASSED_ON | frozenset((signal.SIGCHLD,))
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        found = signal.sigwaitinfo(watched)
        if found.si_signo != signal.SIGCHLD and found.si_code != _SI_KERNEL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, found.si_signo)


def _be_guest(
    namespaces: tuple[str, str],
    command: Sequence[str],
    resolver: str,
    parent: int,
    mask: set[int],
    complaint: int,
) -> NoReturn:
    """Become *command*; never return."""
    code = 1
    try:
        uid, gid = os.geteuid(), os.getegid()
        _enter(namespaces, resolver)
        become_user(uid, gid)
        die_with_parent(parent, signal.SIGKILL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            os.execvp(command[0], list(command))
        except FileNotFoundError:
            code = NOT_FOUND
            text = f"{command[0]}: there is no such command\n"
        except OSError as error:
            code = NOT_EXECUTABLE
            text = f"{command[0]}: {error.strerror}\n"
        os.write(2, text.encode())
    except HostError as error:
        os.write(complaint, str(error).encode()[:4000])
    except BaseException as error:  # nothing may go on as what it was forked from
        os.write(complaint, f"unexpected {type(error).__name__}: {error}".encode())
    finally:
        os._exit(code)


def _enter(namespaces: tuple[str, str], resolver: str) -> None:
    try:
        descriptors = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in namespaces]
        for one in descriptors:
            libc.call("setns", ctypes.c_int(one), ctypes.c_int(0))
    except OSError as error:
        raise HostError(
            "cannot enter the network of the node (is it another user's, or has it "
            f"just ended?): {error.strerror}",
            errno=error.errno or 5,
        ) from error
    try:
        if resolver:
            libc.call("unshare", ctypes.c_int(_CLONE_NEWNS))
            _replace_resolver(resolver)
    except OSError as error:
        raise HostError(
            f"cannot put another {_RESOLV_CONF} before the command (leave out --dns): "
            f"{error.strerror}",
            errno=error.errno or 5,
        ) from error


def _replace_resolver(resolver: str) -> None:
    """Let /etc/resolv.conf name *resolver*, for this process and its children."""
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    # The file is of a file system in memory. It hides a directory for a moment, in
    # our view only; the file stays when it is taken away.
    _mount("tmpfs", _SCRATCH, "tmpfs", 0)
    file = Path(_SCRATCH, "resolv.conf")
    file.write_text(f"nameserver {resolver}\n")
    file.chmod(0o644)
    _mount(str(file), _RESOLV_CONF, "", _MS_BIND)
    libc.call("umount2", _SCRATCH.encode(), ctypes.c_int(_MNT_DETACH))


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    libc.call(
        "mount",
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        None,
    )
