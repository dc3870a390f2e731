"""Whether this host forwards packets between interfaces, and making it do so.

Turning IPv6 forwarding on makes Linux ignore router advertisements and drop the
default route it has from one (ip-sysctl, `accept_ra`), unless the interface says 2.
So interfaces that live by advertisements are told that first: a laptop that offers
its LAN must not lose its own IPv6.
"""

import socket

from meshnode.host import netlink, sysctl
from meshnode.host.changes import RestoreSysctl

_IPV4 = "net/ipv4/ip_forward"
_IPV6 = "net/ipv6/conf/all/forwarding"


def host_forwards() -> bool:
    """Whether the host forwards IPv4 or IPv6 now; raises `HostError`."""
    return any(sysctl.read(key) not in (None, "0") for key in (_IPV4, _IPV6))


def forwarding_changes() -> list[RestoreSysctl]:
    """Return what is to be set, in order, for the host to forward; [] if it does.

    Raises:
        HostError: if the kernel cannot be asked.
    """
    changes = []
    if sysctl.read(_IPV4) == "0":
        changes.append(RestoreSysctl(_IPV4, "0", "1"))
    if sysctl.read(_IPV6) == "0":
        for name in _advertised_interfaces():
            key = f"net/ipv6/conf/{name}/accept_ra"
            if sysctl.read(key) == "1":
                changes.append(RestoreSysctl(key, "1", "2"))
        changes.append(RestoreSysctl(_IPV6, "0", "1"))
    return changes


def _advertised_interfaces() -> list[str]:
    """Return the interfaces that have a route from a router advertisement."""
    names = dict(socket.if_nameindex())
    indices = {
        route.interface
        for route in netlink.routes_of(netlink.MAIN_TABLE)
        if route.protocol == netlink.ROUTER_ADVERTISEMENT
    }
    return sorted(names[index] for index in indices if index in names)
