"""The SQLite file of a node's state: make it, prove it, copy it, change it.

A file is either proven whole by `StateFile.open`, or refused as damaged; what the
operating system refuses is a `HostError` and never taken for damage.
"""

import errno
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from meshnode.errors import CodecError, ConfigError, HostError
from meshnode.manage.state_schema import (
    APPLICATION_ID,
    CHECKSUM_BYTES,
    SCHEMA,
    SCHEMA_VERSION,
    SUM_MODULUS,
    Row,
    RowKind,
    checksum_of,
    stored_state,
)
from meshnode.mesh.ports import StoredState

SIDE_FILES: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file that is open, or was when its process died."""

_SUM, _SCHEMA = "sum", "schema"
_VERSION_BYTES = 4

_HOST_CODES: Final = {
    sqlite3.SQLITE_BUSY: errno.EBUSY,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_LOCKED: errno.EBUSY,
    sqlite3.SQLITE_PERM: errno.EACCES,
}
"""What SQLite reports when the host refuses, and the error number it means."""


class DamagedError(Exception):
    """The file does not prove itself; the text says what was found first."""


class NewerError(ConfigError):
    """A later version of meshnode wrote the file."""


class StateFile:
    """An open file whose rows were proven; made by `open` only.

    Calls may come from any thread, one at a time. The file is locked for others while
    it is open.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._sum = 0
        self._sequence = 0

    @classmethod
    def open(cls, path: Path) -> "StateFile":
        """Open the file at *path*, and prove all of it.

        Raises:
            DamagedError: if it is damaged, or none of ours.
            NewerError: if a later version wrote it.
            ConfigError: if it is not a private, plain file of ours.
            HostError: if the operating system refuses.
        """
        for each in (path, *side_files(path)):
            check_file(each)
        file = cls(path, _connect(path))
        try:
            with _host_errors(path):
                file._prove()
        except BaseException:
            file.close()
            raise
        return file

    def load(self) -> StoredState:
        """Return everything; raises `DamagedError` or `HostError`."""
        with _host_errors(self._path):
            return self._read()

    def change(
        self,
        rows: Iterable[Row],
        removals: Iterable[tuple[int, bytes]],
        *,
        synchronous: str,
    ) -> None:
        """Write *rows* and delete *removals* (kind, key), all or nothing.

        With *synchronous* FULL it is on the disk on return; with NORMAL it survives
        the end of the process, but maybe not that of the host.

        Raises:
            HostError: if the operating system refuses; nothing was changed.
            DamagedError: if the file turns out to be damaged; nothing was changed.
        """
        before = self._sum, self._sequence
        with _host_errors(self._path):
            self._execute(f"PRAGMA synchronous={synchronous}")
            self._execute("BEGIN IMMEDIATE")
            try:
                for kind, key in removals:
                    self._delete(kind, key)
                for row in rows:
                    self._delete(row.kind, row.key)
                    self._insert(row)
                self._write_sum()
                self._execute("COMMIT")
            except BaseException:
                self._sum, self._sequence = before
                with suppress(sqlite3.Error):
                    self._execute("ROLLBACK")
                raise

    def copy_to(self, path: Path) -> None:
        """Write a copy to the new file *path*, on the disk on return.

        Raises:
            HostError: if the operating system refuses.
        """
        create_empty(path)
        with _host_errors(path):
            target = _connect(path)
            try:
                self._connection.backup(target)
            finally:
                target.close()
        sync_file(path)

    def drop_all(self, kind: RowKind) -> int:
        """Delete all rows of *kind*; returns how many there were."""
        with _host_errors(self._path):
            keys = [
                key
                for (key,) in self._execute(
                    "SELECT key FROM state WHERE kind = ?", kind
                )
            ]
        self.change([], [(kind, key) for key in keys], synchronous="FULL")
        return len(keys)

    def close(self) -> None:
        """Close the file; what was written moves from its log into it."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def _execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def _prove(self) -> None:
        self._execute("PRAGMA locking_mode=EXCLUSIVE")
        self._execute("PRAGMA trusted_schema=OFF")
        self._execute("PRAGMA cell_size_check=ON")
        if self._execute("PRAGMA application_id") != [(APPLICATION_ID,)]:
            raise DamagedError("it is no state of meshnode")
        self._check_version()
        if self._execute("PRAGMA quick_check(1)") != [("ok",)]:
            raise DamagedError("its pages do not fit together")
        self._read()
        if self._execute("PRAGMA journal_mode=WAL") != [("wal",)]:
            raise DamagedError("it cannot be written")
        self._execute("PRAGMA journal_size_limit=1048576")
        # A bit of the header can forbid writing, which nothing but a write shows.
        self._execute("BEGIN IMMEDIATE")
        self._write_sum()
        self._execute("ROLLBACK")

    def _check_version(self) -> None:
        in_header = self._execute("PRAGMA user_version")[0][0]
        inside = int.from_bytes(self._meta(_SCHEMA, _VERSION_BYTES), "big")
        if in_header != inside or inside < SCHEMA_VERSION:
            raise DamagedError("its version is none")
        if inside > SCHEMA_VERSION:
            raise NewerError(
                f"{self._path} was written by a later version of meshnode (schema "
                f"{inside}, known is {SCHEMA_VERSION}); install that version again"
            )

    def _meta(self, name: str, size: int) -> bytes:
        found = self._execute("SELECT value FROM meta WHERE name = ?", name)
        if len(found) != 1 or type(found[0][0]) is not bytes:
            raise DamagedError(f"it has no {name}")
        value: bytes = found[0][0]
        if len(value) != size:
            raise DamagedError(f"it has no {name}")
        return value

    def _read(self) -> StoredState:
        rows, total, last = [], 0, 0
        for row, sequence, checksum in self._rows():
            if checksum != checksum_of(row, sequence):
                raise DamagedError("a row does not prove itself")
            rows.append(row)
            total += int.from_bytes(checksum, "big")
            last = max(last, sequence)
        total %= SUM_MODULUS
        if self._meta(_SUM, CHECKSUM_BYTES) != total.to_bytes(CHECKSUM_BYTES, "big"):
            raise DamagedError("rows are missing, or there are too many")
        self._sum, self._sequence = total, last
        try:
            return stored_state(rows)
        except CodecError as error:
            raise DamagedError(f"it has {error}") from None

    def _rows(self) -> Iterator[tuple[Row, int, bytes]]:
        cursor = self._connection.execute(
            "SELECT kind, key, sequence, number, data, checksum FROM state"
            " ORDER BY sequence"
        )
        for kind, key, sequence, number, data, checksum in cursor:
            if any(type(value) is not int for value in (kind, sequence, number)):
                raise DamagedError("a number is none")
            if any(type(value) is not bytes for value in (key, data, checksum)):
                raise DamagedError("bytes are none")
            yield Row(kind, key, number, data), sequence, checksum

    def _delete(self, kind: int, key: bytes) -> None:
        found = self._execute(
            "DELETE FROM state WHERE kind = ? AND key = ? RETURNING checksum", kind, key
        )
        for (checksum,) in found:
            if type(checksum) is not bytes:
                raise DamagedError("a checksum is none")
            self._sum -= int.from_bytes(checksum, "big")

    def _insert(self, row: Row) -> None:
        self._sequence += 1
        checksum = checksum_of(row, self._sequence)
        self._execute(
            "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)",
            row.kind,
            row.key,
            self._sequence,
            row.number,
            row.data,
            checksum,
        )
        self._sum += int.from_bytes(checksum, "big")

    def _write_sum(self) -> None:
        self._sum %= SUM_MODULUS
        value = self._sum.to_bytes(CHECKSUM_BYTES, "big")
        self._execute("UPDATE meta SET value = ? WHERE name = ?", value, _SUM)


def create_state(path: Path) -> None:
    """Make an empty state at the new file *path*, on the disk on return.

    Raises:
        HostError: if the operating system refuses.
    """
    create_empty(path)
    with _host_errors(path):
        connection = _connect(path)
        try:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            for statement in SCHEMA:
                connection.execute(statement)
            version = SCHEMA_VERSION.to_bytes(_VERSION_BYTES, "big")
            for meta in ((_SCHEMA, version), (_SUM, bytes(CHECKSUM_BYTES))):
                connection.execute("INSERT INTO meta VALUES (?, ?)", meta)
        finally:
            connection.close()
    sync_file(path)


def side_files(path: Path) -> tuple[Path, ...]:
    """Return the paths of what SQLite may keep beside the file *path*."""
    return tuple([path.with_name(path.name + suffix) for suffix in SIDE_FILES])


def check_file(path: Path) -> None:
    """Refuse what is at *path* if it is no private, plain file of ours.

    Raises:
        ConfigError: naming the remedy.
        HostError: if the operating system refuses.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise host_error(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} is not a plain file; move it away")
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"{path} belongs to another user (uid {status.st_uid}); chown it"
        )
    if status.st_mode & 0o077:
        raise ConfigError(f"{path} is open to other users; run: chmod 600 {path}")


