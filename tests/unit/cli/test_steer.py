"""`meshnode steer`: what the node says, for people and scripts."""

import json
from collections.abc import Callable
from typing import Any

RULE = {
    "number": 1,
    "to": ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"],
    "domains": ["example.org"],
    "ports": ["tcp:443"],
    "users": ["alice"],
    "groups": ["/user.slice"],
    "via": "exit:paris",
}
COUNTED = {**RULE, "packets": 3, "bytes": 120, "learnt": {"192.0.2.1": 60}}
BARE = {
    **{key: [] for key in ("to", "domains", "ports", "users", "groups")},
    "number": 2,
    "via": "direct",
    "packets": 0,
    "bytes": 0,
    "learnt": {},
}


def test_rules_are_listed(meshnode: Callable[..., Any], node: Any) -> None:
    """A line each, and what is wrong below."""
    node.answers["steer list"] = {"rules": [COUNTED, BARE], "problems": ["no paris"]}
    result = meshnode("steer", "list")
    assert result.code == 0
    assert [line.split("  ") for line in result.out.splitlines()][-1] == [
        "problem",
        "no paris",
    ]
    assert (
        "to 192.0.2.0/24,198.51.100.0/24,203.0.113.0/24,+1 at tcp:443 of alice "
        "in /user.slice  exit:paris  3        120    1"
    ) in result.out
    assert "everything" in result.out
    result = meshnode("steer", "list", "--json")
    assert json.loads(result.out)["rules"][0] == COUNTED


def test_a_file_is_checked(meshnode: Callable[..., Any], node: Any) -> None:
    """Exit code 1 says that something is wrong."""
    answer = {"rules": [RULE], "problems": [], "isInForce": False}
    node.answers["steer check"] = answer
    result = meshnode("steer", "check")
    assert result.code == 0
    assert "not in force yet: meshnode reload" in result.out
    node.answers["steer check"] = {**answer, "problems": ["x"], "isInForce": True}
    result = meshnode("steer", "check")
    assert result.code == 1
    assert result.out.splitlines()[-1] == "problem  x"
    assert "not in force" not in result.out
    assert meshnode("steer", "check", "--json").code == 1


def test_a_node_that_is_down_is_said(meshnode: Callable[..., Any], node: Any) -> None:
    """One line, and the usual code."""
    result = meshnode("steer", "list")
    assert (result.code, result.out) == (1, "")
    assert result.err.count("\n") == 1
