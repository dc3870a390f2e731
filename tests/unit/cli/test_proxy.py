"""`meshnode proxy`: listeners in the foreground, and those of the node."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.codec.proxy_link import ProxyPlan
from meshnode.node import proxy_foreground

STATUS = {
    "network": "home",
    "name": "anna",
    "cidr": "10.77.0.0/16",
    "ula": "fd00::/48",
    "ipv4": "10.77.0.1",
    "ipv6": "fd00::1",
}
PARIS = {"name": "paris", "ipv4": "10.77.0.2", "ipv6": "fd00::2"}
LISTED = {
    "listeners": [
        {
            "listen": "127.0.0.1:1080",
            "kind": "mixed",
            "exit": ["paris"],
            "isOpen": True,
            "clients": 3,
            "totalClients": 9,
            "refusedClients": 0,
            "sentBytes": 2048,
            "receivedBytes": 5,
        },
        {
            "listen": "unix:/run/x",
            "kind": "socks",
            "exit": [],
            "isOpen": False,
            "clients": 0,
            "totalClients": 0,
            "refusedClients": 0,
            "sentBytes": 0,
            "receivedBytes": 0,
        },
    ],
    "problems": ["unix:/run/x: in the way"],
}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ProxyPlan]:
    """The plans that would have been served."""
    plans: list[ProxyPlan] = []

    def serve(plan: ProxyPlan, on_ready: Callable[[], None]) -> None:
        plans.append(plan)
        on_ready()

    monkeypatch.setattr(proxy_foreground, "serve_foreground", serve)
    return plans


def test_in_the_foreground(
    meshnode: Callable[..., Any], node: Any, served: list[ProxyPlan]
) -> None:
    """With everything; it says where."""
    node.answers.update(status=STATUS, peers={"peers": [PARIS]})
    result = meshnode(
        *("proxy", "--listen", "127.0.0.1:1081", "--listen", "unix:/tmp/x"),
        *("--kind", "socks", "--exit", "paris", "--allow", "a.org", "--deny", "*:22"),
    )
    assert (result.code, result.err) == (0, "")
    assert (
        result.out == "serving socks at 127.0.0.1:1081\nserving socks at unix:/tmp/x\n"
    )
    for one in served[0].listeners:
        assert one.kind == "socks"
        assert [str(place) for place in one.exits or ()] == ["10.77.0.2:1080"]
        assert (one.allow, one.deny) == (("a.org",), ("*:22",))
    assert [one.name for one in served[0].members] == ["anna", "paris"]


def test_who_may_not_ask_the_node(
    meshnode: Callable[..., Any], node: Any, served: list[ProxyPlan]
) -> None:
    """An overlay address will do; a name will not, and it says why."""
    words = ("proxy", "--listen", "127.0.0.1:1081", "--exit")
    result = meshnode(*words, "10.77.0.2")
    assert result.code == 0
    assert result.err.startswith("names of members are not known: ")
    assert served[0].members == ()
    result = meshnode(*words, "paris")
    assert result.code == 2
    assert "give the exit's overlay address" in result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("proxy", "give --listen ADDRESS:PORT"),
        ("proxy --listen a.org:1", "--listen a.org:1: is not ADDRESS:PORT"),
        ("proxy --listen 0.0.0.0:1", "others could use it: give users_file"),
        ("proxy --kind ftp", "'ftp' is not one of"),
    ],
)
def test_wrong_usage(
    meshnode: Callable[..., Any], served: list[ProxyPlan], words: str, message: str
) -> None:
    """Exit code 2, and what to write."""
    result = meshnode(*words.split())
    assert result.code == 2
    assert message in result.err
    assert not served


def test_list(meshnode: Callable[..., Any], node: Any) -> None:
    """A table, or everything as JSON."""
    node.answers["proxy list"] = LISTED
    lines = meshnode("proxy", "list").out.splitlines()
    assert lines[0].split() == [
        *("LISTEN", "KIND", "EXIT", "CLIENTS", "SENT", "RECEIVED"),
    ]
    assert lines[1].split() == [
        *("127.0.0.1:1080", "mixed", "paris", "3", "2.0", "KiB", "5", "B"),
    ]
    assert "not open" in lines[2]
    assert lines[3] == "problem: unix:/run/x: in the way"
    told = json.loads(meshnode("proxy", "list", "--json").out)
    assert told == {"schema": 1, **LISTED}
