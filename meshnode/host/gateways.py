"""The routers of this host, and sockets to ask them by.

A router is who the main table's default routes lead to; our own table, and with it
whatever an exit gives us, is not looked at.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Collection
from typing import Final

from meshnode.host.addresses import local_addresses
from meshnode.host.ancillary import sockaddr_of
from meshnode.host.datagram import open_datagram_socket
from meshnode.host.netlink import MAIN_TABLE, routes_of
from meshnode.types import Endpoint, Path, Source

MAX_GATEWAYS: Final = 2
"""Of each version, in the order in which the kernel prefers them."""

MAX_CLIENTS: Final = 2
"""Addresses of ours that an IPv6 router is asked to let packets through to."""

_ALL_HOSTS: Final = "224.0.0.1"


def default_gateways(port: int, *, without: Collection[str], fwmark: int) -> list[Path]:
    """Return the way to each router's *port*, and from which of our addresses.

    *without* names interfaces whose addresses are not ours to map. IPv6 addresses are
    those that others may reach us by.

    Raises:
        HostError: if the kernel cannot be asked.
    """
    found: list[Path] = []
    counts = {4: 0, 6: 0}
    ours = local_addresses(without=without)
    for route in routes_of(MAIN_TABLE):
        version = route.prefix.version
        if route.prefix.length or not route.gateways or counts[version] >= MAX_GATEWAYS:
            continue
        counts[version] += 1
        host = route.gateways[0]
        is_link_local = ipaddress.ip_address(host).is_link_local
        scope_id = route.interface if version == 6 and is_link_local else 0
        router = Endpoint(host, port, scope_id)
        if version == 6:
            clients = [one for one in ours if ":" in one][:MAX_CLIENTS]
        else:
            clients = [one for one in _source_for(router, fwmark) if one in ours]
        found += [Path(router, Source(one, route.interface)) for one in clients]
    return list(dict.fromkeys(found))


def open_router_socket(path: Path, *, fwmark: int) -> socket.socket:
    """Return a non-blocking UDP socket from the path's source; raises `OSError`."""
    one = open_datagram_socket(path.remote.version, fwmark)
    try:
        if path.source is not None:
            one.bind(sockaddr_of(Endpoint(path.source.host, 0)))
    except OSError:
        one.close()
        raise
    return one


def open_router_news(port: int) -> list[socket.socket]:
    """Return sockets that hear what routers tell all hosts on *port*.

    One for each version of IP that the host has; others may listen beside us.
    """
    found = []
    # Every host is in the groups of all hosts; nobody has to join.
    for version, host in ((4, _ALL_HOSTS), (6, "")):
        with contextlib.suppress(OSError):
            one = open_datagram_socket(version, 0)
            try:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind((host, port))
            except OSError:
                one.close()
                raise
            found.append(one)
    return found


def _source_for(router: Endpoint, fwmark: int) -> list[str]:
    """Return the address the kernel would speak to *router* from, if it would."""
    with (
        contextlib.suppress(OSError),
        open_datagram_socket(router.version, fwmark) as one,
    ):
        one.connect(sockaddr_of(router))
        return [str(one.getsockname()[0])]
    return []
