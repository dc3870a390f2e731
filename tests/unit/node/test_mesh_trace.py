"""The verb `trace` over a node that is alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.manage.api_client import RemoteError
from tests.founded_node import RunningNode, directories_in, found_home


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    """The founder of `home`."""
    directories = directories_in(tmp_path)
    found_home(directories)
    running = RunningNode(directories)
    yield running
    running.close()


def test_ourselves(node: RunningNode) -> None:
    """A name is as good as an address."""
    found = node.call(None, "home", "trace", to="gate")
    assert found == node.call(None, "home", "trace", to="10.77.0.1")
    assert (found["from"], found["to"]) == ("10.77.0.1", "10.77.0.1")
    assert (found["prefix"], found["endsHere"]) == ("10.77.0.1/32", True)
    assert found["service"] == "icmp"
    assert (found["allowed"], found["rule"]) == (True, None)
    assert (found["obstacles"], found["owners"]) == ([], [])
    assert found["mtu"] == 1420


def test_a_device_behind_us(node: RunningNode) -> None:
    """It is its own owner; nobody has heard of it yet."""
    key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    node.call(None, "home", "peer add", name="phone", key=key)
    found = node.call(None, "home", "trace", to="phone", transport="tcp", port=443)
    assert found["service"] == "tcp:443"
    (owner,) = found["owners"]
    assert owner == {
        "name": "phone",
        "key": key,
        "metric": 0,
        "weight": 1,
        "answers": True,
        "hasSession": True,
        "endpoint": None,
    }


def test_from_somewhere_else(node: RunningNode) -> None:
    """The policy is asked about that source."""
    policy = 'default = "deny"\n[[rule]]\nfrom = "gate"\nto = "*"\nallow = "icmp"\n'
    node.call(None, "home", "policy apply", text=policy)
    assert node.call(None, "home", "trace", to="10.77.0.1")["rule"] == 1
    found = node.call(None, "home", "trace", to="10.77.0.1", **{"from": "10.77.9.9"})
    assert not found["allowed"]
    assert found["obstacles"] == ["the policy denies it at gate: no rule"]


def test_nowhere(node: RunningNode) -> None:
    """An address that nobody has."""
    found = node.call(None, "home", "trace", to="10.77.0.9")
    assert found["prefix"] is None
    assert found["obstacles"] == ["no member has the address 10.77.0.9"]
    six = node.call(None, "home", "trace", to="2001:db8::1")
    assert ":" in six["from"]


@pytest.mark.parametrize(
    ("args", "code", "problem"),
    [
        ({"to": "nobody"}, 3, "neither an address nor a member"),
        ({"to": "gate", "from": "nobody"}, 3, "neither an address nor a member"),
        ({"to": "gate", "transport": "tcp"}, 1, "need a port"),
        ({"to": "gate", "port": 80}, 1, "need a port"),
        ({"to": "gate", "transport": "gre"}, 1, "is none of"),
        ({"to": "10.77.0.1", "from": "2001:db8::1"}, 1, "both ends must be"),
        ({}, 1, "to: is missing"),
        ({"to": "gate", "speed": 1}, 1, "no known key"),
    ],
)
def test_wrong_questions(
    node: RunningNode, args: dict[str, object], code: int, problem: str
) -> None:
    """Each with its exit code."""
    with pytest.raises(RemoteError, match=problem) as refused:
        node.call(None, "home", "trace", **args)
    assert refused.value.exit_code == code
