"""`meshnode status`, `peers` and `routes`, from what the node answers."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.manage.api_client import RemoteError

Run = Callable[..., Any]

STATUS: dict[str, Any] = {
    "network": "home",
    "cidr": "10.77.0.0/16",
    "name": "gate",
    "ipv4": "10.77.0.1",
    "ipv6": "fd00::1",
    "interface": "home",
    "mtu": 1420,
    "port": 51820,
    "engine": "fast",
    "workers": 2,
    "key": "k",
    "certificate": {"notAfter": 0},
    "groups": [],
    "roles": ["relay", "issuer"],
    "members": 3,
    "sessions": 1,
    "paths": {"direct": 1},
    "exit": {"offers": False, "use": []},
    "policy": 0,
    "receivedBytes": 2048,
    "sentBytes": 10,
    "drops": {"bad tag": 0, "no route": 7},
    "offload": {
        "udp-segmentation": {"state": "full", "setting": "auto", "lowered": 0},
        "tun-tcp": {"state": "full", "setting": "auto", "lowered": 0},
        "tun-udp": {"state": "full", "setting": "auto", "lowered": 0},
    },
    "health": [],
    "dns": {
        "domain": "home.mesh",
        "resolver": True,
        "servers": ["10.77.0.1", "fd00::1"],
        "upstream": [],
        "manage": "auto",
        "by": "systemd-resolved",
        "takesAll": False,
        "problem": None,
    },
    "candidates": [
        {"endpoint": "203.0.113.1:51820", "kind": "mapped"},
        {"endpoint": "192.168.7.5:51820", "kind": "local"},
    ],
}
EXIT: dict[str, Any] = {
    "offers": False,
    "use": ["paris", "rome"],
    "inUse": None,
    "isHealthy": False,
    "killSwitch": True,
}
PEER: dict[str, Any] = {
    "name": "paris",
    "ipv4": "10.77.0.2",
    "hasSession": True,
    "isSilent": False,
    "endpoint": "192.0.2.1:51820",
    "cipher": "aes-256-gcm",
    "mtu": 1420,
    "endpointKind": "published",
    "path": {
        "kind": "direct",
        "endpoint": "192.0.2.7:51820",
        "via": [],
        "rttMs": 40.0,
        "loss": 0.0,
        "standby": "relayed",
        "since": 1_800_000_000,
    },
    "receivedBytes": 1024,
    "sentBytes": 0,
    "groups": ["staff", "web"],
    "routes": ["10.1.0.0/16"],
    "offersExit": False,
    "isExitInUse": False,
    "roles": [],
}


def test_status_is_for_people(meshnode: Run, node: Any) -> None:
    """What is nothing is said to be nothing, or left out."""
    node.answers["status"] = {
        **STATUS,
        "certificate": {"notAfter": time.time() + 30 * 86400 + 60},
    }
    out = meshnode("status").out
    lines = dict(line.split("  ", 1) for line in out.splitlines())
    facts = {key: value.strip() for key, value in lines.items()}
    assert facts["network"] == "home (10.77.0.0/16)"
    assert facts["interface"].endswith("UDP port 51820, engine fast, workers 2")
    assert facts["certificate"] == "ends in 30 days"
    assert facts["groups"] == "none"
    assert facts["roles"] == "relay, issuer"
    assert facts["policy"] == "open"
    assert facts["offloads"] == "all in use"
    places = "203.0.113.1:51820 (mapped), 192.168.7.5:51820 (local)"
    assert facts["reached at"] == places
    assert facts["traffic"] == "2.0 KiB in, 10 B out"
    assert facts["dropped"] == "no route 7"
    assert "Health" not in out


def test_complaints_come_last(meshnode: Run, node: Any) -> None:
    """Each on a line of its own; an ended certificate is told as one."""
    node.answers["status"] = {
        **STATUS,
        "health": ["first", "second"],
        "policy": 3,
        "drops": {},
        "certificate": {"notAfter": time.time() - 3 * 3600},
    }
    out = meshnode("status").out
    assert out.endswith("\n# Health\n- first\n- second\n")
    assert "ended 3 h ago" in out
    assert "version 3" in out
    assert "dropped" not in out


def test_limited_offloads_are_told_with_their_cause(meshnode: Run, node: Any) -> None:
    """Configured, missing, and refused by the kernel while it ran."""
    offload = {
        "udp-segmentation": {"state": "off", "setting": "whole", "lowered": 1},
        "udp-coalescing": {"state": "full", "setting": "auto", "lowered": 0},
        "tun-tcp": {"state": "off", "setting": "off", "lowered": 0},
        "tun-udp": {"state": "off", "setting": "auto", "lowered": 0},
    }
    node.answers["status"] = {**STATUS, "offload": offload}
    assert (
        "udp-segmentation off (the kernel refused more), tun-tcp off (configured), "
        "tun-udp off (not in this kernel)\n"
    ) in meshnode("status").out


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"offers": True, "offered": ["0.0.0.0/0"], "use": []}, "offers 0.0.0.0/0"),
        (
            {**EXIT, "inUse": "paris", "isHealthy": True},
            "paris in use (of paris, rome; kill switch)",
        ),
        (
            {**EXIT, "inUse": "rome", "isHealthy": False, "killSwitch": False},
            "rome in use, does not answer (of paris, rome; no kill switch)",
        ),
        (EXIT, "none found (of paris, rome; kill switch)"),
    ],
)
def test_exit_is_told(
    meshnode: Run, node: Any, facts: dict[str, Any], text: str
) -> None:
    """By whom this host leaves, or that others leave by it."""
    node.answers["status"] = {**STATUS, "exit": facts}
    (line,) = [
        line for line in meshnode("status").out.splitlines() if line.startswith("exit ")
    ]
    assert line.removeprefix("exit").strip() == text


def test_exits_are_told_among_routes(meshnode: Run, node: Any) -> None:
    """In words: nobody looks for 0.0.0.0/0."""
    offers = {"routes": ["0.0.0.0/0", "::/0", "10.1.0.0/16"], "offersExit": True}
    peers = [{**PEER, **offers}, {**PEER, **offers, "isExitInUse": True}]
    node.answers["peers"] = {"peers": peers, "mtu": 1420}
    out = meshnode("peers").out
    assert "10.1.0.0/16,offers exit" in out
    assert "10.1.0.0/16,exit in use" in out


def test_status_is_json(meshnode: Run, node: Any) -> None:
    """All of it."""
    node.answers["status"] = STATUS
    told = json.loads(meshnode("status", "home", "--json").out)
    assert told == {"schema": 1, **STATUS}


@pytest.mark.parametrize(
    ("what", "health", "code"),
    [
        ("live", [], 0),
        ("live", ["x"], 0),
        ("ready", [], 0),
        ("ready", ["x"], 1),
    ],
)
def test_a_check_is_an_exit_code(
    meshnode: Run, node: Any, what: str, health: list[str], code: int
) -> None:
    """And nothing else."""
    node.answers["status"] = {**STATUS, "health": health}
    result = meshnode("status", "--check", what)
    assert (result.code, result.out, result.err) == (code, "", "")


def test_a_node_that_is_down_is_not_live(meshnode: Run, node: Any) -> None:
    """Exit code 1, and the way out."""
    for arguments in (["status", "--check", "live"], ["status"], ["peers"], ["routes"]):
        result = meshnode(*arguments)
        assert (result.code, result.out) == (1, "")
        assert "not up" in result.err


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "active"),
        ({"hasSession": False}, "idle"),
        ({"hasSession": False, "isSilent": True}, "silent"),
        ({"hasSession": False, "roles": ["stock"]}, "stock"),
    ],
)
def test_peers_are_a_table(
    meshnode: Run, node: Any, changes: dict[str, Any], state: str
) -> None:
    """With how each is reached."""
    node.answers["peers"] = {"peers": [{**PEER, **changes}], "mtu": 1420}
    head, row = meshnode("peers").out.splitlines()
    assert head.split() == [
        *("NAME", "ADDRESS", "STATE", "ENDPOINT", "PATH", "RX/TX"),
        *("GROUPS", "ROUTES", "CIPHER"),
    ]
    assert row.split() == [
        *("paris", "10.77.0.2", state, "192.0.2.1:51820", "direct", "40ms"),
        *("1.0", "KiB/0", "B"),
        *("staff,web", "10.1.0.0/16", "aes-256-gcm"),
    ]


def test_relays_are_told_where_there_is_one(meshnode: Run, node: Any) -> None:
    """Instead of an endpoint, by name."""
    path = {**PEER["path"], "kind": "relayed", "endpoint": None, "via": ["rome"]}
    node.answers["peers"] = {"peers": [{**PEER, "path": path}], "mtu": 1420}
    assert "via rome  relayed 40ms" in meshnode("peers").out


def test_peer_on_our_link_is_marked(meshnode: Run, node: Any) -> None:
    """It is spoken to directly, whatever is outside."""
    node.answers["peers"] = {"peers": [{**PEER, "endpointKind": "lan"}], "mtu": 1420}
    assert "192.0.2.1:51820 (lan)" in meshnode("peers").out


def test_larger_packets_are_told_where_there_are_any(meshnode: Run, node: Any) -> None:
    """Of all members, to compare."""
    usual = {**PEER, "name": "rome"}
    node.answers["peers"] = {"peers": [{**PEER, "mtu": 8920}, usual], "mtu": 1420}
    lines = meshnode("peers").out.splitlines()
    assert [line.split()[-1] for line in lines] == ["MTU", "8920", "1420"]


def test_only_active_peers_if_asked(meshnode: Run, node: Any) -> None:
    """As table and as JSON; nobody is said on standard error."""
    idle = {**PEER, "name": "rome", "hasSession": False}
    node.answers["peers"] = {"peers": [PEER, idle], "mtu": 1420}
    told = json.loads(meshnode("peers", "--active", "--json").out)
    assert [one["name"] for one in told["peers"]] == ["paris"]
    node.answers["peers"] = {"peers": []}
    nobody = meshnode("peers")
    assert nobody.out == ""
    assert "meshnode invite" in nobody.err


def test_routes_have_a_line_an_owner(meshnode: Run, node: Any) -> None:
    """Who carries it, who stands by, who is silent."""
    owner = {"metric": 1, "weight": 2, "healthy": True, "forwards": True}
    node.answers["routes"] = {
        "routes": [
            {
                "prefix": "10.1.0.0/16",
                "state": "accepted",
                "owners": [
                    {**owner, "name": "a"},
                    {**owner, "name": "b", "forwards": False},
                    {**owner, "name": "c", "forwards": False, "healthy": False},
                ],
            }
        ]
    }
    rows = [line.split() for line in meshnode("routes").out.splitlines()[1:]]
    assert rows == [
        ["10.1.0.0/16", "a", "1", "2", "yes", "accepted"],
        ["10.1.0.0/16", "b", "1", "2", "no", "accepted"],
        ["10.1.0.0/16", "c", "1", "2", "silent", "accepted"],
    ]
    assert len(json.loads(meshnode("routes", "--json").out)["routes"][0]["owners"]) == 3
    node.answers["routes"] = {"routes": []}
    assert meshnode("routes").out == ""


def test_the_nodes_exit_code_is_ours(meshnode: Run, node: Any) -> None:
    """And an unknown network is 3 before it is asked."""
    node.answers["peers"] = RemoteError("not allowed", 5)
    assert meshnode("peers").code == 5
    assert meshnode("peers", "office").code == 3
