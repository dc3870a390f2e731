"""Start and stop the node of one network of this host."""

import time
import zlib
from pathlib import Path
from typing import Final

from meshnode.errors import ConfigError, HostError
from meshnode.manage.api_client import NotRunningError, call
from meshnode.manage.identity import load_identity
from meshnode.manage.network_config import NetworkConfig, load_config
from meshnode.manage.networks import known_networks
from meshnode.manage.paths import Directories
from meshnode.node.launch import Settings
from meshnode.node.resources import Opening
from meshnode.node.supervisor import run_interface

STOP_TIMEOUT: Final = 15.0
"""Seconds until a node that was told to stop must be gone."""

IN_TOUCH_TIMEOUT: Final = 6.0
"""Seconds until a node that has just joined should be in touch with others."""

_POLL: Final = 0.02
_FIRST_TABLE: Final = 10_900
_TABLES: Final = 90
_MARK: Final = 0x6D6E
"""One for all networks: no outer packet of any shall take a route into another."""


def table_of(network: str, config: NetworkConfig) -> int:
    """Return the routing table of *network*: configured, or drawn from its name."""
    if config.table is not None:
        return config.table
    return _FIRST_TABLE + zlib.crc32(network.encode()) % _TABLES


def fwmark_of(config: NetworkConfig) -> int:
    """Return the mark of a network's outer packets."""
    if config.fwmark is not None:
        return config.fwmark
    return _MARK


def start_network(network: str, directories: Directories, *, foreground: bool) -> int:
    """Start the node of *network*; return the exit code.

    Unless *foreground*, it returns once the overlay address can be used.

    Raises:
        ConfigError: if its configuration or identity cannot be used.
        HostError: naming what is in the way; nothing was changed.
    """
    config = load_config(directories.config_file(network))
    load_identity(directories.state_dir(network))
    _require_own_table(network, config, directories)
    settings = Settings(
        config.engine,
        config.log_level,
        directories,
        network=network,
        offloads=config.offload,
    )
    opening = Opening(
        port=config.listen_port,
        fwmark=fwmark_of(config),
        mtu=config.mtu,
        api=directories.api_socket(network),
        workers=config.workers,
    )
    return run_interface(
        config.interface, foreground=foreground, settings=settings, opening=opening
    )


def _require_own_table(
    network: str, config: NetworkConfig, directories: Directories
) -> None:
    """Check that no other network of this host uses our routing table."""
    table = table_of(network, config)
    for other in known_networks(directories.config):
        if other == network:
            continue
        try:
            theirs = table_of(other, load_config(directories.config_file(other)))
        except ConfigError:
            continue  # it cannot be started
        if theirs == table:
            raise ConfigError(
                f"routing table {table} is that of the network {other}, too: set "
                f"another `table` in {directories.config_file(network)}"
            )


def is_up(network: str, directories: Directories) -> bool:
    """Whether a node of *network* answers on this host."""
    try:
        call(directories, network, "hello")
    except NotRunningError:
        return False
    return True


def await_mesh(network: str, directories: Directories) -> bool:
    """Wait until the mesh knows the node and the node the mesh; return whether.

    It is worth waiting for at most `IN_TOUCH_TIMEOUT`: by then others are down.
    """
    give_up_at = time.monotonic() + IN_TOUCH_TIMEOUT
    while time.monotonic() < give_up_at:
        try:
            if call(directories, network, "hello")["isInTouch"]:
                return True
        except NotRunningError:
            return False
        time.sleep(_POLL)
    return False


def stop_network(network: str, directories: Directories) -> bool:
    """Stop the node of *network* and wait for its end; return whether it ran.

    Raises:
        HostError: if it does not end in time.
    """
    try:
        told = call(directories, network, "stop")
    except NotRunningError:
        return False
    process = Path(f"/proc/{told['pid']}")
    give_up_at = time.monotonic() + STOP_TIMEOUT
    while _runs(process):
        if time.monotonic() > give_up_at:
            raise HostError(
                f"the node of {network} was told to stop and is still there after "
                f"{STOP_TIMEOUT:g} s"
            )
        time.sleep(_POLL)
    return True


def _runs(process: Path) -> bool:
    """Whether a process has not ended; one nobody has collected yet has."""
    try:
        state = (process / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != b"Z"
