"""The values of a network's configuration, and the edits that commands make."""

import dataclasses
import ipaddress
import re
from pathlib import Path
from typing import Final

from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError, MeshnodeError
from meshnode.hostplan import DnsManager
from meshnode.manage.proxy_text import ProxyListener
from meshnode.offloads import UNFORCED, Offloads
from meshnode.steering import SteerRule
from meshnode.types import Endpoint, Prefix
from meshnode.values import frozen

DEFAULT_PORT: Final = 51820
DEFAULT_MTU: Final = 1420
TLS_PORT: Final = 443
CIPHER_CHOICES: Final = ("auto", "chacha20-poly1305")
LOG_LEVELS: Final = ("debug", "info", "warning", "error", "silent")

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    r"(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\.?",
    re.ASCII | re.IGNORECASE,
)


class NotConfiguredError(MeshnodeError):
    """The configuration has no such thing."""

    exit_code = 3


@frozen
class HostPort:
    """A numeric address or a host name, and a port of 1–65535."""

    host: str
    port: int

    @classmethod
    def parse(cls, value: str) -> "HostPort":
        """Read `HOST:PORT`, with `[ ]` around an IPv6 address; raises `ConfigError`."""
        host, colon, port = value.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        is_number = port.isascii() and port.isdigit() and len(port) <= 5
        if not colon or not is_number or not 1 <= int(port) <= 65535:
            raise ConfigError("is not HOST:PORT with a port of 1 to 65535")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            # What looks like a bad address is no name either: no name ends in a digit
            # after its last dot (RFC 1123, 2.1).
            looks_numeric = host.rstrip(".").rpartition(".")[2].isdigit()
            if bracketed or looks_numeric or not _HOST_NAME.fullmatch(host):
                raise ConfigError(
                    "is not HOST:PORT; write [ADDRESS]:PORT for IPv6"
                ) from None
            return cls(host.lower(), int(port))
        if bracketed != (address.version == 6) or "%" in host:
            raise ConfigError("is not HOST:PORT; write [ADDRESS]:PORT for IPv6")
        return cls(str(address), int(port))

    @property
    def is_numeric(self) -> bool:
        """Whether no name has to be resolved."""
        return ":" in self.host or self.host.rpartition(".")[2].isdigit()

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@frozen
class AnnouncedRoute:
    """A prefix of our LAN that we offer to carry traffic to.

    `metric` is 0–65535, lower first; `weight` 1–255. With `masquerade` the LAN sees
    our address. `mapped` is the LAN's real prefix where the mesh knows it as
    `prefix`; both are equally long.
    """

    prefix: Prefix
    metric: int = 100
    weight: int = 1
    masquerade: bool = True
    mapped: Prefix | None = None


@frozen
class WireguardPeer:
    """A stock WireGuard peer that was configured by hand.

    `preshared_key_file` is an absolute path, None for no key; `keepalive` is seconds,
    0 for off.
    """

    name: str
    public_key: PublicKey
    endpoint: HostPort | None = None
    allowed_ips: tuple[Prefix, ...] = ()
    preshared_key_file: Path | None = None
    keepalive: int = 0


@frozen
class TlsSettings:
    """The way out where UDP is blocked: the table `[tls]`.

    `listen` is where clients are served: "auto" (on all addresses, if we are relay or
    rendezvous), "off", or one address. `port` is that of others' servers, and ours
    with "auto". `proxy` is `http://…` or `socks5://…`, "environment" for what
    HTTPS_PROXY says, or "" for none; `proxy_password_file` an absolute path.
    """

    listen: str = "auto"
    port: int = TLS_PORT
    proxy: str = ""
    proxy_password_file: Path | None = None


@frozen
class ExitSettings:
    """Exit nodes: the table `[exit]`.

    `offer` lets members leave by this host, as far as its certificate goes; `use`
    names the exits that this host leaves by, the best first, none for its own way out.
    `lan` are prefixes that stay outside of the tunnel then, and `kill_switch` is
    whether nothing else does, whatever becomes of the node.
    """

    offer: bool = False
    use: tuple[str, ...] = ()
    lan: tuple[Prefix, ...] = ()
    kill_switch: bool = True


