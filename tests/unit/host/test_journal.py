"""The journal of host changes: durable, locked, and undone newest first."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import HostError
from meshnode.host.changes import RemoveSocket, serialise_change
from meshnode.host.journal import (
    Journal,
    cleanup,
    open_journal,
    parse_journal,
    run_directory,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A run directory that does not exist yet."""
    return tmp_path / "run"


def dead_socket(path: Path) -> RemoveSocket:
    """Leave a socket file without a listener."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return RemoveSocket(str(path))


def abandon(journal: Journal) -> None:
    """End as a killed process does: the lock goes, the file stays."""
    journal.close()


def test_directory_and_file_are_private(directory: Path) -> None:
    """The directory has mode 0700 and the file 0600, whatever the umask."""
    old = os.umask(0)
    try:
        journal = open_journal("wg0", directory)
    finally:
        os.umask(old)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert not os.get_inheritable(journal.fileno())
    journal.close()


def test_change_is_on_disk_when_record_returns(directory: Path, tmp_path: Path) -> None:
    """Another reader of the file sees the change at once."""
    journal = open_journal("wg0", directory)
    change = RemoveSocket(str(tmp_path / "s"))
    journal.record(change)
    assert serialise_change(change) in parse_journal(journal.path.read_bytes())
    assert journal.pending() == [change]
    journal.close()


def test_undo_goes_newest_first_and_removes_the_file(
    directory: Path, tmp_path: Path
) -> None:
    """Everything is taken back in reverse, once."""
    journal = open_journal("wg0", directory)
    changes = [dead_socket(tmp_path / name) for name in "abc"]
    for change in changes:
        journal.record(change)
    done = journal.undo_all()
    assert done == [f"removed the socket {tmp_path / name}" for name in "cba"]
    assert not journal.path.exists()
    assert journal.undo_all() == []
    journal.close()


def test_change_that_was_never_made_is_no_error(
    directory: Path, tmp_path: Path
) -> None:
    """A crash between writing and making leaves nothing to undo."""
    journal = open_journal("wg0", directory)
    journal.record(RemoveSocket(str(tmp_path / "never")))
    assert journal.undo_all() == []
    journal.close()


def test_second_node_is_refused(directory: Path) -> None:
    """A living owner keeps others out, and is named."""
    journal = open_journal("wg0", directory)
    with pytest.raises(HostError, match=f"process {os.getpid()}") as caught:
        open_journal("wg0", directory)
    assert caught.value.errno == errno.EBUSY
    other = open_journal("wg1", directory)
    journal.close()
    other.close()


def test_next_node_undoes_what_a_dead_one_left(directory: Path, tmp_path: Path) -> None:
    """Opening after a crash begins with an empty journal and a clean host."""
    crashed = open_journal("wg0", directory)
    crashed.record(dead_socket(tmp_path / "s"))
    abandon(crashed)
    journal = open_journal("wg0", directory)
    assert journal.pending() == []
    assert not (tmp_path / "s").exists()
    journal.close()


def test_cleanup_undoes_the_dead_and_spares_the_living(
    directory: Path, tmp_path: Path
) -> None:
    """Only journals without an owner are undone."""
    living, dead = open_journal("wg0", directory), open_journal("wg1", directory)
    living.record(dead_socket(tmp_path / "living"))
    dead.record(dead_socket(tmp_path / "dead"))
    abandon(dead)
    assert cleanup(directory) == [f"removed the socket {tmp_path / 'dead'}"]
    assert cleanup(directory) == []
    assert (tmp_path / "living").exists()
    assert [path.name for path in directory.iterdir()] == ["wg0.journal"]
    living.close()


def test_cleanup_of_no_directory_does_nothing(directory: Path) -> None:
    """There may never have been a node."""
    assert cleanup(directory) == []


def test_lock_is_shared_with_an_heir(directory: Path, tmp_path: Path) -> None:
    """A process with a duplicate of the descriptor keeps the journal alive."""
    journal = open_journal("wg0", directory)
    heir = Journal(os.dup(journal.fileno()), journal.path)
    journal.record(dead_socket(tmp_path / "s"))
    journal.close()
    assert cleanup(directory) == []
    assert heir.undo_all() == [f"removed the socket {tmp_path / 's'}"]
    heir.close()


def test_killed_process_loses_the_lock(directory: Path, tmp_path: Path) -> None:
    """After SIGKILL its changes can be undone at once."""
    program = (
        "import sys, signal; from pathlib import Path\n"
        "from meshnode.host.changes import RemoveSocket\n"
        "from meshnode.host.journal import open_journal\n"
        "journal = open_journal('wg0', Path(sys.argv[1]))\n"
        "journal.record(RemoveSocket(sys.argv[2]))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    dead_socket(tmp_path / "s")
    arguments = [sys.executable, "-c", program, str(directory), str(tmp_path / "s")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert cleanup(directory) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert cleanup(directory) == [f"removed the socket {tmp_path / 's'}"]


def test_line_cut_anywhere_is_skipped(directory: Path, tmp_path: Path) -> None:
    """For every length of the file, whole lines are undone and the rest is not."""
    journal = open_journal("wg0", directory)
    journal.record(RemoveSocket("/a"))
    journal.record(RemoveSocket("/b"))
    content = journal.path.read_bytes()
    journal.close()
    whole = [line for line in content.split(b"\n") if line]
    for length in range(len(content)):
        cut = content[:length]
        complete = sum(line in cut for line in whole)
        assert len(parse_journal(cut)) == complete, length


def test_record_after_a_torn_line_is_not_lost(directory: Path) -> None:
    """A line that a full disk cut short does not swallow the next."""
    journal = open_journal("wg0", directory)
    os.write(journal.fileno(), b'{"change": "soc')
    journal.record(RemoveSocket("/a"))
    assert journal.pending() == [RemoveSocket("/a")]
    journal.close()


def test_change_of_another_version_is_kept(directory: Path, tmp_path: Path) -> None:
    """What cannot be understood is neither guessed at nor forgotten."""
    journal = open_journal("wg0", directory)
    journal.record(dead_socket(tmp_path / "known"))
    entry = json.dumps({"change": "teapot"}).encode()
    os.write(journal.fileno(), b"\n" + entry + b"\n")
    journal.close()
    with pytest.raises(HostError, match="another version"):
        cleanup(directory)
    assert entry in (directory / "wg0.journal").read_bytes()
    assert not (tmp_path / "known").exists()


def test_failure_keeps_the_file_and_tries_the_rest(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One change that cannot be undone does not hold up the others."""
    journal = open_journal("wg0", directory)
    journal.record(dead_socket(tmp_path / "a"))
    journal.record(dead_socket(tmp_path / "b"))
    unlink = os.unlink

    def refuse(path: str) -> None:
        if path.endswith("b"):
            raise PermissionError(errno.EPERM, "refused")
        unlink(path)

    monkeypatch.setattr("meshnode.host.changes.os.unlink", refuse)
    with pytest.raises(HostError, match="refused"):
        journal.undo_all()
    monkeypatch.undo()
    assert not (tmp_path / "a").exists()
    assert journal.undo_all() == [f"removed the socket {tmp_path / 'b'}"]
    journal.close()


