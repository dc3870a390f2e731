"""Start the node of one network of this host."""

from meshnode.codec.record_bytes import decode_certificate, parse_envelope
from meshnode.codec.records import Role
from meshnode.errors import ConfigError
from meshnode.manage.identity import load_identity
from meshnode.manage.network_config import NetworkConfig, load_config
from meshnode.manage.networks import known_networks
from meshnode.manage.paths import Directories
from meshnode.node.exit_lock import lock_early
from meshnode.node.launch import Settings
from meshnode.node.reserved import fwmark_of, table_of
from meshnode.node.resources import Opening
from meshnode.node.supervisor import run_interface
from meshnode.types import Endpoint


def start_network(network: str, directories: Directories, *, foreground: bool) -> int:
    """Start the node of *network*; return the exit code.

    Unless *foreground*, it returns once the overlay address can be used.

    Raises:
        ConfigError: if its configuration or identity cannot be used.
        HostError: naming what is in the way; nothing was changed.
    """
    config = load_config(directories.config_file(network))
    identity = load_identity(directories.state_dir(network))
    roles = decode_certificate(parse_envelope(identity.certificate).body).roles
    _require_own_table(network, config, directories)
    settings = Settings(
        config.engine,
        config.log_level,
        directories,
        network=network,
        offloads=config.offload,
    )
    # Before anything else: what the configuration wants is in force from now on.
    lock_early(network, config)
    opening = Opening(
        port=config.listen_port,
        fwmark=fwmark_of(config),
        mtu=config.mtu,
        api=directories.api_socket(network),
        workers=config.workers,
        tls=tls_places(config, roles),
    )
    return run_interface(
        config.interface, foreground=foreground, settings=settings, opening=opening
    )


def tls_places(config: NetworkConfig, roles: Role) -> tuple[Endpoint, ...]:
    """Return where a node with these *roles* serves others by TLS."""
    listen, port = config.tls.listen, config.tls.port
    if listen == "auto":
        if not roles & (Role.RELAY | Role.RENDEZVOUS):
            return ()
        return (Endpoint("0.0.0.0", port), Endpoint("::", port))
    return () if listen == "off" else (Endpoint.parse(listen),)


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
