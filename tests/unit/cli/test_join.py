"""`meshnode join`: where the token comes from, and what is done with it."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.errors import MeshnodeError
from meshnode.manage.paths import Directories
from meshnode.node.resources import rootless

Run = Callable[..., Any]
JOINED = {
    "network": "home",
    "name": "laptop",
    "ipv4": "10.77.0.2",
    "ipv6": "fd00::2",
    "key": "k",
    "notAfter": 0,
}


class Joiner:
    """Remembers what was asked; `done` is in order."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.is_up = False
        self.error: Exception | None = None

    def by_token(self, text: str, options: Any, directories: Directories) -> Any:
        """Stand for `join_by_token`."""
        self.done.append(("token", text, options))
        if self.error is not None:
            raise self.error
        return JOINED

    def by_certificate(
        self, file: Path | None, options: Any, directories: Directories
    ) -> Any:
        """Stand for `join_by_certificate`."""
        self.done.append(("certificate", file, options))
        return JOINED

    def start(
        self, network: str, directories: Any, *, foreground: bool, rootless: Any
    ) -> int:
        """Stand for `start_network`."""
        self.done.append(("start", network, *([rootless] if rootless else [])))
        return 0


@pytest.fixture
def joiner(monkeypatch: pytest.MonkeyPatch, directories: Directories) -> Joiner:
    """Joining changes nothing; arguments are hidden by name only."""
    joiner = Joiner()
    module = importlib.import_module("meshnode.node.joiner")
    network = importlib.import_module("meshnode.node.network")
    title = importlib.import_module("meshnode.cli.title")
    monkeypatch.setattr(module, "join_by_token", joiner.by_token)
    monkeypatch.setattr(module, "join_by_certificate", joiner.by_certificate)
    monkeypatch.setattr(network, "start_network", joiner.start)
    running = importlib.import_module("meshnode.node.running")
    monkeypatch.setattr(running, "is_up", lambda *_: joiner.is_up)
    monkeypatch.setattr(title, "hide_arguments", lambda: joiner.done.append(("hide",)))
    return joiner


def test_a_token_is_hidden_used_and_the_node_started(
    meshnode: Run, joiner: Joiner
) -> None:
    """In this order: joining takes seconds."""
    result = meshnode("join", "mn1token")
    assert result.code == 0
    assert result.out == "joined home as laptop: 10.77.0.2  fd00::2\n"
    hidden, joined, started = joiner.done
    assert hidden == ("hide",)
    assert joined[:2] == ("token", "mn1token")
    assert started == ("start", "home")


@pytest.mark.parametrize("way", ["argument", "option", "file", "environment"])
def test_a_token_need_not_be_an_argument(
    meshnode: Run,
    joiner: Joiner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """Standard input, a file, the environment."""
    path = tmp_path / "token"
    path.write_text("mn1token")
    arguments = {
        "argument": ["-"],
        "option": ["--invite", "-"],
        "file": ["--invite", f"file:{path}"],
        "environment": [],
    }[way]
    if way == "environment":
        monkeypatch.setenv("MESHNODE_INVITE", "mn1token")
    result = meshnode("join", *arguments, "--no-up", stdin=b"mn1token")
    assert result.code == 0
    assert joiner.done[1][:2] == ("token", "mn1token")


def test_the_node_may_do_without_privileges(meshnode: Run, joiner: Joiner) -> None:
    """It is started so, with its ports."""
    options = ("--rootless", "--forward", "tcp:8080:80")
    assert meshnode("join", "mn1token", *options).code == 0
    assert joiner.done[-1] == ("start", "home", rootless(["tcp:8080:80"], []))


def test_options_are_passed_on(meshnode: Run, joiner: Joiner) -> None:
    """Every one."""
    meshnode(
        *("join", "mn1x", "--bootstrap", "a:1", "--bootstrap", "b:2", "--name", "n"),
        *("--listen-port", "0", "--interface", "mesh0", "--advertise", "c:3"),
        *("--accept-routes", "--timeout", "9", "--no-up"),
    )
    options = joiner.done[1][2]
    assert options.bootstrap == ("a:1", "b:2")
    assert (options.name, options.listen_port, options.interface) == ("n", 0, "mesh0")
    assert (options.advertise, options.accept_routes) == (("c:3",), True)
    assert options.timeout == 9.0
    assert ("start", "home") not in joiner.done


def test_a_certificate_takes_the_place_of_a_token(
    meshnode: Run, joiner: Joiner
) -> None:
    """Or neither, to name other places."""
    assert meshnode("join", "--certificate", "x.bundle").code == 0
    assert joiner.done[0][:2] == ("certificate", Path("x.bundle"))
    joiner.done.clear()
    assert meshnode("join", "--bootstrap", "a:1").code == 0
    assert joiner.done[0][:2] == ("certificate", None)


def test_one_way_is_enough(meshnode: Run, joiner: Joiner) -> None:
    """Two are wrong usage."""
    for arguments in (
        ["mn1x", "--invite", "mn1y"],
        ["mn1x", "--certificate", "y"],
        ["--invite", "mn1x", "--certificate", "y"],
    ):
        assert meshnode("join", *arguments).code == 2
    assert joiner.done == []


def test_a_node_that_is_up_is_left_alone(meshnode: Run, joiner: Joiner) -> None:
    """Joining again is harmless."""
    joiner.is_up = True
    told = json.loads(meshnode("join", "mn1x", "--json").out)
    assert told == {"schema": 1, **JOINED}
    assert ("start", "home") not in joiner.done


def test_an_error_has_its_exit_code_and_not_the_token(
    meshnode: Run, joiner: Joiner
) -> None:
    """Nothing is started."""

    class SilentError(MeshnodeError):
        exit_code = 4

    joiner.error = SilentError("the issuer did not answer")
    result = meshnode("join", "mn1secret")
    assert (result.code, result.out) == (4, "")
    assert result.err == "meshnode: the issuer did not answer\n"
    assert ("start", "home") not in joiner.done


def test_a_token_file_that_is_not_there(meshnode: Run, joiner: Joiner) -> None:
    """One line, exit code 1."""
    result = meshnode("join", "file:/nowhere/token")
    assert result.code == 1
    assert result.err == "meshnode: /nowhere/token: No such file or directory\n"
