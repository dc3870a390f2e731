"""`meshnode route`: announcing prefixes of a LAN."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.manage.config_values import AnnouncedRoute
from meshnode.manage.network_config import load_config
from meshnode.types import Prefix

LAN = Prefix.parse("192.168.7.0/24")


def test_a_route_is_added_while_the_node_is_down(
    meshnode: Callable[..., Any], node: Any, home: Path
) -> None:
    """The configuration has it, and the user knows when it counts."""
    result = meshnode("route", "add", "192.168.7.0/24")
    assert (result.code, result.out) == (0, "")
    assert result.err == "takes effect when home is up: meshnode up home\n"
    assert load_config(home).announced == (AnnouncedRoute(LAN),)


def test_a_route_is_added_with_everything(
    meshnode: Callable[..., Any], node: Any, home: Path
) -> None:
    """Said again it takes the place of the first; the node follows at once."""
    node.answers.update(reload={"restartNeeded": []}, status={"health": []})
    meshnode("route", "add", "192.168.7.0/24")
    result = meshnode(
        *("route", "add", "192.168.7.0/24", "--metric", "5", "--weight", "9"),
        *("--no-masquerade", "--map", "10.0.7.0/24", "--json"),
    )
    (entry,) = load_config(home).announced
    assert entry == AnnouncedRoute(LAN, 5, 9, False, Prefix.parse("10.0.7.0/24"))
    told = json.loads(result.out)
    assert told["isUp"]
    assert told["complaints"] == []
    assert told["routes"] == [
        {
            "prefix": "192.168.7.0/24",
            "metric": 5,
            "weight": 9,
            "masquerade": False,
            "map": "10.0.7.0/24",
        }
    ]
    assert [verb for _, verb, _ in node.asked] == ["reload", "status"] * 2


def test_what_the_certificate_forbids_is_a_warning(
    meshnode: Callable[..., Any], node: Any
) -> None:
    """In the words of the node, which name the remedy; others' troubles are not."""
    mine = (
        "our certificate does not allow 10.1.0.0/16, 192.168.7.0/24: not announced; at "
        "an issuer: meshnode cert grant gate --route"
    )
    other = "our certificate does not allow 192.168.77.0/24: not announced"
    node.answers.update(reload={}, status={"health": [mine, other]})
    result = meshnode("route", "add", "192.168.7.0/24")
    assert result.code == 0
    assert result.err == f"warning: {mine}\n"


def test_a_route_is_removed(
    meshnode: Callable[..., Any], node: Any, home: Path
) -> None:
    """Removing it again finds nothing: exit code 3."""
    meshnode("route", "add", "192.168.7.0/24")
    assert meshnode("route", "remove", "192.168.7.0/24").code == 0
    assert load_config(home).announced == ()
    again = meshnode("route", "remove", "192.168.7.0/24")
    assert again.code == 3
    assert "meshnode route list" in again.err


def test_routes_are_listed(meshnode: Callable[..., Any], node: Any) -> None:
    """From the configuration: the node need not be up."""
    assert meshnode("route", "list").out == ""
    meshnode("route", "add", "192.168.7.0/24", "--map", "10.0.7.0/24")
    assert meshnode("route", "list").out.splitlines() == [
        "PREFIX          METRIC  WEIGHT  MASQUERADE  LAN",
        "192.168.7.0/24  100     1       yes         10.0.7.0/24",
    ]
    (one,) = json.loads(meshnode("route", "list", "--json").out)["routes"]
    assert one["prefix"] == "192.168.7.0/24"


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "192.168.7.1/24"],
        ["add", "lan"],
        ["add", "10.0.0.0/8", "--map", "10.0.0.0/9"],
        ["add", "10.0.0.0/8", "--map", "fd00::/8"],
        ["add", "10.0.0.0/8", "--metric", "65536"],
        ["add", "10.0.0.0/8", "--weight", "0"],
        ["remove", "10.0.0.1/8"],
    ],
    ids=" ".join,
)
def test_wrong_usage_changes_nothing(
    meshnode: Callable[..., Any], node: Any, home: Path, arguments: list[str]
) -> None:
    """Exit code 2."""
    before = home.read_text()
    result = meshnode("route", *arguments)
    assert result.code == 2
    assert result.err
    assert home.read_text() == before


def test_a_host_without_networks_has_no_routes(
    meshnode: Callable[..., Any], directories: Any
) -> None:
    """Exit code 3."""
    assert meshnode("route", "list").code == 3
