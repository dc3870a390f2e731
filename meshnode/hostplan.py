"""What a node wants its host to look like: addresses, routes, rules of the firewall.

A `HostPlan` is whole: whoever carries it out changes what differs and no more, and a
plan applied twice changes nothing. All of it concerns one network and one interface.
"""

import enum

from meshnode.types import Prefix
from meshnode.values import frozen


@frozen
class Announced:
    """A prefix of our LAN that others reach through us.

    With `masquerade` the LAN sees our own address. `mapped` is the LAN's real prefix
    if it differs from `prefix`, the one the mesh knows; both are equally long.
    """

    prefix: Prefix
    masquerade: bool = True
    mapped: Prefix | None = None


class Transport(enum.Enum):
    """What a rule lets through; ANY is every protocol."""

    ANY = "any"
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


@frozen
class Service:
    """A protocol and, for TCP and UDP, ports `first`–`last` (0–0: all)."""

    transport: Transport
    first: int = 0
    last: int = 0


@frozen
class Allow:
    """Let new flows from any source to any destination pass, for these services."""

    sources: tuple[Prefix, ...]
    destinations: tuple[Prefix, ...]
    services: tuple[Service, ...]


@frozen
class Filter:
    """What may enter by the overlay interface; None in a plan is everything.

    Established flows and what they need (ICMP errors) always pass; the rest must
    match one of `allows`.
    """

    allows: tuple[Allow, ...]


@frozen
class Larger:
    """Where packets may be larger than everywhere else: sizes in bytes.

    `device` is the MTU of the interface, `routes` the addresses (prefixes of one each)
    that take so many.
    """

    device: int
    routes: tuple[tuple[Prefix, int], ...] = ()


@frozen
class FullTunnel:
    """All that leaves this host goes into the tunnel but what is for `lan`.

    With `kill_switch` the firewall sees to it, too, and goes on when the node is gone.
    """

    lan: tuple[Prefix, ...] = ()
    kill_switch: bool = True


@frozen
class HostPlan:
    """Everything at once.

    `addresses` are ours, as `ADDRESS/LENGTH` with the length of the network's own
    prefix; `routes` the accepted prefixes that lead into the tunnel; `forwards` says
    that packets pass from the overlay to somewhere else (LAN or stock members). `mtu`
    is what the tunnel carries to everybody; `larger` is None if to nobody more, and
    `narrower` are prefixes to which it is only so many bytes. `full_tunnel` is None
    if only `routes` lead into it.
    """

    network: str
    interface: str
    table: int
    fwmark: int
    mtu: int
    addresses: tuple[str, ...]
    routes: tuple[Prefix, ...] = ()
    announced: tuple[Announced, ...] = ()
    forwards: bool = False
    filter: Filter | None = None
    larger: Larger | None = None
    narrower: tuple[tuple[Prefix, int], ...] = ()
    full_tunnel: FullTunnel | None = None


class DnsManager(enum.Enum):
    """By what a host learns whom to ask for the network's names; values of NET.toml.

    AUTO is systemd-resolved where it runs, and nothing elsewhere.
    """

    AUTO = "auto"
    RESOLVED = "resolved"
    RESOLV_CONF = "resolv.conf"
    OFF = "off"


@frozen
class Dns:
    """Whom a host asks for which names, as far as one network is concerned.

    `servers` are numeric addresses, port 53, the best first; `domains` are asked for
    there, and with `searches` a name without a dot is looked for in the first;
    `takes_all` sends all other names there, too, and nowhere else.
    """

    network: str
    interface: str
    servers: tuple[str, ...]
    domains: tuple[str, ...]
    manager: DnsManager = DnsManager.AUTO
    searches: bool = True
    takes_all: bool = False


@frozen
class DnsState:
    """How a host's names are: `by` is what was told of them, "" for nothing.

    `problem` is why names of the network are not found, or not by everybody.
    """

    by: str = ""
    problem: str = ""
