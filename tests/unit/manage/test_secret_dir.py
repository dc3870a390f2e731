"""The directory of secret files: what it refuses, and what a crash leaves."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from meshnode.errors import ConfigError, HostError, PrivilegeError
from meshnode.manage import secret_dir
from meshnode.manage.secret_dir import (
    BusyError,
    SecretDirectory,
    create_secret_dir,
    open_own_dir,
    open_secret_dir,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A private directory."""
    path = tmp_path / "keys"
    create_secret_dir(path)
    return path


@pytest.fixture
def directory(path: Path) -> Iterator[SecretDirectory]:
    """The directory, open for change."""
    with open_secret_dir(path, for_change=True) as directory:
        yield directory


def mode(path: Path) -> int:
    """The permissions of *path*."""
    return path.stat().st_mode & 0o7777


def test_a_directory_is_made_private(tmp_path: Path) -> None:
    """It and its files are ours alone, whatever the umask."""
    old = os.umask(0)
    try:
        create_secret_dir(tmp_path / "a" / "keys")
        create_secret_dir(tmp_path / "a" / "keys")
        with open_secret_dir(tmp_path / "a" / "keys", for_change=True) as directory:
            directory.create("x", b"1")
            directory.replace("y", b"2")
    finally:
        os.umask(old)
    assert mode(tmp_path / "a" / "keys") == 0o700
    assert mode(tmp_path / "a" / "keys" / "x") == 0o600
    assert mode(tmp_path / "a" / "keys" / "y") == 0o600


def test_files_are_written_and_read(directory: SecretDirectory) -> None:
    """Create, replace, rename, link and remove do what they say."""
    directory.create("a", b"1")
    assert directory.read("a") == b"1"
    directory.replace("a", b"2")
    directory.link("a", "b")
    assert directory.is_same("a", "b")
    directory.replace("a", b"3")
    assert not directory.is_same("a", "b")
    assert (directory.read("a"), directory.read("b")) == (b"3", b"2")
    directory.rename("b", "a")
    assert directory.names() == ["a"]
    assert directory.read("a") == b"2"
    assert directory.remove("a")
    assert not directory.remove("a")
    assert not directory.has("a")


def test_create_never_replaces(directory: SecretDirectory) -> None:
    """An existing file stays, and no temporary one is left."""
    directory.create("a", b"1")
    with pytest.raises(FileExistsError):
        directory.create("a", b"2")
    assert directory.read("a") == b"1"
    assert directory.names() == ["a"]


def test_the_temporary_file_of_a_killed_process_is_no_obstacle(
    path: Path, directory: SecretDirectory
) -> None:
    """It is not listed, and the next change replaces it."""
    (path / ".a.tmp").write_bytes(b"half")
    assert directory.names() == []
    directory.create("a", b"1")
    assert os.listdir(path) == ["a"]


@pytest.mark.parametrize("bits", [0o701, 0o710, 0o750, 0o755, 0o777, 0o704])
def test_an_open_directory_is_refused(path: Path, bits: int) -> None:
    """A directory that others may enter or read is named with its remedy."""
    path.chmod(bits)
    with (
        pytest.raises(ConfigError, match=f"chmod 700 {path}"),
        open_secret_dir(path, for_change=False),
    ):
        pass


@pytest.mark.parametrize("bits", [0o601, 0o604, 0o640, 0o660, 0o666])
def test_an_open_file_is_refused(
    path: Path, directory: SecretDirectory, bits: int
) -> None:
    """A file that others may read is named with its remedy."""
    directory.create("a", b"1")
    (path / "a").chmod(bits)
    with pytest.raises(ConfigError, match=f"chmod 600 {path / 'a'}"):
        directory.read("a")


