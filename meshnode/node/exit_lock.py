"""The full tunnel that a configuration wants, and its kill switch beside a node.

While a node runs, its host's plan has it in force (`meshnode.host.plan`). Before and
after that, the configuration alone says whether it stands.
"""

from meshnode.errors import ConfigError, MeshnodeError
from meshnode.host.lock import Lock, put_lock
from meshnode.hostplan import FullTunnel
from meshnode.manage.config_values import NetworkConfig
from meshnode.manage.network_config import load_config
from meshnode.manage.networks import known_networks
from meshnode.manage.paths import Directories
from meshnode.node.locks import is_locked, lift
from meshnode.node.reserved import fwmark_of


class NoSuchExitError(MeshnodeError):
    """No member of this name offers to be an exit."""

    exit_code = 3


def full_tunnel_of(config: NetworkConfig) -> FullTunnel | None:
    """Return what the configuration says of a full tunnel, None without an exit.

    What we announce to others stays outside, too: it is on our side of the tunnel.
    """
    if not config.exit.use:
        return None
    ours = [one.mapped or one.prefix for one in config.announced]
    lan = dict.fromkeys((*config.exit.lan, *(one for one in ours if one.length)))
    return FullTunnel(tuple(lan), config.exit.kill_switch)


def lock_early(network: str, config: NetworkConfig) -> None:
    """Put the kill switch in force if it is wanted; raises `HostError`."""
    full = full_tunnel_of(config)
    if full is not None and full.kill_switch:
        put_lock(Lock(network, config.interface, fwmark_of(config), full.lan))


def lift_unwanted(directories: Directories) -> list[str]:
    """Lift the kill switches that no configuration wants any more; say what was done.

    One whose configuration cannot be read stays: it may want it.

    Raises:
        HostError: if one is to be lifted and the kernel refuses.
    """
    done = []
    for network in known_networks(directories.config):
        try:
            full = full_tunnel_of(load_config(directories.config_file(network)))
        except ConfigError:
            continue
        if (full is None or not full.kill_switch) and is_locked(network):
            lift(network)
            done.append(f"lifted the kill switch of {network}")
    return done
