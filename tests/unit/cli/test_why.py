"""`meshnode why`: how a member is reached, for people and scripts."""

import json
from collections.abc import Callable
from typing import Any

from meshnode.manage.api_client import RemoteError

ATTEMPT = {
    "endpoint": "203.0.113.7:40000",
    "how": "told by the member",
    "openers": 1,
    "pings": 6,
    "milliseconds": None,
}
ANSWER: dict[str, Any] = {
    "name": "paris",
    "isDirect": False,
    "path": {"kind": "relayed", "endpoint": None, "via": ["gate"], "rttMs": 24.13},
    "reason": "a firewall on the way drops UDP",
    "remedies": ["let UDP port 51820 in", "give both sides IPv6"],
    "ours": {"mapping": "one port for all destinations", "ports": None},
    "theirs": {"mapping": "not seen yet", "ports": [2000, 2063]},
    "relays": [
        {"via": ["gate"], "isOpen": True, "rttMs": 23.7},
        {"via": ["rome", "oslo"], "isOpen": False, "rttMs": None},
    ],
    "attempts": [ATTEMPT, {**ATTEMPT, "how": "searched for", "milliseconds": 81.2}],
}


def test_a_relayed_member_has_reasons_and_remedies(
    meshnode: Callable[..., Any], node: Any
) -> None:
    """A line each; the exit code says that the path is not direct."""
    node.answers["why"] = ANSWER
    result = meshnode("why", "paris")
    assert result.code == 1
    assert result.out.splitlines() == [
        "paris: a firewall on the way drops UDP",
        "path     relayed by gate, 24.1 ms",
        "relay    gate, open, 24 ms",
        "relay    rome and oslo, asked for",
        "NAT      ours one port for all destinations",
        "NAT      theirs not seen yet, ports 2000 to 2063",
        "tried    203.0.113.7:40000 (told by the member): 6 probes, no answer",
        "tried    203.0.113.7:40000 (searched for): answered after 81 ms",
        "remedy   let UDP port 51820 in",
        "remedy   give both sides IPv6",
    ]
    assert node.of("why") == {"peer": "paris"}


def test_a_direct_member_ends_with_0(meshnode: Callable[..., Any], node: Any) -> None:
    """And has its endpoint; nothing has to be measured yet."""
    path = {"kind": "direct", "endpoint": "192.0.2.9:51820", "via": [], "rttMs": None}
    direct = {"isDirect": True, "path": path, "reason": "directly", "remedies": []}
    node.answers["why"] = {**ANSWER, **direct, "relays": [], "attempts": []}
    result = meshnode("why", "paris")
    assert result.code == 0
    assert result.out.splitlines()[:2] == [
        "paris: directly",
        "path     direct at 192.0.2.9:51820",
    ]


def test_who_is_not_reached_has_no_path(
    meshnode: Callable[..., Any], node: Any
) -> None:
    """The reason stands for it."""
    path = {"kind": "none", "endpoint": None, "via": [], "rttMs": None}
    node.answers["why"] = {**ANSWER, "path": path}
    result = meshnode("why", "paris")
    assert result.code == 1
    assert "path" not in result.out


def test_scripts_get_json(meshnode: Callable[..., Any], node: Any) -> None:
    """All of it, and the same exit code."""
    node.answers["why"] = ANSWER
    result = meshnode("why", "paris", "--json")
    assert json.loads(result.out) == {"schema": 1, **ANSWER}
    assert result.code == 1


def test_an_unknown_member_ends_with_3(meshnode: Callable[..., Any], node: Any) -> None:
    """The node's own exit code is the command's; without a peer it is wrong usage."""
    node.answers["why"] = RemoteError("no member 'nobody'", 3)
    assert meshnode("why", "nobody").code == 3
    assert meshnode("why").code == 2
