"""Carry the peers of a wg-quick file over into a network's configuration."""

from pathlib import Path
from typing import Any

from meshnode.codec.names import check_label
from meshnode.errors import ConfigError
from meshnode.manage.config_values import (
    NetworkConfig,
    WireguardPeer,
    with_wireguard_peer,
)
from meshnode.manage.network_config import edit_config
from meshnode.manage.paths import Directories
from meshnode.manage.secret_dir import create_secret_dir, open_secret_dir
from meshnode.manage.wg_config import WgConfig, WgPeer


def import_peers(
    config: WgConfig, name: str, network: str, directories: Directories
) -> dict[str, Any]:
    """Make each peer of *config* a `[[wireguard]]` entry of *network*.

    A peer is called as the comment above it says, else *name*, with a number if there
    are several. One that is configured already, by its key, keeps its name. Preshared
    keys go into files of their own in the state directory.

    Returns:
        `peers` with name, key and file of the preshared key; `oldKey`, the public
        key that the peers knew; `listenPort` and `addresses` of the old interface;
        `leftOut`, the keys that were not carried over.

    Raises:
        ConfigError: if *name* is none, or there is no peer; nothing was changed.
        HostError: if a file cannot be written.
    """
    check_label(name, "the name")
    if not config.peers:
        raise ConfigError("the file has no [Peer]")
    state_dir = directories.state_dir(network)
    entries: list[WireguardPeer] = []

    def change(current: NetworkConfig) -> NetworkConfig:
        names = _names(config.peers, name, current)
        for peer, called in zip(config.peers, names, strict=True):
            entry = WireguardPeer(
                name=called,
                public_key=peer.public_key,
                endpoint=peer.endpoint,
                allowed_ips=peer.allowed_ips,
                preshared_key_file=_keep_preshared_key(peer, called, state_dir),
                keepalive=peer.keepalive,
            )
            entries.append(entry)
            current = with_wireguard_peer(current, entry)
        return current

    edit_config(directories.config_file(network), change)
    private_key = config.private_key
    return {
        "peers": [
            {
                "name": entry.name,
                "key": str(entry.public_key),
                "presharedKeyFile": None
                if entry.preshared_key_file is None
                else str(entry.preshared_key_file),
            }
            for entry in entries
        ],
        "oldKey": None if private_key is None else str(private_key.public_key()),
        "listenPort": config.listen_port,
        "addresses": list(config.addresses),
        "leftOut": list(config.left_out),
    }


def _names(peers: tuple[WgPeer, ...], name: str, config: NetworkConfig) -> list[str]:
    """Return a name for each peer, none of them another's."""
    known = {peer.public_key: peer.name for peer in config.wireguard}
    keys = {peer.public_key for peer in peers}
    taken = {peer.name for peer in config.wireguard if peer.public_key not in keys}
    taken.update(known[key] for key in keys if key in known)
    names = []
    for peer in peers:
        called = known.get(peer.public_key)
        if called is None:
            called = _free(peer.name or name, taken, alone=len(peers) == 1)
            taken.add(called)
        names.append(called)
    return names


def _free(wanted: str, taken: set[str], *, alone: bool) -> str:
    if wanted not in taken:
        return wanted
    if alone:
        raise ConfigError(f"another WireGuard peer is called {wanted}: give --name")
    number = 2
    while f"{wanted[:58]}-{number}" in taken:
        number += 1
    return f"{wanted[:58]}-{number}"


def _keep_preshared_key(peer: WgPeer, name: str, state_dir: Path) -> Path | None:
    if peer.preshared_key is None:
        return None
    file = f"wireguard-{name}.psk"
    create_secret_dir(state_dir)
    with open_secret_dir(state_dir, for_change=True) as directory:
        directory.replace(file, f"{peer.preshared_key.to_base64()}\n".encode())
    return state_dir / file