def create_empty(path: Path) -> None:
    """Make the empty file *path*, for us alone; raises `HostError` if it is there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(path, flags, 0o600))
    except OSError as error:
        raise host_error(path, error) from None


def sync_file(path: Path) -> None:
    """Wait until the file or directory *path* is on the disk; raises `HostError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise host_error(path, error) from None


def host_error(path: Path, error: OSError) -> HostError:
    """Return what to tell of *error* about *path*."""
    number = error.errno or errno.EIO
    return HostError(f"{path}: {os.strerror(number)}", errno=number)


def _connect(path: Path) -> sqlite3.Connection:
    with _host_errors(path):
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )


@contextmanager
def _host_errors(path: Path) -> Iterator[None]:
    """Tell what the host refuses from what is wrong with the file."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # ours
    except UnicodeDecodeError:
        # SQLite quotes what it found in its complaint; the module cannot read that.
        raise DamagedError("its schema holds text that is none") from None
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code == sqlite3.SQLITE_READONLY and _is_read_only(path):
            number = errno.EROFS
        elif code in _HOST_CODES:
            number = _HOST_CODES[code]
        else:
            raise DamagedError(str(error)) from None
        raise HostError(
            f"{path}: {os.strerror(number)} ({error})", errno=number
        ) from None


def _is_read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return True
