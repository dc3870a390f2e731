"""`meshnode run`: what is the command's, and what is ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.node import guests

Run = Callable[..., Any]


@pytest.fixture
def ran(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was run: network, command and resolver."""
    done: list[Any] = []

    def run(network: str, directories: Any, command: Any, *, resolver: str) -> int:
        done.append((network, command, resolver))
        return 7

    monkeypatch.setattr(guests, "run_in_network", run)
    return done


def test_everything_after_the_dashes_is_the_commands(
    meshnode: Run, ran: list[Any]
) -> None:
    """Also options and further dashes; its exit code is ours."""
    words = ("curl", "--json", "-h", "--", "x")
    assert meshnode("run", "home", "--dns", "10.77.0.1", "--", *words).code == 7
    assert meshnode("run", "--", "true").code == 7
    assert ran == [("home", list(words), "10.77.0.1"), ("home", ["true"], "")]


@pytest.mark.parametrize(
    "words",
    [
        ("home",),
        ("home", "--"),
        ("home", "true"),
        ("home", "--dns", "web", "--", "true"),
        ("home", "--dns", "x\nnameserver 1.1.1.1", "--", "true"),
    ],
)
def test_what_is_not_clear_is_refused(
    meshnode: Run, ran: list[Any], words: tuple[str, ...]
) -> None:
    """With exit code 2, and nothing is run."""
    assert meshnode("run", *words).code == 2
    assert ran == []
