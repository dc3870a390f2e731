"""`meshnode exit`: edits, what is refused, and what is told."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.errors import PrivilegeError
from meshnode.manage.config_values import ExitSettings
from meshnode.manage.network_config import load_config
from meshnode.types import Prefix

Run = Callable[..., Any]
LAN = Prefix.parse("192.168.1.0/24")
BOTH = ["0.0.0.0/0", "::/0"]
STATE: dict[str, Any] = {
    "offers": False,
    "offered": [],
    "use": ["paris", "rome"],
    "inUse": "paris",
    "addresses": ["10.77.0.2", "fd00::2"],
    "routes": BOTH,
    "isHealthy": True,
    "lan": ["192.168.1.0/24"],
    "killSwitch": True,
    "exits": [
        {"name": "paris", "offers": BOTH, "isHealthy": True},
        {"name": "rome", "offers": BOTH[:1], "isHealthy": False},
        {"name": "oslo", "offers": BOTH, "isHealthy": True},
    ],
    "isInForce": True,
    "health": [],
}
UP: dict[str, Any] = {"exit": STATE, "reload": {"restartNeeded": []}}


@pytest.fixture(autouse=True)
def _not_by_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The networks whose kill switch stands."""
    names: set[str] = set()
    locks = importlib.import_module("meshnode.node.locks")
    monkeypatch.setattr(locks, "is_locked", lambda name: name in names)
    monkeypatch.setattr(locks, "lift", names.remove)
    return names


def test_use_is_written_and_followed(meshnode: Run, node: Any, home: Path) -> None:
    """Returning means that it is in force."""
    node.answers.update(UP)
    result = meshnode("exit", "use", "paris,rome", "--lan", "192.168.1.0/24")
    assert (result.code, result.out, result.err) == (0, "", "")
    wanted = ExitSettings(use=("paris", "rome"), lan=(LAN,))
    assert load_config(home).exit == wanted
    assert [verb for _, verb, _ in node.asked] == ["exit", "reload", "exit"]
    meshnode("exit", "use", "rome", "--no-kill-switch")
    wanted = ExitSettings(use=("rome",), lan=(LAN,), kill_switch=False)
    assert load_config(home).exit == wanted
    told = json.loads(meshnode("exit", "use", "paris", "--lan", "none", "--json").out)
    assert load_config(home).exit == ExitSettings(use=("paris",))
    assert (told["isUp"], told["inUse"]) == (True, "paris")


