"""A directory of secret files: private, owned by us, changed atomically.

`open_secret_dir` wants a directory that only we can enter; `open_own_dir` is for one
that others may look into (configuration), where the files alone are private.

Everything is done relative to one open directory descriptor, so that what was
checked is what is used. A file appears whole or not at all: it is written to a
temporary name, synced, renamed or linked, and the directory is synced.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from meshnode.errors import ConfigError, HostError, MeshnodeError, PrivilegeError

MAX_FILE_BYTES = 4096
"""A key file has a few hundred; whatever is longer is something else."""

LOCK_TIMEOUT = 10.0
"""Seconds to wait for another process to finish its change."""

_LOCK_POLL = 0.02
_TEMPORARY = ".tmp"
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking, or a named pipe in the place of a file would stop us.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class BusyError(MeshnodeError):
    """Another process did not finish in time."""

    exit_code = 4


class SecretDirectory:
    """An open directory; made by `open_secret_dir` and `open_own_dir` only.

    File names are the caller's to check: they must hold no slash.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._fd = descriptor

    def names(self) -> list[str]:
        """Return the sorted names of all files but temporary ones."""
        return sorted(n for n in os.listdir(self._fd) if not n.endswith(_TEMPORARY))

    def has(self, name: str) -> bool:
        """Whether anything of that name is there."""
        return self._inode(name) is not None

    def is_same(self, one: str, other: str) -> bool:
        """Whether both names are there and lead to the same file."""
        inode = self._inode(one)
        return inode is not None and inode == self._inode(other)

    def read(self, name: str, *, limit: int = MAX_FILE_BYTES) -> bytes:
        """Return the content of a private file of ours, of at most *limit* bytes.

        Raises:
            FileNotFoundError: if it is not there.
            ConfigError: if it is not ours, not private, too long, or not a plain
                file.
        """
        path = self._path / name
        try:
            descriptor = os.open(name, _OPEN_FILE, dir_fd=self._fd)
        except OSError as error:
            if error.errno == errno.ELOOP:
                text = f"{path} is a symbolic link; put the file itself there"
                raise ConfigError(text) from None
            raise
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path} is not a regular file")
            _check_private(path, status, "600")
            data = os.read(descriptor, limit + 1)
        finally:
            os.close(descriptor)
        if len(data) > limit:
            raise ConfigError(
                f"{path} is too long (more than {limit} bytes) to be what it is "
                "named for; restore it from a copy"
            )
        return data

    def create(self, name: str, data: bytes) -> None:
        """Write a new file; raises `FileExistsError` rather than replace one."""
        with self._temporary(name, data) as temporary:
            self._link(temporary, name)

    def replace(self, name: str, data: bytes) -> None:
        """Write a file in the place of any of that name."""
        with self._temporary(name, data) as temporary:
            self._rename(temporary, name)

    def link(self, name: str, other: str) -> None:
        """Give the file *name* also the name *other*; raises `FileExistsError`."""
        self._link(name, other)
        os.fsync(self._fd)

    def rename(self, name: str, other: str) -> None:
        """Rename *name* to *other*, replacing it."""
        self._rename(name, other)
        os.fsync(self._fd)

    def remove(self, name: str) -> bool:
        """Remove the file; returns whether it was there."""
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return False
        os.fsync(self._fd)
        return True

    def _inode(self, name: str) -> int | None:
        try:
            return os.lstat(name, dir_fd=self._fd).st_ino
        except FileNotFoundError:
            return None

    def _link(self, name: str, other: str) -> None:
        os.link(
            name,
            other,
            src_dir_fd=self._fd,
            dst_dir_fd=self._fd,
            follow_symlinks=False,
        )

    def _rename(self, name: str, other: str) -> None:
        os.rename(name, other, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    @contextmanager
    def _temporary(self, name: str, data: bytes) -> Iterator[str]:
        temporary = f".{name}{_TEMPORARY}"
        self._unlink(temporary)  # of a process that was killed: we hold the lock
        try:
            descriptor = os.open(temporary, _CREATE_FILE, 0o600, dir_fd=self._fd)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            yield temporary
        finally:
            self._unlink(temporary)
        os.fsync(self._fd)

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)


def create_secret_dir(path: Path) -> None:
    """Make the directory, and those above it, unless it is there.

    Raises:
        ConfigError, HostError: as `open_secret_dir`.
    """
    if os.path.lexists(path):
        return
    with _readable_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


@contextmanager
def open_secret_dir(path: Path, *, for_change: bool) -> Iterator[SecretDirectory]:
    """Open the directory; *for_change* keeps other changers out meanwhile.

    Raises:
        FileNotFoundError: if it is not there.
        ConfigError: if it is not ours, not private, or a symbolic link.
        HostError: if the operating system refuses; `PrivilegeError` for want of one.
        BusyError: if another process holds it longer than `LOCK_TIMEOUT`.
    """
    with _open(path, _check_private_dir, for_change=for_change) as directory:
        yield directory


@contextmanager
def open_own_dir(path: Path, *, for_change: bool) -> Iterator[SecretDirectory]:
    """Open a directory that others may read but not change.

    Raises:
        As `open_secret_dir`.
    """
    with _open(path, _check_own_dir, for_change=for_change) as directory:
        yield directory


@contextmanager
def _open(
    path: Path, check: Callable[[Path, os.stat_result], None], *, for_change: bool
) -> Iterator[SecretDirectory]:
    with _readable_os_errors(path):
        descriptor = os.open(path, _OPEN_DIRECTORY)
        try:
            check(path, os.fstat(descriptor))
            if for_change:
                _lock(path, descriptor)
            yield SecretDirectory(path, descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _readable_os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except PermissionError as error:
        text = f"{path}: {error.strerror}; become the user who owns it"
        raise PrivilegeError(text, errno=error.errno or errno.EACCES) from None
    except NotADirectoryError:
        raise ConfigError(f"{path} is not a directory, or a symbolic link") from None
    except OSError as error:
        number = error.errno or errno.EIO
        raise HostError(f"{path}: {os.strerror(number)}", errno=number) from None


def _check_private_dir(path: Path, status: os.stat_result) -> None:
    _check_private(path, status, "700")


def _check_own_dir(path: Path, status: os.stat_result) -> None:
    _check_owner(path, status)
    if status.st_mode & 0o022:
        raise ConfigError(f"others may change {path}; run: chmod go-w {path}")


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"{path} belongs to another user (uid {status.st_uid}); chown it"
        )


def _check_private(path: Path, status: os.stat_result, mode: str) -> None:
    _check_owner(path, status)
    if status.st_mode & 0o077:
        raise ConfigError(f"{path} is open to other users; run: chmod {mode} {path}")


def _lock(path: Path, descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise BusyError(f"{path} is being changed by another; retry") from None
            time.sleep(_LOCK_POLL)
        else:
            return
