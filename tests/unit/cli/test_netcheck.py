"""`meshnode netcheck`: what the network lets through, for people and scripts."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.manage.api_client import RemoteError

ANSWER: dict[str, Any] = {
    "port": 51820,
    "udp": "works",
    "seen": "203.0.113.7:40000",
    "ipv6": ["2001:db8::7"],
    "nat": {
        "mapping": "another port for every destination",
        "ports": [40000, 41023],
        "preservesPort": False,
        "answers": 3,
        "hairpin": False,
        "letsIn": "whom was sent to",
        "lifetime": {"atLeast": 28.0, "below": 55.0},
    },
    "keepalive": 25,
    "portMappings": [{"router": "192.168.1.1:5351", "external": None}],
    "relays": [{"name": "gate", "rttMs": 12}],
}


def test_what_is_let_through_is_told(meshnode: Callable[..., Any], node: Any) -> None:
    """A line each."""
    node.answers["netcheck"] = ANSWER
    result = meshnode("netcheck")
    assert result.code == 0
    assert result.out.splitlines() == [
        "UDP      port 51820, works",
        "IPv4     others see us at 203.0.113.7:40000",
        "IPv6     2001:db8::7",
        "NAT      another port for every destination, ports 40000 to 41023, "
        "no hairpin, lets in whom was sent to, as 3 members saw it",
        "keep     25 s between keepalives, idle mappings live 28 to 55 s",
        "mapped   router 192.168.1.1:5351",
        "relay    gate, 12 ms",
    ]
    assert node.of("netcheck") == {}


def test_blocked_udp_ends_with_1(meshnode: Callable[..., Any], node: Any) -> None:
    """So that a script can ask; what is not known is said."""
    unknown = {
        "hairpin": None,
        "letsIn": None,
        "lifetime": {"atLeast": None, "below": None},
    }
    nat = {**ANSWER["nat"], "ports": None, "preservesPort": True, **unknown}
    changes = {"udp": "blocked", "seen": None, "ipv6": [], "nat": nat, "relays": []}
    node.answers["netcheck"] = {**ANSWER, **changes, "portMappings": []}
    result = meshnode("netcheck")
    assert result.code == 1
    assert result.out.splitlines() == [
        "UDP      port 51820, blocked",
        "IPv4     nobody has told yet how others see us",
        "IPv6     no address",
        "NAT      another port for every destination, our port is kept, "
        "as 3 members saw it",
        "keep     25 s between keepalives",
        "relay    none answers",
    ]


@pytest.mark.parametrize(
    ("lives", "dies", "said"),
    [
        (110.0, None, "idle mappings live 110 s or longer"),
        (None, 13.0, "idle mappings live less than 13 s"),
    ],
)
def test_the_life_of_mappings_may_be_known_from_one_side(
    meshnode: Callable[..., Any], node: Any, lives: Any, dies: Any, said: str
) -> None:
    """Longer than is of use, or shorter than can be helped."""
    lifetime = {"atLeast": lives, "below": dies}
    nat = {**ANSWER["nat"], "hairpin": True, "lifetime": lifetime, "letsIn": "anybody"}
    node.answers["netcheck"] = {**ANSWER, "nat": nat}
    result = meshnode("netcheck")
    assert f"keep     25 s between keepalives, {said}" in result.out
    assert (
        "ports 40000 to 41023, hairpins, lets in anybody, as 3 members saw it"
        in result.out
    )


def test_scripts_get_json(meshnode: Callable[..., Any], node: Any) -> None:
    """All of it."""
    node.answers["netcheck"] = ANSWER
    assert json.loads(meshnode("netcheck", "--json").out) == {"schema": 1, **ANSWER}


def test_a_real_node_gives_all_that_is_shown(
    meshnode: Callable[..., Any], gate: Any
) -> None:
    """Alone as it is."""
    result = meshnode("netcheck")
    assert result.code == 0
    assert "UDP      port 51820, not known yet" in result.out
    assert "relay    none answers" in result.out


def test_a_node_of_another_version_ends_with_1(
    meshnode: Callable[..., Any], node: Any
) -> None:
    """Its own words are the command's."""
    node.answers["netcheck"] = RemoteError("the node knows no 'netcheck'", 1)
    result = meshnode("netcheck")
    assert (result.code, result.out) == (1, "")
    assert "the node knows no 'netcheck'" in result.err