def test_whoever_sits_at_the_other_end_is_warned(
    meshnode: Run, node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is too late to read it: a flow that is there already is not known."""
    node.answers.update(UP)
    monkeypatch.setenv("SSH_CONNECTION", "198.51.100.7 50000 192.0.2.7 22")
    assert meshnode("exit", "use", "paris").err == (
        "a session by SSH from 198.51.100.7 may stall: connect again, or use --lan\n"
    )


def test_use_waits_for_a_node_that_is_down(
    meshnode: Run, node: Any, home: Path
) -> None:
    """The user knows when it counts."""
    result = meshnode("exit", "use", "anybody")
    assert result.code == 0
    assert result.err == "takes effect when home is up: meshnode up home\n"
    assert load_config(home).exit.use == ("anybody",)


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("berlin",), 3, "berlin does not offer to be an exit; see: meshnode exit"),
        ((",",), 2, "name an exit"),
        (("paris,paris",), 2, "use: names an exit twice"),
        (("Paris!",), 2, "'Paris!' is no member's name"),
        (("paris", "--lan", "192.168.1.1/24"), 2, "host bits"),
        (("paris", "--lan", "none", "--lan", "10.0.0.0/8"), 2, "either --lan none"),
    ],
)
def test_mistakes_change_nothing(
    meshnode: Run, node: Any, home: Path, words: tuple[str, ...], code: int, why: str
) -> None:
    """A name that is wrong would cut the host off."""
    node.answers.update(UP)
    result = meshnode("exit", "use", *words)
    assert result.code == code
    assert why in result.err
    assert load_config(home).exit == ExitSettings()


def test_what_is_not_in_force_is_an_error(meshnode: Run, node: Any) -> None:
    """With the reason that the node gives."""
    failing = {**STATE, "isInForce": False, "health": ["nft is missing"]}
    node.answers.update({**UP, "exit": [STATE, failing]})
    result = meshnode("exit", "use", "paris")
    assert (result.code, result.err.count("nft is missing")) == (1, 1)


def test_off_needs_no_node(
    meshnode: Run, node: Any, home: Path, locked: set[str]
) -> None:
    """The kill switch is lifted, and the LAN is remembered for the next time."""
    meshnode("exit", "use", "paris", "--lan", "192.168.1.0/24")
    locked.add("home")
    result = meshnode("exit", "off")
    assert (result.code, result.err) == (0, "")
    assert locked == set()
    assert load_config(home).exit == ExitSettings(lan=(LAN,))


def test_off_without_privilege_says_so(
    meshnode: Run, node: Any, locked: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 5: it still stands."""

    def refuse(network: str) -> None:
        raise PrivilegeError("not allowed to load firewall rules: run as root")

    locked.add("home")
    locks = importlib.import_module("meshnode.node.locks")
    monkeypatch.setattr(locks, "lift", refuse)
    assert meshnode("exit", "off").code == 5


def test_offering(meshnode: Run, node: Any, home: Path) -> None:
    """On and off; what the certificate lacks is a warning."""
    lacking = "our certificate does not make this node an exit: at an issuer: do it"
    node.answers.update({**UP, "exit": {**STATE, "health": [lacking, "else"]}})
    result = meshnode("exit", "offer")
    assert (result.code, result.err) == (0, f"warning: {lacking}\n")
    assert load_config(home).exit == ExitSettings(offer=True)
    meshnode("exit", "offer", "--off")
    assert load_config(home).exit == ExitSettings()


def test_status_of_a_node_that_is_up(
    meshnode: Run, node: Any, locked: set[str]
) -> None:
    """Who is used, what stays outside, and whether the kill switch stands."""
    locked.add("home")
    node.answers.update(UP)
    assert meshnode("exit", "status").out.splitlines() == [
        "offers       no",
        "exits        paris, rome",
        "in use       paris, answers",
        "carries      0.0.0.0/0, ::/0",
        "outside      192.168.1.0/24",
        "kill switch  wanted, in force",
    ]
    told = json.loads(meshnode("exit", "status", "--json").out)
    assert (told["isUp"], told["isLocked"]) == (True, True)


def test_status_of_a_node_that_is_down(
    meshnode: Run, node: Any, locked: set[str]
) -> None:
    """What the configuration says, and the kernel."""
    meshnode("exit", "use", "paris")
    locked.add("home")
    lines = meshnode("exit", "status").out.splitlines()
    assert "in use       none" in lines
    assert "kill switch  wanted, in force" in lines
    locked.clear()
    meshnode("exit", "off")
    assert meshnode("exit", "status").out.splitlines() == [
        "offers       no",
        "exits        none",
        "kill switch  not wanted, not in force",
    ]


def test_list_of_exits(meshnode: Run, node: Any) -> None:
    """All that offer, and what we make of each."""
    node.answers.update(UP)
    lines = [line.split() for line in meshnode("exit", "list").out.splitlines()]
    assert lines[1:] == [
        ["paris", "0.0.0.0/0,", "::/0", "in", "use", "yes"],
        ["rome", "0.0.0.0/0", "stands", "by", "no"],
        ["oslo", "0.0.0.0/0,", "::/0", "-", "yes"],
    ]
    told = json.loads(meshnode("exit", "list", "--json").out)
    assert told["exits"] == STATE["exits"]
    node.answers["exit"] = {**STATE, "exits": []}
    assert "no member offers" in meshnode("exit", "list").err
