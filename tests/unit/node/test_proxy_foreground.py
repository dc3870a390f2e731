"""Listeners in the foreground."""

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from meshnode.codec.proxy_link import PlannedListener, ProxyPlan
from meshnode.crypto import passwords
from meshnode.errors import ConfigError, HostError, UsageError
from meshnode.host.streams import open_listener
from meshnode.manage.proxy_text import ProxyListener
from meshnode.manage.users_file import make_hash, save_user
from meshnode.node.proxy_foreground import make_plan, serve_foreground
from meshnode.types import Endpoint, Prefix

LOCAL = ProxyListener(Endpoint("127.0.0.1", 1080))
STATUS: dict[str, Any] = {
    "network": "home",
    "name": "anna",
    "cidr": "10.77.0.0/16",
    "ula": "fd00::/48",
    "ipv4": "10.77.0.1",
    "ipv6": "fd00::1",
}
PEERS = [{"name": "bert", "ipv4": "10.77.0.2", "ipv6": "fd00::2"}]


def test_what_the_node_tells_is_planned() -> None:
    """Its own name too."""
    plan = make_plan([LOCAL], STATUS, PEERS)
    assert plan.network == "home"
    assert plan.overlay == (Prefix.parse("10.77.0.0/16"), Prefix.parse("fd00::/48"))
    assert [one.name for one in plan.members] == ["anna", "bert"]
    assert plan.listeners == (PlannedListener("127.0.0.1:1080", "mixed"),)


@pytest.mark.parametrize("text", ["bert", "10.77.0.2", "fd00::2"])
def test_exits(text: str) -> None:
    """By name if the node tells, by address in any case."""
    listener = ProxyListener(LOCAL.listen, exit=(text,))
    for peers in (PEERS, []):
        status = STATUS if peers else {}
        if text == "bert" and not peers:
            with pytest.raises(UsageError, match="give the exit's overlay address"):
                make_plan([listener], status, peers)
            continue
        [one] = make_plan([listener], status, peers).listeners
        host = "10.77.0.2" if text == "bert" else text
        assert one.exits == (Endpoint(host, 1080),)
    with pytest.raises(UsageError, match="no such member"):
        make_plan([ProxyListener(LOCAL.listen, exit=("rome",))], STATUS, PEERS)


def test_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their file must be there, and for its owner alone."""
    monkeypatch.setattr(passwords, "KIB", 8)
    listener = ProxyListener(LOCAL.listen, users_file=tmp_path / "users")
    with pytest.raises(ConfigError):
        make_plan([listener], {}, [])
    save_user(tmp_path / "users", "alice", make_hash(b"secret"))
    [one] = make_plan([listener], {}, []).listeners
    assert [user.name for user in one.users or ()] == ["alice"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Its Unix socket goes with it."""
    path = tmp_path / "socket"
    plan = ProxyPlan("home", (), (PlannedListener(f"unix:{path}", "mixed"),))
    found = []

    def ready() -> None:
        found.append(path.is_socket())
        os.kill(os.getpid(), number)

    serve_foreground(plan, ready)
    assert found == [True]
    assert not path.exists()


def test_nothing_is_served_if_something_cannot_be(tmp_path: Path) -> None:
    """A place that is taken, or a rule that is none."""
    path = tmp_path / "socket"
    good = PlannedListener(f"unix:{path}", "mixed")
    with open_listener(Endpoint("127.0.0.1", 0)) as taken:
        bad = PlannedListener(f"127.0.0.1:{taken.getsockname()[1]}", "mixed")
        with pytest.raises(HostError, match="is taken"):
            serve_foreground(ProxyPlan("home", (), (good, bad)), pytest.fail)
    assert not path.exists()
    bad = PlannedListener(f"unix:{path}", "mixed", allow=("a b",))
    with pytest.raises(HostError, match="'a b' is no host"):
        serve_foreground(ProxyPlan("home", (), (bad,)), pytest.fail)
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(HostError, match="already in use"):
            serve_foreground(ProxyPlan("home", (), (good,)), pytest.fail)
    assert path.exists()
