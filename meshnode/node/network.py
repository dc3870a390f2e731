"""Start the node of one network of this host."""

from typing import Final

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
from meshnode.node.resources import Opening, Rootless
from meshnode.node.supervisor import run_attached, run_interface
from meshnode.types import Endpoint

_FIRST_FREE_PORT: Final = 1024
"""The first that a program needs no privilege for, where nobody has set another."""


def start_network(
    network: str,
    directories: Directories,
    *,
    foreground: bool,
    rootless: Rootless | None = None,
) -> int:
    """Start the node of *network*, perhaps *rootless*; return the exit code.

    Unless *foreground*, it returns once the overlay address can be used.

    Raises:
        ConfigError: if its configuration or identity cannot be used.
        HostError: naming what is in the way; nothing was changed.
    """
    interface, settings, opening = _prepare(network, directories, rootless)
    return run_interface(
        interface, foreground=foreground, settings=settings, opening=opening
    )


def start_attached(network: str, directories: Directories) -> None:
    """Start the rootless node of *network*, to end with this process.

    It returns once the overlay address can be used; errors as of `start_network`.
    """
    interface, settings, opening = _prepare(network, directories, Rootless())
    run_attached(interface, settings=settings, opening=opening)


def _prepare(
    network: str, directories: Directories, rootless: Rootless | None
) -> tuple[str, Settings, Opening]:
    config = load_config(directories.config_file(network))
    identity = load_identity(directories.state_dir(network))
    roles = decode_certificate(parse_envelope(identity.certificate).body).roles
    _require_own_table(network, config, directories)
    if rootless is not None and config.announced:
        raise ConfigError(
            f"a rootless node of {network} cannot announce prefixes, for it is no "
            "router: take them away (meshnode route remove), or run it as root"
        )
    settings = Settings(
        config.engine,
        config.log_level,
        directories,
        network=network,
        offloads=config.offload,
    )
    if rootless is None:
        # Before anything else: what the configuration wants is in force from now on.
        # A network of its own leads nowhere before the tunnel does.
        lock_early(network, config)
    opening = Opening(
        port=config.listen_port,
        fwmark=fwmark_of(config) if rootless is None else 0,
        mtu=config.mtu,
        api=directories.api_socket(network),
        workers=config.workers,
        tls=_rootless_tls(config, roles) if rootless else tls_places(config, roles),
        rootless=rootless,
    )
    return config.interface, settings, opening


def _rootless_tls(config: NetworkConfig, roles: Role) -> tuple[Endpoint, ...]:
    """Return where to serve by TLS: not at a privileged port unless that was said."""
    is_refused = config.tls.listen == "auto" and config.tls.port < _FIRST_FREE_PORT
    return () if is_refused else tls_places(config, roles)


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
