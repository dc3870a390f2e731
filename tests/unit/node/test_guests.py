"""Commands in the mesh: whose node they use, and when it ends."""

from pathlib import Path
from typing import Any

import pytest

from meshnode.errors import HostError
from meshnode.manage.api_client import NotRunningError
from meshnode.manage.paths import Directories
from meshnode.node import guests, network
from meshnode.node.guests import run_in_network

SPACES = ["/proc/1/ns/user", "/proc/1/task/2/ns/net"]


class World:
    """What would happen; `told` is in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> None:
        self.told: list[str] = []
        self._answers = answers
        self.others: list[str] = ["bert"]
        self.status: dict[str, Any] = {}
        for module, name, function in (
            (guests, "call", self.call),
            (guests, "run_guest", self.run),
            (guests, "await_mesh", lambda *_: self.told.append("wait")),
            (guests, "stop_network", lambda *_: self.told.append("stop")),
            (network, "start_attached", lambda *_: self.told.append("start")),
        ):
            monkeypatch.setattr(module, name, function)

    def call(self, directories: Directories, name: str, verb: str) -> Any:
        """Stand for asking the node."""
        if verb == "peers":
            return {"peers": self.others}
        if verb == "status":
            return self.status
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"namespaces": answer}

    def run(self, spaces: Any, command: Any, *, resolver: str) -> int:
        """Stand for running a command."""
        assert list(spaces) == SPACES
        self.told.append(" ".join([*command, resolver]))
        return 7


def enter(world: World) -> int:
    """Run a command."""
    return run_in_network("home", Directories(), ["true"], resolver="10.77.0.1")


def test_a_node_that_runs_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes on after the command."""
    world = World(monkeypatch, [SPACES])
    assert enter(world) == 7
    assert world.told == ["true 10.77.0.1"]


def test_else_one_is_started_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mesh is waited for, unless there is nobody else in it."""
    gone = NotRunningError("home is not up")
    world = World(monkeypatch, [gone, SPACES])
    assert enter(world) == 7
    assert world.told == ["start", "wait", "true 10.77.0.1", "stop"]
    alone = World(monkeypatch, [gone, SPACES])
    alone.others = []
    enter(alone)
    assert alone.told == ["start", "true 10.77.0.1", "stop"]


def test_a_node_that_ends_at_once_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is not run elsewhere."""
    gone = NotRunningError("home is not up")
    world = World(monkeypatch, [gone, gone])
    with pytest.raises(HostError, match="ended just now"):
        enter(world)
    assert world.told[-1] == "stop"


def test_a_node_of_root_needs_no_entering(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its mesh is in the host's own network."""
    world = World(monkeypatch, [[]])
    with pytest.raises(HostError, match="run the command as it is"):
        enter(world)
    assert world.told == []


@pytest.mark.parametrize(
    ("dns", "resolver"),
    [
        (None, ""),
        ({"resolver": False, "servers": ["10.77.0.1"]}, ""),
        ({"resolver": True, "servers": []}, ""),
        ({"resolver": True, "servers": ["10.77.0.1", "fd00::1"]}, "10.77.0.1"),
    ],
)
def test_the_nodes_own_resolver_is_named(
    monkeypatch: pytest.MonkeyPatch, dns: Any, resolver: str
) -> None:
    """If there is one, and nobody asked for another."""
    world = World(monkeypatch, [SPACES])
    world.status = {"dns": dns}
    run_in_network("home", Directories(), ["true"], resolver="")
    assert world.told == [f"true {resolver}"]
