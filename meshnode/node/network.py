"""Start the node of one network of this host."""

from meshnode.errors import ConfigError
from meshnode.manage.identity import load_identity
from meshnode.manage.network_config import NetworkConfig, load_config
from meshnode.manage.networks import known_networks
from meshnode.manage.paths import Directories
from meshnode.node.launch import Settings
from meshnode.node.reserved import fwmark_of, table_of
from meshnode.node.resources import Opening
from meshnode.node.supervisor import run_interface


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
