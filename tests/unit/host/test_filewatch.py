"""Hearing that a file has gone."""

import os
import resource
import select
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import HostError
from meshnode.host.filewatch import FileWatch, parse_event_masks


def wakes(watch: FileWatch) -> bool:
    """Wait for the descriptor to become readable."""
    poll = select.poll()
    poll.register(watch.fileno(), select.POLLIN)
    return bool(poll.poll(5000))


def replace(path: Path) -> None:
    """Put another file in its place at once."""
    other = path.with_name("other")
    other.touch()
    other.rename(path)


def recreate(path: Path) -> None:
    """Delete it and make a new one, perhaps with the same inode number."""
    path.unlink()
    path.touch()


@pytest.mark.parametrize(
    "end",
    [Path.unlink, lambda path: path.rename(path.with_name("b")), replace, recreate],
    ids=["unlink", "rename", "replace", "recreate"],
)
def test_end_of_a_file_is_heard(tmp_path: Path, end: Callable[[Path], None]) -> None:
    """Deleting, moving and replacing all wake the watch, and stay known."""
    path = tmp_path / "a"
    path.touch()
    watch = FileWatch(path)
    assert not watch.is_gone()
    end(path)
    assert wakes(watch)
    assert watch.is_gone()
    assert watch.is_gone()
    watch.close()


def test_unlinking_a_bound_socket_is_heard(tmp_path: Path) -> None:
    """A socket that is still open keeps its inode, but its name has gone."""
    path = tmp_path / "wg0.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        watch = FileWatch(path)
        path.unlink()
        assert wakes(watch)
        assert watch.is_gone()
        watch.close()


def test_other_changes_are_no_end(tmp_path: Path) -> None:
    """A new mode wakes the watch, but the file is there."""
    path = tmp_path / "a"
    path.touch()
    watch = FileWatch(path)
    path.chmod(0o600)
    assert wakes(watch)
    assert not watch.is_gone()
    watch.close()
    watch.close()


def test_missing_file_is_an_error_and_leaks_nothing(tmp_path: Path) -> None:
    """What is not there cannot be watched."""
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError) as caught:
        FileWatch(tmp_path / "a")
    assert caught.value.errno == 2
    assert set(os.listdir("/proc/self/fd")) == before


def test_event_masks_are_read_past_the_names() -> None:
    """Events with and without a name follow each other."""
    data = struct.pack("=iIII4s", 1, 0x4, 0, 4, b"ab") + struct.pack(
        "=iIII", 1, 0x400, 0, 0
    )
    assert parse_event_masks(data) == [0x4, 0x400]


@given(st.binary(max_size=100))
def test_any_bytes_are_read_without_error(data: bytes) -> None:
    """Incomplete events are left out."""
    assert len(parse_event_masks(data)) <= len(data) // 16


def test_no_descriptor_left_is_an_error(tmp_path: Path) -> None:
    """A process at its limit of descriptors is told so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(HostError, match="Too many open files"):
            FileWatch(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