def test_what_belongs_to_another_is_refused(
    path: Path, directory: SecretDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the directory nor a file of another user is used."""
    directory.create("a", b"1")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match="another user"):
        directory.read("a")
    with (
        pytest.raises(ConfigError, match="another user"),
        open_secret_dir(path, for_change=False),
    ):
        pass


def test_a_symbolic_link_is_refused(
    tmp_path: Path, path: Path, directory: SecretDirectory
) -> None:
    """Links could lead to where others write."""
    directory.create("a", b"1")
    (path / "b").symlink_to(path / "a")
    with pytest.raises(ConfigError, match="symbolic link"):
        directory.read("b")
    link = tmp_path / "link"
    link.symlink_to(path)
    with (
        pytest.raises(ConfigError, match="symbolic link"),
        open_secret_dir(link, for_change=False),
    ):
        pass


def test_replacing_a_symbolic_link_leaves_its_target(
    tmp_path: Path, path: Path, directory: SecretDirectory
) -> None:
    """The link itself is replaced."""
    target = tmp_path / "target"
    target.write_bytes(b"theirs")
    (path / "a").symlink_to(target)
    directory.replace("a", b"ours")
    assert target.read_bytes() == b"theirs"
    assert directory.read("a") == b"ours"


def test_special_files_are_refused(path: Path, directory: SecretDirectory) -> None:
    """A directory or a pipe in the place of a file neither blocks nor is read."""
    (path / "d").mkdir(mode=0o700)
    os.mkfifo(path / "p", 0o600)
    for name in ("d", "p"):
        with pytest.raises(ConfigError, match="not a regular file"):
            directory.read(name)


def test_a_long_file_is_refused(path: Path, directory: SecretDirectory) -> None:
    """Nothing longer than a key is read into memory."""
    directory.create("a", bytes(secret_dir.MAX_FILE_BYTES))
    assert directory.read("a") == bytes(secret_dir.MAX_FILE_BYTES)
    directory.replace("a", bytes(secret_dir.MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="too long"):
        directory.read("a")


def test_a_caller_may_allow_more_or_less(directory: SecretDirectory) -> None:
    """The limit is the caller's: other files are of other sizes."""
    directory.create("a", bytes(secret_dir.MAX_FILE_BYTES + 1))
    assert len(directory.read("a", limit=secret_dir.MAX_FILE_BYTES + 1)) > 4096
    with pytest.raises(ConfigError, match="more than 10 bytes"):
        directory.read("a", limit=10)


@pytest.mark.parametrize("bits", [0o700, 0o750, 0o755, 0o711])
def test_others_may_look_into_our_own_directory(path: Path, bits: int) -> None:
    """A directory of configuration need not be hidden; its files are."""
    path.chmod(bits)
    with open_own_dir(path, for_change=True) as directory:
        directory.create("a", b"1")
        assert directory.read("a") == b"1"
    (path / "a").chmod(0o644)
    with (
        open_own_dir(path, for_change=False) as directory,
        pytest.raises(ConfigError, match="chmod 600"),
    ):
        directory.read("a")


@pytest.mark.parametrize("bits", [0o770, 0o720, 0o702, 0o777])
def test_others_may_not_change_our_own_directory(path: Path, bits: int) -> None:
    """Who may change a directory may exchange the files in it."""
    path.chmod(bits)
    with (
        pytest.raises(ConfigError, match=f"chmod go-w {path}"),
        open_own_dir(path, for_change=False),
    ):
        pass


def test_our_own_directory_is_ours(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of another user is not used."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with (
        pytest.raises(ConfigError, match="another user"),
        open_own_dir(path, for_change=False),
    ):
        pass


def test_one_changer_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second changer waits, then gives up; a reader does not wait."""
    monkeypatch.setattr(secret_dir, "LOCK_TIMEOUT", 0.05)
    with open_secret_dir(path, for_change=True):
        with open_secret_dir(path, for_change=False):
            pass
        with pytest.raises(BusyError), open_secret_dir(path, for_change=True):
            pass
    with open_secret_dir(path, for_change=True):
        pass


def test_a_changer_waits_for_the_one_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that becomes free in time is taken."""
    holder = os.open(path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    monkeypatch.setattr(secret_dir.time, "sleep", lambda _: os.close(holder))
    with open_secret_dir(path, for_change=True) as directory:
        directory.create("a", b"1")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("function", ["fsync", "rename", "open"])
def test_a_failing_disk_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    """A refused write is one line with the reason, and the file is as before."""
    with open_secret_dir(path, for_change=True) as directory:
        directory.create("a", b"old")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    def replace() -> None:
        with open_secret_dir(path, for_change=True) as directory:
            monkeypatch.setattr(os, function, refuse)
            directory.replace("a", b"new")

    with pytest.raises(HostError) as caught:
        replace()
    monkeypatch.undo()
    assert caught.value.errno == number
    assert os.listdir(path) == ["a"]
    assert (path / "a").read_bytes() == b"old"


def test_missing_privileges_are_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission denied is its own error, with its own exit code."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(PrivilegeError) as caught,
        open_secret_dir(path, for_change=False),
    ):
        pass
    assert caught.value.exit_code == 5


class Killed(BaseException):
    """Stands for kill -9: no system call happens after it."""


def replace_until_killed(path: Path, steps: int) -> bool:
    """Replace the file and die after *steps* system calls; say whether we died."""
    left = steps

    def dying(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            return function(*args, **kwargs)

        return call

    with (
        open_secret_dir(path, for_change=True) as directory,
        pytest.MonkeyPatch.context() as patch,
        suppress(Killed),
    ):
        for name in ("open", "fsync", "rename", "unlink"):
            patch.setattr(os, name, dying(getattr(os, name)))
        directory.replace("a", b"new")
        return False
    return True


def test_a_kill_at_any_step_leaves_the_old_or_the_new_file(path: Path) -> None:
    """Whichever system call is the last one, a whole file is there."""
    seen = []
    for steps in range(20):
        with open_secret_dir(path, for_change=True) as directory:
            directory.replace("a", b"old")
        was_killed = replace_until_killed(path, steps)
        with open_secret_dir(path, for_change=True) as directory:
            seen.append(directory.read("a"))
            assert directory.names() == ["a"]
        if not was_killed:
            break
    assert set(seen) == {b"old", b"new"}
    assert len(seen) >= 6
    assert not was_killed
