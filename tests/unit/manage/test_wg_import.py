"""Peers of a wg-quick file in a network's configuration."""

from pathlib import Path
from typing import Any

import pytest

from meshnode.crypto.keys import PresharedKey, PrivateKey
from meshnode.errors import ConfigError
from meshnode.manage.config_values import HostPort, NotConfiguredError
from meshnode.manage.network_config import load_config
from meshnode.manage.paths import Directories
from meshnode.manage.wg_config import WgConfig, WgPeer
from meshnode.manage.wg_import import import_peers
from meshnode.types import Prefix

OLD = PrivateKey(bytes(range(32)))
KEYS = [PrivateKey(bytes((n,)) * 32).public_key() for n in range(1, 6)]
PSK = PresharedKey(bytes(range(1, 33)))


@pytest.fixture
def places(tmp_path: Path) -> Directories:
    """A host with the network `home`."""
    for name in ("config", "state"):
        (tmp_path / name).mkdir(mode=0o700)
    directories = Directories(tmp_path / "config", tmp_path / "state")
    path = directories.config_file("home")
    path.write_text('# mine\n[node]\ninterface = "home"\n')
    path.chmod(0o600)
    return directories


def take(places: Directories, *peers: WgPeer, name: str = "wg0") -> dict[str, Any]:
    """Import *peers* and return the result."""
    config = WgConfig(OLD, 51820, ("10.0.0.1/24",), peers, ("dns",))
    return import_peers(config, name, "home", places)


def test_a_peer_becomes_an_entry(places: Directories) -> None:
    """With all it had; comments of the file stay."""
    peer = WgPeer(
        KEYS[0],
        "office",
        PSK,
        HostPort("vpn.example.org", 51820),
        (Prefix.parse("10.1.0.0/16"),),
        25,
    )
    result = take(places, peer)
    psk_file = places.state_dir("home") / "wireguard-office.psk"
    assert result == {
        "peers": [
            {"name": "office", "key": str(KEYS[0]), "presharedKeyFile": str(psk_file)}
        ],
        "oldKey": str(OLD.public_key()),
        "listenPort": 51820,
        "addresses": ["10.0.0.1/24"],
        "leftOut": ["dns"],
    }
    (entry,) = load_config(places.config_file("home")).wireguard
    assert (entry.name, entry.public_key, entry.keepalive) == ("office", KEYS[0], 25)
    assert entry.endpoint == HostPort("vpn.example.org", 51820)
    assert entry.allowed_ips == (Prefix.parse("10.1.0.0/16"),)
    assert entry.preshared_key_file == psk_file
    assert psk_file.read_text() == f"{PSK.to_base64()}\n"
    assert psk_file.stat().st_mode & 0o777 == 0o600
    text = places.config_file("home").read_text()
    assert text.startswith("# mine\n")
    assert PSK.to_base64() not in text


def test_peers_without_a_name_are_numbered(places: Directories) -> None:
    """The first has the plain name; a named one keeps its own."""
    take(places, WgPeer(KEYS[0]), WgPeer(KEYS[1], "paris"), WgPeer(KEYS[2]))
    names = [one.name for one in load_config(places.config_file("home")).wireguard]
    assert names == ["wg0", "paris", "wg0-2"]


def test_importing_again_changes_nothing_but_what_changed(places: Directories) -> None:
    """A peer is known by its key, whatever it is called by then."""
    take(places, WgPeer(KEYS[0]), WgPeer(KEYS[1]))
    take(places, WgPeer(KEYS[1], keepalive=9), WgPeer(KEYS[0]), name="other")
    entries = load_config(places.config_file("home")).wireguard
    assert {(one.name, one.public_key, one.keepalive) for one in entries} == {
        ("wg0", KEYS[0], 0),
        ("wg0-2", KEYS[1], 9),
    }


def test_a_name_that_another_peer_has_is_not_taken(places: Directories) -> None:
    """Nothing is overwritten."""
    take(places, WgPeer(KEYS[0]))
    with pytest.raises(ConfigError, match="called wg0: give --name"):
        take(places, WgPeer(KEYS[1]))
    assert len(load_config(places.config_file("home")).wireguard) == 1


@pytest.mark.parametrize("name", ["", "WG", "a b"])
def test_a_name_is_a_label(places: Directories, name: str) -> None:
    """Before anything is changed."""
    with pytest.raises(ConfigError, match="the name is not"):
        take(places, WgPeer(KEYS[0]), name=name)


def test_a_file_without_peers_is_refused(places: Directories) -> None:
    """It is probably the wrong one."""
    with pytest.raises(ConfigError, match=r"no \[Peer\]"):
        take(places)


def test_the_network_must_be_there(places: Directories) -> None:
    """Exit code 3, and no key is written."""
    places.config_file("home").unlink()
    with pytest.raises(NotConfiguredError):
        take(places, WgPeer(KEYS[0], preshared_key=PSK))
    assert list(places.state.iterdir()) == []
