"""Changes to the host: their journal form, and taking a socket file back."""

import socket
from pathlib import Path

import pytest

from meshnode.errors import HostError
from meshnode.host.changes import (
    Change,
    DeleteAddress,
    DeleteRoute,
    RemoveSocket,
    parse_change,
    serialise_change,
)

CHANGES: list[Change] = [
    RemoveSocket("/run/wireguard/wg0.sock"),
    DeleteAddress("wg0", 7, "10.0.0.1/24"),
    DeleteRoute("10.0.0.0/24", 7, 254),
]


@pytest.mark.parametrize("change", CHANGES)
def test_change_survives_the_round_trip(change: Change) -> None:
    """What is read from the journal equals what was written."""
    assert parse_change(serialise_change(change)) == change


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"change": "teapot"},
        {"change": "socket"},
        {"change": "socket", "path": 5},
        {"change": "socket", "path": "/x", "more": 1},
    ],
)
def test_unknown_change_is_refused(entry: dict[str, object]) -> None:
    """A change of another version is not guessed at."""
    with pytest.raises(HostError, match="another version"):
        parse_change(entry)


def test_dead_socket_is_removed_once(tmp_path: Path) -> None:
    """A socket file whose owner is gone goes; the second time nothing is left."""
    path = tmp_path / "wg0.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
    change = RemoveSocket(str(path))
    assert change.undo() == f"removed the socket {path}"
    assert not path.exists()
    assert change.undo() is None


def test_answered_socket_is_left_alone(tmp_path: Path) -> None:
    """A socket that somebody listens on is not ours any more."""
    path = tmp_path / "wg0.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert RemoveSocket(str(path)).undo() is None
    assert path.exists()


def test_full_queue_means_alive(tmp_path: Path) -> None:
    """A listener too busy to accept still counts as one."""
    path = tmp_path / "wg0.sock"
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as client,
    ):
        listener.bind(str(path))
        listener.listen(0)
        client.connect(str(path))
        assert RemoveSocket(str(path)).undo() is None
    assert path.exists()


def test_socket_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    """We never make datagram sockets, so a bound one is somebody else's."""
    path = tmp_path / "wg0.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        assert RemoveSocket(str(path)).undo() is None
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    """Only a socket is ever removed, and no symbolic link is followed."""
    path = tmp_path / "wg0.sock"
    if kind == "file":
        path.touch()
    elif kind == "directory":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as target:
            target.bind(str(tmp_path / "target"))
        path.symlink_to(tmp_path / "target")
    assert RemoveSocket(str(path)).undo() is None
    assert path.exists()


def test_missing_directory_is_no_error(tmp_path: Path) -> None:
    """Nothing is left to do where even the directory has gone."""
    assert RemoveSocket(str(tmp_path / "gone" / "wg0.sock")).undo() is None