@frozen
class DnsSettings:
    """The names of the network: the table `[dns]`.

    `resolver` is whether they are answered at our overlay addresses; `manager` by what
    the host is told to ask there, and `search` whether it completes names without a
    dot. `upstream` are resolvers for all other names; none are the host's own.
    """

    resolver: bool = True
    manager: DnsManager = DnsManager.AUTO
    upstream: tuple[Endpoint, ...] = ()
    search: bool = True


@frozen
class NetworkConfig:
    """A whole NET.toml.

    `listen_port` 0 is a random one. `mtu` is bytes, for everybody; `max_mtu` those for
    members on a path that is proven to carry more, 0 for what our links do. `table` and
    `fwmark` are None where the node chooses. `cipher` is one of `CIPHER_CHOICES`.
    `accept_routes` is whether prefixes of others are used, or the prefixes inside which
    they are. `port_mapping` is whether routers are asked to forward our port,
    `lan_discovery` whether members on our links are looked for, `relay` whether we
    forward for others if our certificate has the role. `metrics` is where they are
    served, None for nowhere. `offload` limits the offloads: the table `[offload]`,
    whose keys are those of `offloads.CHOICES`. `workers` is how many processes carry
    packets in each direction. `tls` is the way out where UDP is blocked; `exit` says
    who leaves by whom, `dns` how names are found. `proxies` are the listeners for
    applications. `steer` says which traffic of this host goes where; the first rule
    that fits wins.
    """

    interface: str
    listen_port: int = DEFAULT_PORT
    advertise: tuple[HostPort, ...] = ()
    mtu: int = DEFAULT_MTU
    max_mtu: int = 0
    table: int | None = None
    fwmark: int | None = None
    engine: str = "reference"
    cipher: str = "auto"
    workers: int = 1
    log_level: str = "info"
    bootstrap: tuple[HostPort, ...] = ()
    port_mapping: bool = True
    lan_discovery: bool = True
    relay: bool = True
    accept_routes: bool | tuple[Prefix, ...] = False
    announced: tuple[AnnouncedRoute, ...] = ()
    wireguard: tuple[WireguardPeer, ...] = ()
    metrics: HostPort | None = None
    offload: Offloads = UNFORCED
    tls: TlsSettings = TlsSettings()
    exit: ExitSettings = ExitSettings()
    proxies: tuple[ProxyListener, ...] = ()
    dns: DnsSettings = DnsSettings()
    steer: tuple[SteerRule, ...] = ()


def with_announced(config: NetworkConfig, route: AnnouncedRoute) -> NetworkConfig:
    """Return *config* that announces *route*, in place of one to its prefix."""
    routes = {known.prefix: known for known in config.announced}
    routes[route.prefix] = route
    return dataclasses.replace(config, announced=tuple(routes.values()))


def without_announced(config: NetworkConfig, prefix: Prefix) -> NetworkConfig:
    """Return *config* without the route; raises `NotConfiguredError` if none is."""
    routes = tuple(route for route in config.announced if route.prefix != prefix)
    if len(routes) == len(config.announced):
        raise NotConfiguredError(f"{prefix} is not announced; see: meshnode route list")
    return dataclasses.replace(config, announced=routes)


def with_wireguard_peer(config: NetworkConfig, peer: WireguardPeer) -> NetworkConfig:
    """Return *config* with *peer*, in the place of one of the same name."""
    peers = {known.name: known for known in config.wireguard}
    peers[peer.name] = peer
    return dataclasses.replace(config, wireguard=tuple(peers.values()))


def without_wireguard_peer(config: NetworkConfig, name: str) -> NetworkConfig:
    """Return *config* without the peer; raises `NotConfiguredError` if none is."""
    peers = tuple(peer for peer in config.wireguard if peer.name != name)
    if len(peers) == len(config.wireguard):
        raise NotConfiguredError(f"no WireGuard peer {name!r} is configured")
    return dataclasses.replace(config, wireguard=peers)
