"""Starting and stopping the node of a network."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meshnode.errors import ConfigError, HostError
from meshnode.manage.api_client import NotRunningError
from meshnode.manage.config_values import NetworkConfig
from meshnode.manage.network_config import load_config, save_config
from meshnode.manage.paths import Directories
from meshnode.node import network
from meshnode.node.network import (
    fwmark_of,
    is_up,
    start_network,
    stop_network,
    table_of,
)
from tests.founded_node import directories_in, found_home


def test_table_and_mark_are_configured_or_drawn() -> None:
    """A name always draws the same table, outside of those of others."""
    drawn = NetworkConfig(interface="home")
    assert table_of("home", drawn) == table_of("home", drawn)
    assert 10_900 <= table_of("home", drawn) < 10_990
    assert fwmark_of(drawn) == 0x6D6E
    given = NetworkConfig(interface="home", table=7, fwmark=9)
    assert (table_of("home", given), fwmark_of(given)) == (7, 9)


def test_network_that_is_not_up_is_not_stopped(tmp_path: Path) -> None:
    """Its directories need not be there."""
    directories = Directories(tmp_path, tmp_path, tmp_path / "none", tmp_path)
    assert not is_up("home", directories)
    assert not stop_network("home", directories)


def test_node_that_nobody_collects_has_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its parent may be busy, and may be who waits for us."""
    node = subprocess.Popen([sys.executable, "-c", ""])
    try:
        monkeypatch.setattr(network, "call", lambda *_: {"pid": node.pid})
        monkeypatch.setattr(network, "STOP_TIMEOUT", 20.0)
        began = time.monotonic()
        assert stop_network("home", Directories(run=tmp_path))
        assert time.monotonic() - began < 15
    finally:
        node.wait(20)
    assert stop_network("home", Directories(run=tmp_path))


def test_node_that_stays_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here it is ourselves."""
    monkeypatch.setattr(network, "call", lambda *_: {"pid": os.getpid()})
    monkeypatch.setattr(network, "STOP_TIMEOUT", 0.05)
    with pytest.raises(HostError, match="still there"):
        stop_network("home", Directories(run=tmp_path))


def test_node_that_ends_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not up, then."""

    def ended(*_: object) -> None:
        raise NotRunningError("ended")

    monkeypatch.setattr(network, "call", ended)
    assert not is_up("home", Directories())
    assert not stop_network("home", Directories())


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