def test_directory_open_to_others_is_refused(directory: Path) -> None:
    """A run directory that others can enter is not trusted."""
    directory.mkdir(mode=0o755)
    with pytest.raises(HostError, match="ours alone"):
        open_journal("wg0", directory)


def test_symbolic_links_are_not_followed(directory: Path, tmp_path: Path) -> None:
    """Neither the directory nor a journal may be a link to elsewhere."""
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    directory.symlink_to(target)
    with pytest.raises(HostError, match="ours alone"):
        open_journal("wg0", directory)
    (target / "wg0.journal").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="cannot write"):
        open_journal("wg0", target)
    assert not (tmp_path / "elsewhere").exists()


def test_bad_name_never_becomes_a_path(directory: Path) -> None:
    """An interface name with a slash is refused."""
    with pytest.raises(HostError, match="bad interface name"):
        open_journal("../x", directory)


def test_full_disk_is_an_error(directory: Path) -> None:
    """A change that could not be written raises, so it is not made."""
    with open("/dev/full", "r+b", buffering=0) as full:
        journal = Journal(os.dup(full.fileno()), directory)
        with pytest.raises(HostError) as caught:
            journal.record(RemoveSocket("/a"))
        journal.close()
    assert caught.value.errno == errno.ENOSPC


def test_disk_that_does_not_sync_is_an_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change counts as written only when the disk says so."""
    journal = open_journal("wg0", directory)

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr("meshnode.host.journal.os.fsync", fail)
    with pytest.raises(HostError) as caught:
        journal.record(RemoveSocket("/a"))
    assert caught.value.errno == errno.EIO
    journal.close()


def test_run_directory_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MESHNODE_RUN_DIR moves it; unset or empty, it is below /run."""
    monkeypatch.setenv("MESHNODE_RUN_DIR", "/elsewhere")
    assert run_directory() == Path("/elsewhere")
    monkeypatch.setenv("MESHNODE_RUN_DIR", "")
    assert run_directory() == Path("/run/meshnode")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_error(data: bytes) -> None:
    """A spoilt journal gives fewer entries, never an exception."""
    assert len(parse_journal(data)) <= data.count(b"\n") + 1


def test_deep_nesting_is_skipped() -> None:
    """A line that exhausts the JSON parser is no entry."""
    assert parse_journal(b"[" * 100_000 + b'\n{"pid": 1}\n') == [{"pid": 1}]
