"""`meshnode invite`: tokens made, listed and revoked."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.mesh.token import parse_token
from tests.founded_node import RunningNode

Run = Callable[..., Any]


def test_a_token_is_all_of_standard_output(meshnode: Run, gate: RunningNode) -> None:
    """So that it can be piped; for whom it is is said beside."""
    result = meshnode("invite")
    assert result.code == 0
    token = parse_token(result.out)
    assert token.network == "home"
    assert token.endpoints == ("gate.example.org:51820",)
    assert abs(token.expires - time.time() - 3600) < 60
    assert result.err == "for one host, within 60 min\n"


def test_everything_can_be_said(meshnode: Run, gate: RunningNode) -> None:
    """And is in the list; the token is not."""
    made = meshnode(
        *("invite", "--group", "staff", "--route", "10.1.0.0/16", "--role", "exit"),
        *("--reusable", "50", "--expires", "7d", "--lifetime", "30d", "--json"),
    )
    told = json.loads(made.out)
    listed = meshnode("invite", "list", "--json").out
    (one,) = json.loads(listed)["invites"]
    assert one["key"] == told["key"]
    assert (one["uses"], one["used"], one["state"]) == (50, 0, "open")
    assert (one["groups"], one["roles"]) == (["staff"], ["exit"])
    assert one["subnets"] == ["10.1.0.0/16"]
    assert told["token"] not in listed
    row = meshnode("invite", "list").out.splitlines()[1].split()
    assert row[:3] == [told["key"][:12], "open", "0/50"]


def test_a_qr_code_is_drawn_beside(meshnode: Run, gate: RunningNode) -> None:
    """Standard output stays the token."""
    result = meshnode("invite", "--qr", "--name", "printer")
    parse_token(result.out)
    assert len(result.err.splitlines()) > 15


def test_an_invite_is_revoked_by_its_beginning(
    meshnode: Run, gate: RunningNode
) -> None:
    """Which must be of one."""
    key = json.loads(meshnode("invite", "--json").out)["key"]
    assert meshnode("invite", "revoke", "!").code == 1
    assert meshnode("invite", "revoke", key[:12]).code == 0
    (one,) = json.loads(meshnode("invite", "list", "--json").out)["invites"]
    assert one["state"] == "revoked"


@pytest.mark.parametrize(
    "options",
    [
        ["--expires", "soon"],
        ["--reusable", "0"],
        ["--role", "king"],
        ["--network", "home", "--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_makes_no_invite(
    meshnode: Run, gate: RunningNode, options: list[str]
) -> None:
    """Exit code 2, nothing on standard output."""
    result = meshnode("invite", *options)
    assert (result.code, result.out) == (2, "")
    assert json.loads(meshnode("invite", "list", "--json").out)["invites"] == []


def test_a_name_is_for_one_host(meshnode: Run, gate: RunningNode) -> None:
    """The node refuses more."""
    result = meshnode("invite", "--name", "printer", "--reusable", "2")
    assert result.code == 1
    assert "for one if it gives a name" in result.err
