"""`meshnode trace`: the answer of the node, for people and scripts."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.manage.api_client import RemoteError

ANSWER = {
    "from": "10.77.0.1",
    "to": "192.168.7.9",
    "service": "tcp:443",
    "prefix": "192.168.7.0/24",
    "endsHere": False,
    "isOutside": False,
    "killSwitch": True,
    "mtu": 1420,
    "owners": [
        {
            "name": "paris",
            "key": "x",
            "metric": 100,
            "weight": 2,
            "answers": True,
            "hasSession": True,
            "endpoint": "192.0.2.1:51820",
        },
        {
            "name": "rome",
            "key": "y",
            "metric": 200,
            "weight": 0,
            "answers": False,
            "hasSession": False,
            "endpoint": None,
        },
    ],
    "allowed": True,
    "rule": 2,
    "verdict": "allowed by rule 2",
    "obstacles": [],
}


@pytest.mark.parametrize("kill_switch", [True, False])
def test_an_exit_is_told(
    meshnode: Callable[..., Any], node: Any, kill_switch: bool
) -> None:
    """With what becomes of the packet otherwise."""
    changes = {"prefix": "0.0.0.0/0", "killSwitch": kill_switch}
    node.answers["trace"] = {**ANSWER, **changes}
    lines = meshnode("trace", "192.0.2.9").out.splitlines()
    assert (
        f"exit     {'no other way out' if kill_switch else 'no kill switch'}" in lines
    )


def test_what_stays_outside_is_told(meshnode: Callable[..., Any], node: Any) -> None:
    """The mesh has nothing to do with it."""
    changes = {"isOutside": True, "owners": []}
    node.answers["trace"] = {**ANSWER, **changes}
    assert meshnode("trace", "192.168.7.9").out.splitlines()[1:] == [
        "route    192.168.7.0/24, outside of the tunnel"
    ]


def test_a_way_is_told(meshnode: Callable[..., Any], node: Any) -> None:
    """Route, owners and verdict, a line each."""
    node.answers["trace"] = ANSWER
    result = meshnode("trace", "192.168.7.9", "--tcp", "443")
    assert result.code == 0
    assert result.out.splitlines() == [
        "tcp:443 from 10.77.0.1 to 192.168.7.9",
        "route    192.168.7.0/24, MTU 1420",
        "by       paris at 192.0.2.1:51820, in a session (metric 100, weight 2)",
        "by       rome, stands by (metric 200, weight 0)",
        "policy   allowed by rule 2",
    ]
    expected = {"to": "192.168.7.9", "transport": "tcp", "port": 443}
    assert node.of("trace") == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"transport": "icmp"}),
        (["--icmp"], {"transport": "icmp"}),
        (["--udp", "53"], {"transport": "udp", "port": 53}),
        (["--from", "rome"], {"transport": "icmp", "from": "rome"}),
    ],
)
def test_the_question_reaches_the_node(
    meshnode: Callable[..., Any], node: Any, options: list[str], expected: Any
) -> None:
    """As it was put."""
    node.answers["trace"] = ANSWER
    assert json.loads(meshnode("trace", "x", *options, "--json").out) == {
        "schema": 1,
        **ANSWER,
    }
    assert node.of("trace") == {"to": "x", **expected}


def test_what_stands_in_the_way_ends_with_1(
    meshnode: Callable[..., Any], node: Any
) -> None:
    """So that a script can ask whether a packet would arrive."""
    node.answers["trace"] = {
        **ANSWER,
        "prefix": None,
        "owners": [],
        "verdict": "denied: no rule",
        "obstacles": ["no member announces it", "the policy denies it: no rule"],
    }
    result = meshnode("trace", "192.168.7.9")
    assert result.code == 1
    assert result.out.splitlines()[1:] == [
        "route    none",
        "policy   denied: no rule",
        "problem  no member announces it",
        "problem  the policy denies it: no rule",
    ]


def test_what_is_ours_and_who_is_silent_are_told(
    meshnode: Callable[..., Any], node: Any
) -> None:
    """And a member without a session."""
    node.answers["trace"] = {**ANSWER, "endsHere": True, "owners": []}
    assert "which is this node's own" in meshnode("trace", "x").out
    owner = {**ANSWER["owners"][0], "hasSession": False}  # type: ignore[index]
    silent = {**owner, "answers": False}
    node.answers["trace"] = {**ANSWER, "owners": [owner, silent]}
    out = meshnode("trace", "x").out
    assert "after a handshake" in out
    assert "does not answer" in out


def test_one_kind_of_traffic_is_asked_about(
    meshnode: Callable[..., Any], node: Any
) -> None:
    """Two are wrong usage."""
    for options in (["--tcp", "1", "--udp", "1"], ["--icmp", "--tcp", "1"]):
        assert meshnode("trace", "x", *options).code == 2
    assert meshnode("trace", "x", "--tcp", "0").code == 2
    assert node.asked == []


def test_an_unknown_member_ends_with_3(meshnode: Callable[..., Any], node: Any) -> None:
    """The node's own exit code is the command's."""
    node.answers["trace"] = RemoteError("no such member", 3)
    assert meshnode("trace", "nobody").code == 3
