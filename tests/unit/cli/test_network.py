"""`meshnode network`: founded, shown, listed."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from meshnode.cli.node_options import default_name
from meshnode.manage.identity import load_authority, load_identity
from meshnode.manage.identity_files import SealedSigningKey
from meshnode.manage.network_config import load_config
from meshnode.manage.paths import Directories

Run = Callable[..., Any]
CREATE = ("network", "create", "home", "--cidr", "10.77.0.0/16", "--name", "gate")


def test_a_network_is_founded(
    meshnode: Run, directories: Directories, passphrase_file: str
) -> None:
    """Keys, papers and configuration are there; the authority's key is sealed."""
    result = meshnode(
        *CREATE,
        *("--advertise", "gate.example.org:51820", "--listen-port", "4500"),
        *("--passphrase-file", passphrase_file),
    )
    assert result.code == 0
    assert "10.77.0.1" in result.out
    assert "meshnode up home" in result.err
    load_identity(directories.state_dir("home"))
    key = load_authority(directories.state_dir("home"))
    assert isinstance(key, SealedSigningKey)
    config = load_config(directories.config_file("home"))
    assert config.listen_port == 4500
    assert [str(place) for place in config.advertise] == ["gate.example.org:51820"]


def test_facts_are_json(meshnode: Run, directories: Directories) -> None:
    """For scripts."""
    told = json.loads(meshnode(*CREATE, "--no-passphrase", "--json").out)
    assert (told["network"], told["name"], told["ipv4"]) == (
        "home",
        "gate",
        "10.77.0.1",
    )
    shown = json.loads(meshnode("network", "show", "--json").out)
    assert (shown["network"], shown["cidr"]) == ("home", "10.77.0.0/16")
    lines = meshnode("network", "show").out.splitlines()
    assert lines[1].split() == ["network", "id", shown["networkId"]]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--no-passphrase", "--passphrase-file", "/x"], 2),
        ([], 2),  # no terminal to ask at
        (["--no-passphrase", "--cidr", "8.8.0.0/16"], 1),
        (["--no-passphrase", "--name", "No Name"], 1),
        (["--no-passphrase", "--advertise", "nowhere"], 1),
    ],
    ids=str,
)
def test_what_is_refused_founds_nothing(
    meshnode: Run, directories: Directories, options: list[str], code: int
) -> None:
    """Neither keys nor configuration."""
    result = meshnode(*CREATE, *options)
    assert (result.code, result.out) == (code, "")
    assert list(directories.state.iterdir()) == []
    assert list(directories.config.iterdir()) == []


def test_a_network_is_not_founded_twice(
    meshnode: Run, directories: Directories
) -> None:
    """The first one stays."""
    assert meshnode(*CREATE, "--no-passphrase").code == 0
    before = load_identity(directories.state_dir("home")).network_id
    again = meshnode(*CREATE, "--no-passphrase")
    assert again.code == 1
    assert "choose another name" in again.err
    assert load_identity(directories.state_dir("home")).network_id == before


def test_networks_are_listed_with_their_state(
    meshnode: Run, directories: Directories
) -> None:
    """Nobody answers here, so they are down."""
    assert meshnode("network", "list").out == "NETWORK  STATE\n"
    assert meshnode(*CREATE, "--no-passphrase").code == 0
    listed = meshnode("network", "list")
    assert listed.err == ""
    assert listed.out.splitlines()[1].split() == ["home", "down"]
    told = json.loads(meshnode("network", "list", "--json").out)
    assert told["networks"] == [{"name": "home", "isUp": False}]


def test_a_name_that_is_not_there_has_no_charter(
    meshnode: Run, directories: Directories
) -> None:
    """Exit code 3."""
    assert meshnode("network", "show").code == 3
    assert meshnode("network", "show", "-n", "office").code == 3


def test_the_hosts_name_is_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first part, in lower case."""
    name = SimpleNamespace(nodename="Gate.Example.ORG")
    monkeypatch.setattr("os.uname", lambda: name)
    assert default_name() == "gate"
