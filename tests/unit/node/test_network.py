"""Starting the node of a network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshnode.codec.records import Role
from meshnode.errors import ConfigError, HostError
from meshnode.manage.config_values import AnnouncedRoute, NetworkConfig, TlsSettings
from meshnode.manage.network_config import load_config, save_config
from meshnode.node import network
from meshnode.node.network import start_attached, start_network, tls_places
from meshnode.node.reserved import table_of
from meshnode.node.resources import Rootless
from meshnode.types import Prefix
from tests.founded_node import directories_in, found_home


def test_two_networks_never_share_a_routing_table(tmp_path: Path) -> None:
    """The end of one would take the routes of the other with it."""
    directories = directories_in(tmp_path)
    found_home(directories)
    table = table_of("home", load_config(directories.config_file("home")))
    other = NetworkConfig(interface="other", table=table)
    save_config(directories.config_file("other"), other)
    with pytest.raises(ConfigError, match="is that of the network other"):
        start_network("home", directories, foreground=True)
    save_config(directories.config_file("broken"), other)
    directories.config_file("broken").write_text("rubbish")
    save_config(directories.config_file("other"), NetworkConfig("other", table=7))
    network._require_own_table(
        "home", load_config(directories.config_file("home")), directories
    )


@pytest.mark.parametrize(
    ("listen", "roles", "places"),
    [
        ("auto", Role.NONE, []),
        ("auto", Role.RELAY, ["0.0.0.0:8443", "[::]:8443"]),
        ("auto", Role.RENDEZVOUS | Role.EXIT, ["0.0.0.0:8443", "[::]:8443"]),
        ("off", Role.RELAY, []),
        ("192.0.2.1:443", Role.NONE, ["192.0.2.1:443"]),
    ],
)
def test_who_serves_tls(listen: str, roles: Role, places: list[str]) -> None:
    """Relays and rendezvous, and who is told to."""
    config = NetworkConfig("home", tls=TlsSettings(listen, 8443))
    assert [str(one) for one in tls_places(config, roles)] == places


def test_a_rootless_node_is_no_router_and_has_no_privileged_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It carries no mark either; everything else is as it is configured."""
    directories = directories_in(tmp_path)
    found_home(directories)
    openings = []

    def run(interface: str, *, settings: Any, opening: Any) -> None:
        openings.append(opening)

    monkeypatch.setattr(network, "run_attached", run)
    start_attached("home", directories)
    (opening,) = openings
    assert (opening.fwmark, opening.tls) == (0, ())
    assert opening.rootless == Rootless()
    file = directories.config_file("home")
    config = load_config(file)
    prefix = AnnouncedRoute(Prefix.parse("192.168.1.0/24"))
    save_config(file, replace(config, announced=(prefix,)))
    with pytest.raises(ConfigError, match="no router"):
        start_attached("home", directories)


def test_nothing_is_started_before_the_kill_switch_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it cannot be put in force, nothing is started at all."""
    directories = directories_in(tmp_path)
    found_home(directories)
    order: list[str] = []
    monkeypatch.setattr(
        network, "lock_early", lambda name, config: order.append(f"lock {name}")
    )

    def run(name: str, **rest: object) -> int:
        order.append(f"run {name}")
        return 0

    monkeypatch.setattr(network, "run_interface", run)
    assert start_network("home", directories, foreground=True) == 0
    assert order == ["lock home", "run home"]

    def refuse(name: str, config: NetworkConfig) -> None:
        raise HostError("nft is missing")

    monkeypatch.setattr(network, "lock_early", refuse)
    with pytest.raises(HostError, match="nft is missing"):
        start_network("home", directories, foreground=True)
    assert order == ["lock home", "run home"]
