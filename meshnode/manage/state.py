"""What a node must not forget, in `state.db`: acknowledged is on the disk.

`apply` is one transaction: on return it survives the loss of power, but for a batch
of nothing but `KeepEndpoints`, which survives only the end of the process: where a
peer was last is found again, and is not worth waiting for the disk.

*A damaged file.* After every clean opening, and at most every hour while there are
changes, a proven copy is put into `state.db.good`. A `state.db` that does not prove
itself is moved to `state.db.damaged`, the copy takes its place, and `notice` says so.
The copy may be older than what was acknowledged; the mesh heals that:

* Records, revocations, charters and policies come back from the neighbours.
* Our own record's version may be behind what others have of us. A node that hears a
  record of its own with a greater version makes the next one greater still.
* The wall mark may be behind; it grows with the next believed time.
* An invite that was used could live again, so all invites are dropped: make new ones.
* A certificate we issued since may be forgotten. Its member has it, and its record
  tells name and address before they could be given away a second time.

A file that a later version wrote is refused, never replaced.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from meshnode.errors import ConfigError, HostError
from meshnode.manage.secret_dir import create_secret_dir, open_secret_dir
from meshnode.manage.state_file import (
    DamagedError,
    StateFile,
    check_file,
    create_state,
    host_error,
    side_files,
    sync_file,
)
from meshnode.manage.state_schema import Row, RowKind, place_of, row_of
from meshnode.mesh.ports import KeepEndpoints, StateChange, StoredState

FILE_NAME: Final = "state.db"
"""In the state directory of the network."""

COPY_INTERVAL: Final = 3600.0
"""Seconds between two good copies while there are changes."""

_GOOD, _NEW, _DAMAGED, _LOCK = ".good", ".new", ".damaged", ".lock"

_log = logging.getLogger("meshnode.manage")


class StateStore:
    """The open state of one network; made by `open` only.

    Calls may come from any thread, one at a time. `notice` is "" or tells, in one
    line, what the user should know of the file.
    """

    def __init__(
        self, path: Path, lock: int, file: StateFile, clock: Callable[[], float]
    ) -> None:
        self._path = path
        self._lock = lock
        self._file = file
        self._clock = clock
        self._copied_at = clock()
        self.notice = ""

    @classmethod
    def open(
        cls, path: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> "StateStore":
        """Open the state in the file *path*; it is made if there is none.

        *clock* gives seconds that never go back.

        Raises:
            HostError: with EBUSY if another process has it; or if the operating
                system refuses.
            ConfigError: if the file is of a later version, is not private and ours,
                or is damaged and there is no good copy.
        """
        create_secret_dir(path.parent)
        with open_secret_dir(path.parent, for_change=False):
            lock = _lock(path)
        try:
            file, notice = _open_or_recover(path)
            store = cls(path, lock, file, clock)
        except BaseException:
            os.close(lock)
            raise
        store.notice = notice
        try:
            store._copy()
        except BaseException:
            store.close()
            raise
        return store

    def load(self) -> StoredState:
        """Return everything that is kept.

        Raises:
            HostError: if it cannot be read.
        """
        try:
            return self._file.load()
        except DamagedError as error:
            raise self._damaged(error) from None

    def apply(self, changes: Sequence[StateChange]) -> None:
        """Make *changes*, in order: all of them or, after an error, none.

        Raises:
            HostError: if they could not be made durable; the caller may try again.
        """
        if not changes:
            return
        final: dict[tuple[int, bytes], Row | None] = {}
        for change in changes:
            place = place_of(change)
            final.pop(place, None)  # the last one counts, and in its turn
            final[place] = row_of(change)
        rows = [row for row in final.values() if row is not None]
        removals = [place for place, row in final.items() if row is None]
        may_be_lost = all(type(change) is KeepEndpoints for change in changes)
        try:
            self._file.change(
                rows, removals, synchronous="NORMAL" if may_be_lost else "FULL"
            )
        except DamagedError as error:
            raise self._damaged(error) from None
        if self._clock() - self._copied_at >= COPY_INTERVAL:
            self._copy()

    def close(self) -> None:
        """Close the file and let others have it; closing twice is harmless."""
        if self._lock >= 0:
            self._file.close()
            os.close(self._lock)
            self._lock = -1

    def _copy(self) -> None:
        """Make the good copy; a failure is a notice, for nothing is lost by it."""
        self._copied_at = self._clock()
        try:
            _make_good_copy(self._file, self._path)
        except (HostError, ConfigError, DamagedError) as error:
            self.notice = f"no good copy of {self._path} could be made: {error}"
            _log.warning("%s", self.notice)

    def _damaged(self, error: DamagedError) -> HostError:
        return HostError(
            f"{self._path} is damaged ({error}); restart the node to use its good copy",
            errno=errno.EIO,
        )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _lock(path: Path) -> int:
    """Become the one process that has the state; returns what holds the lock."""
    lock_path = _beside(path, _LOCK)
    check_file(lock_path)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(lock_path, flags, 0o600)
    except OSError as error:
        raise host_error(lock_path, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise HostError(
            f"{path} is in use by another node of network {path.parent.name}; stop it "
            f"first: meshnode down {path.parent.name}",
            errno=errno.EBUSY,
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise host_error(lock_path, error) from None
    return descriptor


def _open_or_recover(path: Path) -> tuple[StateFile, str]:
    """Return the open file, and what the user should know of it."""
    good, new = _beside(path, _GOOD), _beside(path, _NEW)
    for each in (path, good):
        check_file(each)
    _remove(new)
    if path.exists():
        try:
            return StateFile.open(path), ""
        except DamagedError as error:
            damage = str(error)
    elif good.exists():
        damage = "it is missing"
    else:
        create_state(new)
        _put_in_place(new, path)
        return StateFile.open(path), ""
    return _recover(path, damage)


def _recover(path: Path, damage: str) -> tuple[StateFile, str]:
    """Put the good copy in the place of a damaged file, without its invites."""
    good, new = _beside(path, _GOOD), _beside(path, _NEW)
    try:
        if not good.exists():
            raise DamagedError("there is none")
        made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(good.stat().st_mtime))
        copy = StateFile.open(good)
    except DamagedError as error:
        raise ConfigError(
            f"{path} is damaged ({damage}), and no good copy can be used ({error}); "
            f"restore it from a backup, or remove {path} and {good.name} to begin "
            "without memory: the mesh tells the rest again"
        ) from None
    try:
        copy.copy_to(new)
    finally:
        copy.close()
    fresh = StateFile.open(new)
    try:
        dropped = fresh.drop_all(RowKind.INVITE)
    finally:
        fresh.close()
    sync_file(new)
    _set_aside(path)
    _put_in_place(new, path)
    notice = f"{path} was damaged ({damage}); the copy of {made} UTC is used"
    if dropped:
        notice += f", and {dropped} invites were dropped: make new ones"
    _log.warning("%s", notice)
    return StateFile.open(path), notice


def _set_aside(path: Path) -> None:
    """Keep the damaged file for whoever wants to look, but its log first of all.

    SQLite would take the log of the old file for that of the new one.
    """
    damaged = _beside(path, _DAMAGED)
    _remove(damaged)
    try:
        with suppress(FileNotFoundError):
            os.rename(path, damaged)
        for old, new in zip(side_files(path), side_files(damaged), strict=True):
            with suppress(FileNotFoundError):
                os.rename(old, new)
    except OSError as error:
        raise host_error(path, error) from None


def _put_in_place(new: Path, path: Path) -> None:
    """Rename *new* to *path*, which is not there; a log of an old file goes first."""
    try:
        for side in side_files(path):
            side.unlink(missing_ok=True)
        os.rename(new, path)
    except OSError as error:
        raise host_error(path, error) from None
    sync_file(path.parent)


def _make_good_copy(file: StateFile, path: Path) -> None:
    """Replace the good copy by one of *file* that proves itself."""
    good, new = _beside(path, _GOOD), _beside(path, _NEW)
    _remove(new)
    try:
        file.copy_to(new)
        StateFile.open(new).close()
        sync_file(new)
        os.rename(new, good)
    except OSError as error:
        raise host_error(good, error) from None
    finally:
        _remove(new)
    sync_file(path.parent)


def _remove(path: Path) -> None:
    try:
        for each in (path, *side_files(path)):
            each.unlink(missing_ok=True)
    except OSError as error:
        raise host_error(path, error) from None
