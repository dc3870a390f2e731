"""Where an exit carries members' connections to: what is public, and what it announces.

Pure. Asked about every address that a name turned out to be, so that no name leads to
what its owner keeps for himself: this host, its links, its LANs, the mesh itself.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from meshnode.proxy.reach import members_may_reach
from meshnode.types import Prefix

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, text.split()))


_NOWHERE: Final = _networks("::/96 fec0::/10")
"""Prefixes that nobody has any more (RFC 4291, 2.5.5.1; RFC 3879)."""

_PRIVATE: Final = _networks(
    "10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.168.0.0/16 fc00::/7 64:ff9b:1::/48"
)
"""LANs of people, who did not ask for guests (RFC 1918, 4193, 6598, 8215)."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class ExitRules:
    """The rules of one exit.

    Args:
        own: this host's addresses, on whatever link.
        overlay: the prefixes of the mesh.
        announced: the prefixes that this member announces; a default route says
            nothing of LANs, and does not count.
    """

    def __init__(
        self,
        own: Iterable[str],
        overlay: Iterable[Prefix],
        announced: Iterable[Prefix],
    ) -> None:
        self._own = frozenset(map(ipaddress.ip_address, own))
        self._closed = (*_NOWHERE, *map(_network, overlay))
        self._announced = tuple(_network(one) for one in announced if one.length)

    def permits(self, address: Address) -> bool:
        """Whether a member may be connected to *address*."""
        within = _embedded(address)
        if within is not None:
            return self.permits(within)
        if not members_may_reach(address, own=self._own, closed=self._closed):
            return False
        return not _is_in(address, _PRIVATE) or _is_in(address, self._announced)


def is_beyond_host(address: Address) -> bool:
    """Whether *address* is neither of this host's loopback nor of its links."""
    within = _embedded(address)
    one = address if within is None else within
    return members_may_reach(one, own=(), closed=_NOWHERE)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that is meant by one of IPv6."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _network(prefix: Prefix) -> Network:
    return ipaddress.ip_network(str(prefix))


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
