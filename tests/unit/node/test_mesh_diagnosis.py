"""The verbs `why` and `netcheck` over a node that is alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.manage.api_client import RemoteError
from tests.founded_node import PORT_MAPPING, RunningNode, directories_in, found_home


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    """The founder of `home`."""
    directories = directories_in(tmp_path)
    found_home(directories)
    running = RunningNode(directories)
    yield running
    running.close()


def test_netcheck_has_our_port_and_what_routers_map(node: RunningNode) -> None:
    """And that nothing is known of who sees us."""
    found = node.call(None, "home", "netcheck")
    assert json.loads(json.dumps(found)) == found
    assert (found["port"], found["udp"]) == (51820, "not known yet")
    assert found["portMappings"] == [PORT_MAPPING]
    assert (found["seen"], found["relays"]) == (None, [])


def test_why_tells_of_a_device_behind_us(node: RunningNode) -> None:
    """By name and by address; to ask sends nothing."""
    key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    node.call(None, "home", "peer add", name="phone", key=key)
    found = node.call(None, "home", "why", peer="phone")
    assert found["name"] == "phone"
    assert not found["isDirect"]
    assert "does not answer" in found["reason"]
    address = node.call(None, "home", "trace", to="phone")["to"]
    assert node.call(None, "home", "why", peer=address) == found


@pytest.mark.parametrize(
    ("verb", "args", "code", "problem"),
    [
        ("why", {"peer": "nobody"}, 3, "no member 'nobody'"),
        ("why", {"peer": "gate"}, 3, "this node itself"),
        ("why", {}, 1, "peer: is missing"),
        ("why", {"peer": "gate", "speed": 1}, 1, "no known key"),
        ("netcheck", {"peer": "gate"}, 1, "no known key"),
    ],
)
def test_wrong_questions(
    node: RunningNode, verb: str, args: dict[str, object], code: int, problem: str
) -> None:
    """Each with its exit code."""
    with pytest.raises(RemoteError, match=problem) as refused:
        node.call(None, "home", verb, **args)
    assert refused.value.exit_code == code
