"""`meshnode up`, `down`, `restart` and `reload`, over a network that only remembers."""

import importlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.errors import ConfigError, HostError
from meshnode.manage.paths import Directories
from meshnode.node.resources import Rootless, rootless

Run = Callable[..., Any]


class Networks:
    """Which networks are up; `done` is what was asked, in order."""

    def __init__(self) -> None:
        self.up: set[str] = set()
        self.locked: set[str] = set()
        self.done: list[str] = []
        self.broken: dict[str, Exception] = {}
        self.rootless: Rootless | None = None

    def is_up(self, network: str, directories: Directories) -> bool:
        """Stand for the function of that name."""
        return network in self.up

    def start(
        self,
        network: str,
        directories: Directories,
        *,
        foreground: bool,
        rootless: Rootless | None,
    ) -> int:
        """Stand for `start_network`."""
        self.rootless = rootless
        self.done.append(f"start {network}{' foreground' if foreground else ''}")
        if network in self.broken:
            raise self.broken[network]
        self.up.add(network)
        return 0

    def stop(self, network: str, directories: Directories) -> bool:
        """Stand for `stop_network`."""
        self.done.append(f"stop {network}")
        was_up = network in self.up
        self.up.discard(network)
        return was_up


@pytest.fixture
def networks(home: Any, monkeypatch: pytest.MonkeyPatch) -> Networks:
    """The network `home` is there, and down."""
    networks = Networks()
    running = importlib.import_module("meshnode.node.running")
    starting = importlib.import_module("meshnode.node.network")
    monkeypatch.setattr(running, "is_up", networks.is_up)
    monkeypatch.setattr(starting, "start_network", networks.start)
    monkeypatch.setattr(running, "stop_network", networks.stop)
    locks = importlib.import_module("meshnode.node.locks")
    monkeypatch.setattr(locks, "is_locked", lambda name: name in networks.locked)
    return networks


@pytest.fixture
def office(home: Any) -> None:
    """A second network of this host."""
    (home.parent / "office.toml").touch()


def test_a_network_comes_up(meshnode: Run, networks: Networks) -> None:
    """Named or not; once it is up it is left alone."""
    result = meshnode("up")
    assert (result.code, result.out, result.err) == (0, "", "")
    again = meshnode("up", "home")
    assert (again.code, again.err) == (0, "home is up already\n")
    assert networks.done == ["start home"]


def test_the_foreground_is_one_networks(
    meshnode: Run, networks: Networks, office: None
) -> None:
    """Of several it must be named."""
    assert meshnode("up", "-f").code == 2
    assert meshnode("up", "home", "--foreground").code == 0
    assert networks.done == ["start home foreground"]


def test_all_networks_come_up(meshnode: Run, networks: Networks, office: None) -> None:
    """The trouble of one does not keep the others down, and is the exit code."""
    networks.broken["home"] = HostError("the port is taken")
    result = meshnode("up")
    assert (result.code, result.err) == (1, "home: the port is taken\n")
    assert networks.up == {"office"}


def test_the_trouble_of_the_only_one_is_the_commands(
    meshnode: Run, networks: Networks
) -> None:
    """In one line."""
    networks.broken["home"] = ConfigError("bad port")
    result = meshnode("up", "home")
    assert (result.code, result.err) == (1, "meshnode: bad port\n")


def test_a_network_goes_down(meshnode: Run, networks: Networks) -> None:
    """One that was down is no error."""
    networks.up.add("home")
    assert meshnode("down").code == 0
    again = meshnode("down")
    assert (again.code, again.err) == (0, "home was not up\n")
    told = json.loads(meshnode("down", "home", "--json").out)
    assert told == {
        "schema": 1,
        "network": "home",
        "wasUp": False,
        "isLocked": False,
    }


def test_a_kill_switch_stays(meshnode: Run, networks: Networks) -> None:
    """The host is as if offline, so the remedy is said."""
    networks.up.add("home")
    networks.locked.add("home")
    assert meshnode("down").err == (
        "the kill switch of home stays, and nothing leaves this host; lift it: "
        "meshnode exit off -n home\n"
    )


def test_a_restart_is_both(meshnode: Run, networks: Networks) -> None:
    """Whether it was up or not."""
    assert meshnode("restart").code == 0
    assert networks.done == ["stop home", "start home"]


@pytest.mark.parametrize("command", ["up", "down", "restart", "reload"])
def test_an_unknown_network_ends_with_3(
    meshnode: Run, networks: Networks, command: str
) -> None:
    """Nothing is started or stopped."""
    assert meshnode(command, "office").code == 3
    assert networks.done == []


def test_a_host_without_networks_is_told_how_to_begin(
    meshnode: Run, directories: Directories
) -> None:
    """Exit code 3."""
    result = meshnode("up")
    assert result.code == 3
    assert "meshnode join" in result.err


def test_a_reload_tells_what_waits_for_a_restart(meshnode: Run, node: Any) -> None:
    """On standard error; as JSON for scripts."""
    node.answers["reload"] = {"restartNeeded": ["mtu", "table"]}
    result = meshnode("reload")
    assert (result.code, result.out) == (0, "")
    assert result.err.splitlines() == [
        "takes effect at the next start: mtu",
        "takes effect at the next start: table",
    ]
    told = json.loads(meshnode("reload", "--json").out)
    assert told["restartNeeded"] == ["mtu", "table"]


def test_a_node_comes_up_without_privileges(meshnode: Run, networks: Networks) -> None:
    """Only if that is asked for; with ports that are forwarded."""
    meshnode("up")
    assert networks.rootless is None
    options = ("--forward", "tcp:8080:10.77.0.1:80", "--publish", "udp:53:5353")
    assert meshnode("restart", "--rootless", *options).code == 0
    assert networks.rootless == rootless(["tcp:8080:10.77.0.1:80"], ["udp:53:5353"])
    refused = meshnode("restart", *options)
    assert (refused.code, "--rootless" in refused.err) == (2, True)
