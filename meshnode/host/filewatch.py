"""Learn that a file has gone, without polling: inotify on its inode.

A WireGuard implementation in userspace ends when its API socket is deleted
(wireguard.com/xplatform); this is how the node hears of it.
"""

import errno
import os
import struct
from pathlib import Path

from meshnode.errors import HostError
from meshnode.host import libc

_IN_ATTRIB = 0x004
_IN_DELETE_SELF = 0x400
_IN_MOVE_SELF = 0x800
_IN_UNMOUNT = 0x2000
_IN_IGNORED = 0x8000
_WATCHED = _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF
_FINAL = _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_UNMOUNT | _IN_IGNORED

_EVENT = struct.Struct("=iIII")
_READ_BYTES = 4096


def parse_event_masks(data: bytes) -> list[int]:
    """Return the mask of every `struct inotify_event` in *data* (inotify(7))."""
    masks = []
    offset = 0
    while offset + _EVENT.size <= len(data):
        _, mask, _, name_bytes = _EVENT.unpack_from(data, offset)
        masks.append(mask)
        offset += _EVENT.size + name_bytes
    return masks


class FileWatch:
    """Watch the file that is at *path* now.

    It is gone when it was deleted, moved away or replaced by another file. The
    descriptor is non-blocking and closed on exec.

    Raises:
        HostError: if there is no such file, or inotify has no watch to spare.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = os.fspath(path)
        self._gone = False
        self._fd = -1
        try:
            self._fd = libc.call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
            self._identity = _identity(self._path)
            libc.call("inotify_add_watch", self._fd, os.fsencode(self._path), _WATCHED)
        except OSError as error:
            self.close()
            raise _explain(self._path, error) from error

    def fileno(self) -> int:
        """Return the descriptor to poll; readable means: ask `is_gone`."""
        return self._fd

    def is_gone(self) -> bool:
        """Say whether the file is gone; takes the descriptor's events away."""
        if not self._gone:
            final = any(mask & _FINAL for mask in parse_event_masks(self._read()))
            # An unlinked socket that is still bound keeps its inode, so all that
            # is heard is a changed link count; the directory tells the rest.
            self._gone = final or not self._still_there()
        return self._gone

    def close(self) -> None:
        """Close the descriptor; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> bytes:
        events = b""
        try:
            while True:
                events += os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return events

    def _still_there(self) -> bool:
        try:
            return _identity(self._path) == self._identity
        except (FileNotFoundError, NotADirectoryError):
            return False


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _explain(path: str, error: OSError) -> HostError:
    number = error.errno or errno.EIO
    if number == errno.ENOSPC:
        return HostError(
            f"no inotify watch left for {path}: raise fs.inotify.max_user_watches",
            errno=number,
        )
    return HostError(f"cannot watch {path}: {os.strerror(number)}", errno=number)
