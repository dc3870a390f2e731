"""`meshnode dns`: names for people and scripts."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.cli.dns import names_line

Run = Callable[..., Any]
STATUS: dict[str, Any] = {
    "domain": "home.mesh",
    "resolver": True,
    "servers": ["10.77.0.1", "fd00::1"],
    "upstream": [],
    "manage": "auto",
    "by": "systemd-resolved",
    "takesAll": False,
    "problem": None,
}
FOUND: dict[str, Any] = {
    "name": "anna.home.mesh",
    "type": "A",
    "code": "NOERROR",
    "records": [
        {"name": "anna.home.mesh", "type": "A", "ttl": 60, "data": "10.77.0.1"}
    ],
}


def test_status_is_for_people(meshnode: Run, node: Any) -> None:
    """A line each."""
    node.answers["dns status"] = STATUS
    assert meshnode("dns", "status").out.splitlines() == [
        "names        NAME.home.mesh",
        "answered at  10.77.0.1, fd00::1",
        "other names  refused",
        "this host    found by systemd-resolved",
    ]


def test_status_is_for_scripts(meshnode: Run, node: Any) -> None:
    """Everything there is."""
    node.answers["dns status"] = STATUS
    told = json.loads(meshnode("dns", "status", "home", "--json").out)
    assert told.items() >= STATUS.items()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"resolver": False}, "not answered here"),
        (
            {"by": None, "problem": "why"},
            "not found by this host; ask with: dig @10.77.0.1 NAME.home.mesh (why)",
        ),
        (
            {"by": None, "manage": "off"},
            "this host is not told of them; ask with: dig @10.77.0.1 NAME.home.mesh",
        ),
        (
            {"by": "resolv.conf", "problem": "somebody else wrote it"},
            "found by resolv.conf (somebody else wrote it)",
        ),
    ],
)
def test_what_can_be_done_is_said(changes: dict[str, Any], line: str) -> None:
    """Where the host does not find the names."""
    assert names_line({**STATUS, **changes}) == line


def test_name_is_looked_up(meshnode: Run, node: Any) -> None:
    """A record a line, as dig has them."""
    node.answers["dns query"] = FOUND
    result = meshnode("dns", "query", "anna", "--type", "a")
    assert (result.code, result.out) == (0, "anna.home.mesh  60  A  10.77.0.1\n")
    assert node.of("dns query") == {"name": "anna", "type": "a"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("NXDOMAIN", "anna.home.mesh: there is no such name\n"),
        ("NOERROR", "anna.home.mesh: there is nothing of type A\n"),
        ("REFUSED", "anna.home.mesh: the resolver answers REFUSED\n"),
    ],
)
def test_nothing_ends_with_3(meshnode: Run, node: Any, code: str, said: str) -> None:
    """So that a script can ask."""
    node.answers["dns query"] = {**FOUND, "code": code, "records": []}
    result = meshnode("dns", "query", "anna")
    assert (result.code, result.out, result.err) == (3, "", said)
    result = meshnode("dns", "query", "anna", "--json")
    assert (result.code, json.loads(result.out)["code"], result.err) == (3, code, "")
