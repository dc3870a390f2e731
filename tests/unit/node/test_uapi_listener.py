"""The socket of the userspace API: stale ones are replaced, living ones are not."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.errors import HostError
from meshnode.host.changes import RemoveSocket
from meshnode.host.journal import Journal, open_journal
from meshnode.node.uapi_listener import listen_uapi


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal of its own."""
    opened = open_journal("wg0", tmp_path / "run")
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket shall be."""
    return tmp_path / "wireguard" / "wg0.sock"


def test_the_socket_is_ours_alone_and_in_the_journal(
    path: Path, journal: Journal
) -> None:
    """Mode 0700 whatever the umask is; it can be connected to and undone."""
    with listen_uapi(path, journal) as listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert journal.pending() == [RemoveSocket(str(path))]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        assert not listener.getblocking()
        assert not listener.get_inheritable()


def test_the_umask_is_put_back(path: Path, journal: Journal) -> None:
    """Files made later are not narrowed by accident."""
    before = os.umask(0o022)
    try:
        listen_uapi(path, journal).close()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_a_stale_socket_is_replaced(path: Path, journal: Journal) -> None:
    """A file that nobody answers is no obstacle."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listen_uapi(path, journal), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_living_socket_is_left_alone(path: Path, journal: Journal) -> None:
    """Its owner goes on, and the message names a remedy; the journal is unmarked."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(str(path))
        owner.listen()
        with pytest.raises(HostError, match="choose another name") as refusal:
            listen_uapi(path, journal)
        assert refusal.value.errno == 98
        assert path.exists()
        assert journal.pending() == []


def test_what_is_no_socket_is_left_alone(path: Path, journal: Journal) -> None:
    """Somebody's file is not deleted."""
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(HostError, match="no socket"):
        listen_uapi(path, journal)
    assert path.read_text() == "precious"


def test_a_directory_that_cannot_be_made_is_named(
    tmp_path: Path, journal: Journal
) -> None:
    """The error says where."""
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot listen at"):
        listen_uapi(tmp_path / "file" / "wg0.sock", journal)
