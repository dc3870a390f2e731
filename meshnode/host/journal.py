"""The journal of what a node changed on its host, so that a crash leaves nothing.

A change is written down, and on disk, before it is made. Undoing is idempotent:
newest first, and content with what is already gone. Each interface has a file of JSON
lines in the run directory: who runs it, then its changes. The file is locked for as
long as somebody who may still undo it lives, by a lock the kernel drops with the last
descriptor; a process number could be somebody else's by now, or be of another
container. A line that was cut short is a change that was not made, and is skipped.

The TUN device, its addresses and the routes through it need no entry: they go with
its last descriptor.
"""

import contextlib
import errno
import fcntl
import json
import os
import stat
from pathlib import Path

from meshnode.errors import HostError, MeshnodeError
from meshnode.host.changes import Change, parse_change, serialise_change
from meshnode.host.tun import check_name

DEFAULT_RUN_DIRECTORY = "/run/meshnode"
_SUFFIX = ".journal"


class Journal:
    """The open, locked journal of one interface.

    Made by `open_journal`; a process that inherits the descriptor wraps it with the
    same path, and shares the lock.
    """

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self.path = path

    def fileno(self) -> int:
        """Return the descriptor that holds the lock."""
        return self._fd

    def record(self, change: Change) -> None:
        """Put *change* on disk; only then may it be made.

        Raises:
            HostError: if it could not be written: then it must not be made.
        """
        self._append(serialise_change(change))

    def pending(self) -> list[Change]:
        """Return the recorded changes, oldest first.

        Raises:
            HostError: if one was written by a version we do not understand.
        """
        return [parse_change(entry) for entry in self._entries()]

    def undo_all(self) -> list[str]:
        """Take every change back, newest first; return what was done.

        The file goes when nothing is left. After an error it stays, and the call
        can be repeated.

        Raises:
            HostError: naming what could not be undone, after trying all of it.
        """
        done, failures = [], []
        for entry in reversed(self._entries()):
            try:
                outcome = parse_change(entry).undo()
            except MeshnodeError as error:
                failures.append(str(error))
            else:
                done += [outcome] if outcome else []
        if failures:
            raise HostError(f"not undone: {'; '.join(failures)}")
        self.path.unlink(missing_ok=True)
        return done

    def close(self) -> None:
        """Close this process's descriptor; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _entries(self) -> list[dict[str, object]]:
        entries = parse_journal(_read_all(self._fd))
        return [entry for entry in entries if "change" in entry]

    def _append(self, entry: dict[str, object]) -> None:
        # The line feed in front keeps a line cut short before from spoiling this one.
        line = b"\n" + json.dumps(entry).encode() + b"\n"
        try:
            written = os.write(self._fd, line)
            os.fsync(self._fd)
        except OSError as error:
            raise _unwritable(self.path, error.errno or errno.EIO) from error
        if written != len(line):
            raise _unwritable(self.path, errno.ENOSPC)


def run_directory() -> Path:
    """Return where journals are: MESHNODE_RUN_DIR, or /run/meshnode."""
    return Path(os.environ.get("MESHNODE_RUN_DIR") or DEFAULT_RUN_DIRECTORY)


def open_journal(name: str, directory: Path) -> Journal:
    """Become the one node that runs interface *name*; undo what a dead one left.

    *directory* is made with mode 0700.

    Raises:
        HostError: with EBUSY if a living node runs the interface, or if the
            directory is not ours alone, or a leftover cannot be undone.
    """
    _prepare_directory(directory)
    path = directory / (check_name(name) + _SUFFIX)
    while True:
        journal = _lock(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        if journal is None:
            raise HostError(
                f"interface {name} is already run by {_owner(path)}: stop it first",
                errno=errno.EBUSY,
            )
        if parse_journal(_read_all(journal.fileno())):
            _undo_and_close(journal)
            continue
        journal._append({"interface": name, "pid": os.getpid()})
        _sync_directory(directory)
        return journal


def cleanup(directory: Path) -> list[str]:
    """Undo what dead nodes left behind; return what was done.

    A living node's journal is left alone.

    Raises:
        HostError: naming what could not be undone, after trying all journals.
    """
    done, failures = [], []
    for path in sorted(directory.glob("*" + _SUFFIX)):
        try:
            journal = _lock(path, os.O_RDWR | os.O_APPEND)
            if journal is not None:
                done += _undo_and_close(journal)
        except FileNotFoundError:
            continue  # its node was just finishing
        except HostError as error:
            failures.append(f"{path.name}: {error}")
    if failures:
        raise HostError("; ".join(failures))
    return done


def parse_journal(data: bytes) -> list[dict[str, object]]:
    """Return the entries of a journal; lines that are not whole are skipped."""
    entries = []
    for line in data.split(b"\n"):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def _owner(path: Path) -> str:
    """Name the process that runs an interface, as its journal tells."""
    with contextlib.suppress(OSError):
        for entry in parse_journal(path.read_bytes()):
            if "pid" in entry:
                return f"process {entry['pid']}"
    return "another node"


def _lock(path: Path, flags: int) -> Journal | None:
    """Open and lock the journal at *path*; None if somebody else has it."""
    while True:
        try:
            fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unwritable(path, error.errno or errno.EIO) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        # The last owner may have removed the file between our open and our lock.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return Journal(fd, path)
        os.close(fd)


def _undo_and_close(journal: Journal) -> list[str]:
    try:
        return journal.undo_all()
    finally:
        journal.close()


def _prepare_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
    except OSError as error:
        raise _unwritable(directory, error.errno or errno.EIO) from error
    others = status.st_mode & 0o077
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or others:
        raise HostError(
            f"{directory} is not a directory of ours alone: chown and chmod 0700 it, "
            "or set MESHNODE_RUN_DIR",
            errno=errno.EPERM,
        )


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_all(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _unwritable(path: Path, number: int) -> HostError:
    return HostError(
        f"cannot write {path}: {os.strerror(number)}; set MESHNODE_RUN_DIR to a "
        "directory of ours",
        errno=number,
    )
