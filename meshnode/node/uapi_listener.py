"""The socket of the userspace API, where `wg` looks for it.

A socket file that nobody answers was left by a process that was killed, and is
replaced; one that is answered belongs to somebody else.
"""

import errno
import os
import socket
import stat
from pathlib import Path

from meshnode.errors import HostError
from meshnode.host.changes import RemoveSocket
from meshnode.host.journal import Journal

_BACKLOG = 64


def listen_uapi(path: Path, journal: Journal) -> socket.socket:
    """Return a non-blocking socket that listens at *path*, for our user only.

    The change is in the journal before it is made.

    Raises:
        HostError: with EADDRINUSE if somebody answers there.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove_stale(path)
        journal.record(RemoveSocket(str(path)))
        return _bind(path)
    except OSError as error:
        raise HostError(
            f"cannot listen at {path}: {error.strerror}",
            errno=error.errno or errno.EIO,
        ) from error


def listen_own(path: Path) -> socket.socket:
    """Return a non-blocking socket at *path*, in a directory that there is.

    Nobody writes it down: whoever asked for it removes it.

    Raises:
        HostError: with EADDRINUSE if somebody answers there.
    """
    try:
        _remove_stale(path)
        return _bind(path)
    except OSError as error:
        raise HostError(
            f"cannot listen at {path}: {error.strerror}",
            errno=error.errno or errno.EIO,
        ) from error


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise HostError(
                f"{path} is in the way and no socket: remove it", errno=errno.EEXIST
            )
    except FileNotFoundError:
        return
    if _is_answered(path):
        raise HostError(
            f"{path} is already in use: stop the process that serves it, or choose "
            "another name",
            errno=errno.EADDRINUSE,
        )
    path.unlink(missing_ok=True)


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True  # its queue is full
    return True


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener
