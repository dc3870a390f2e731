"""Changes to the host: their journal form, and taking a socket file back."""

import socket
from pathlib import Path

import pytest

from meshnode.errors import HostError
from meshnode.host import netlink, nft, sysctl
from meshnode.host.changes import (
    Change,
    DeleteAddress,
    DeleteRoute,
    DeleteRule,
    DeleteTable,
    FlushRouteTable,
    RemoveSocket,
    RestoreSysctl,
    StopSteering,
    parse_change,
    serialise_change,
)
from meshnode.types import Prefix

CHANGES: list[Change] = [
    RemoveSocket("/run/wireguard/wg0.sock"),
    DeleteAddress("wg0", 7, "10.0.0.1/24"),
    DeleteRoute("10.0.0.0/24", 7, 254),
    FlushRouteTable(6100),
    DeleteRule(6, 0x6D65, 6100),
    DeleteTable("meshnode_office"),
    StopSteering("meshnode_office_steer", 0x6D730000, 0x6D730080, 2**32 - 128, 7, 8),
    RestoreSysctl("net/ipv4/ip_forward", "0", "1"),
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


@pytest.mark.parametrize(
    ("present", "expected"), [("1", "0"), ("0", "0"), ("2", "2"), (None, None)]
)
def test_variable_is_given_back_only_if_it_has_our_value(
    monkeypatch: pytest.MonkeyPatch, present: str | None, expected: str | None
) -> None:
    """Whoever set a third value since means it; a variable that went stays away."""
    values = {} if present is None else {"net/ipv4/ip_forward": present}
    monkeypatch.setattr(sysctl, "read", values.get)
    monkeypatch.setattr(sysctl, "write", values.__setitem__)
    change = RestoreSysctl("net/ipv4/ip_forward", "0", "1")
    done = change.undo()
    assert values.get("net/ipv4/ip_forward") == expected
    assert done == ("set net/ipv4/ip_forward to 0 again" if present == "1" else None)
    assert change.undo() is None


def test_only_our_routes_of_a_table_are_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Our mark, not the number of the table, makes a route ours."""
    prefix = Prefix.parse("10.0.0.0/8")
    ours = netlink.HostRoute(prefix, 7)
    routes = [ours, netlink.HostRoute(prefix, 7, protocol=4)]
    deleted: list[netlink.HostRoute] = []

    def change_routes(table: int, *, delete: list[netlink.HostRoute], add: object):  # type: ignore[no-untyped-def]
        assert table == 6100
        deleted.extend(delete)
        routes.remove(ours)

    monkeypatch.setattr(netlink, "routes_of", lambda table: routes)
    monkeypatch.setattr(netlink, "change_routes", change_routes)
    assert FlushRouteTable(6100).undo() == "emptied the routing table 6100"
    assert deleted == [ours]
    assert FlushRouteTable(6100).undo() is None


def test_rule_and_table_are_undone_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is gone already is nothing to tell."""
    answers = [True, False, True, False]
    monkeypatch.setattr(netlink, "delete_rule", lambda rule: answers.pop(0))
    monkeypatch.setattr(nft, "delete_table", lambda name: answers.pop(0))
    rule, table = DeleteRule(4, 7, 6100), DeleteTable("meshnode_office")
    assert rule.undo() == "deleted the IPv4 rule to the routing table 6100"
    assert rule.undo() is None
    assert table.undo() == "deleted the table meshnode_office"
    assert table.undo() is None
