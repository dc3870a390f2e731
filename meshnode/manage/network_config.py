"""What the administrator decides about one network: the file NET.toml.

Nothing of a file with an error is used. Writing is atomic, and a command keeps the
comments of every section that it does not change (`toml_text`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from meshnode.errors import ConfigError
from meshnode.manage.config_text import parse_config, serialise_config
from meshnode.manage.config_values import (
    AnnouncedRoute,
    HostPort,
    NetworkConfig,
    NotConfiguredError,
    WireguardPeer,
    with_announced,
    with_wireguard_peer,
    without_announced,
    without_wireguard_peer,
)
from meshnode.manage.secret_dir import create_secret_dir, open_own_dir
from meshnode.manage.toml_text import merge_text

__all__ = [
    "MAX_CONFIG_BYTES",
    "AnnouncedRoute",
    "HostPort",
    "NetworkConfig",
    "NotConfiguredError",
    "WireguardPeer",
    "edit_config",
    "load_config",
    "parse_config",
    "save_config",
    "serialise_config",
    "with_announced",
    "with_wireguard_peer",
    "without_announced",
    "without_wireguard_peer",
]

MAX_CONFIG_BYTES: Final = 2**18
"""Of a configuration; several thousand prefixes fit."""


def load_config(path: Path) -> NetworkConfig:
    """Return the configuration in the file *path*, whose stem names the network.

    Raises:
        NotConfiguredError: if there is no such file.
        ConfigError: naming file, key and remedy; or if others can read the file.
        HostError: if the operating system refuses.
    """
    try:
        with open_own_dir(path.parent, for_change=False) as directory:
            data = directory.read(path.name, limit=MAX_CONFIG_BYTES)
    except FileNotFoundError:
        raise _not_there(path) from None
    return parse_config(data, path)


def save_config(path: Path, config: NetworkConfig) -> None:
    """Write *config* to the file *path*, atomically; the directory is made.

    A file that is there keeps its comments as far as possible.

    Raises:
        ConfigError: if *config* is not one that could be loaded again.
        HostError: if the operating system refuses; the old file stays.
    """
    create_secret_dir(path.parent)
    with open_own_dir(path.parent, for_change=True) as directory:
        try:
            old = directory.read(path.name, limit=MAX_CONFIG_BYTES)
        except FileNotFoundError:
            old = b""
        directory.replace(path.name, _rewritten(old, config, path))


def edit_config(
    path: Path, change: Callable[[NetworkConfig], NetworkConfig]
) -> NetworkConfig:
    """Apply *change* to the file *path*; no other edit comes in between.

    Returns:
        The new configuration, which is in the file.

    Raises:
        NotConfiguredError, ConfigError, HostError: as loading and saving.
    """
    try:
        with open_own_dir(path.parent, for_change=True) as directory:
            old = directory.read(path.name, limit=MAX_CONFIG_BYTES)
            config = change(parse_config(old, path))
            directory.replace(path.name, _rewritten(old, config, path))
    except FileNotFoundError:
        raise _not_there(path) from None
    return config


def _rewritten(old: bytes, config: NetworkConfig, path: Path) -> bytes:
    """Return the bytes of a file that loads as *config*, as like *old* as may be."""
    plain = serialise_config(config)
    if parse_config(plain.encode(), path) != config:
        raise ConfigError(f"{path}: the change cannot be written as configuration")

    def canonical(section: str) -> str | None:
        try:
            return serialise_config(parse_config(section.encode(), path))
        except ConfigError:
            return None

    merged = merge_text(old.decode("utf-8", "replace"), plain, canonical).encode()
    try:
        is_same = parse_config(merged, path) == config
    except ConfigError:
        is_same = False
    return merged if is_same else plain.encode()


def _not_there(path: Path) -> NotConfiguredError:
    return NotConfiguredError(
        f"{path} is not there: meshnode network create, or meshnode join"
    )
