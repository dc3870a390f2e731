"""The addresses of this host that others may reach it by, and when they change."""

import contextlib
import ipaddress
import socket
from collections.abc import Collection, Iterator
from typing import Any, Final

from meshnode.types import Source
from meshnode.values import frozen

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE (rtnetlink(7))."""

_IFA_F_TEMPORARY: Final = 0x01
_IFA_F_DADFAILED: Final = 0x08
_IFA_F_DEPRECATED: Final = 0x20
_IFA_F_TENTATIVE: Final = 0x40
_UNUSABLE: Final = (
    _IFA_F_TEMPORARY | _IFA_F_DADFAILED | _IFA_F_DEPRECATED | _IFA_F_TENTATIVE
)
_MULTICAST_UP: Final = 0x1000 | 0x1
"""IFF_MULTICAST and IFF_UP (netdevice(7))."""

_ARPHRD_ETHER: Final = 1
_READ_BYTES: Final = 65536
_READS: Final = 64


def local_addresses(*, without: Collection[str]) -> list[str]:
    """Return the unicast addresses of this host, IPv4 first, sorted.

    Loopback, link-local, temporary and deprecated ones are left out, and those of
    tunnels and of the interfaces named in *without*: what runs inside of a tunnel
    would carry us inside of it.
    """
    found = [
        one.address
        for one in _addresses(without)
        if not (one.address.is_loopback or one.address.is_link_local)
    ]
    return [str(a) for a in sorted(found, key=lambda a: (a.version, int(a)))]


def every_address() -> list[str]:
    """Return all addresses of this host, on whatever interface and in whatever state.

    Sorted, IPv4 first.
    """
    from pyroute2 import IPRoute

    found = set()
    with IPRoute() as ipr:
        for message in ipr.get_addr():
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            if text is not None:
                found.add(ipaddress.ip_address(text))
    return [str(a) for a in sorted(found, key=lambda a: (a.version, int(a)))]


def lan_links(*, without: Collection[str]) -> list[Source]:
    """Return our addresses on links that carry multicast, with their interfaces.

    IPv4 ones and IPv6 link-local ones, sorted; without loopback, tunnels and the
    interfaces named in *without*.
    """
    found = [
        Source(str(one.address), one.interface)
        for one in _addresses(without)
        if one.has_multicast
        and not one.address.is_loopback
        and (one.address.version == 4 or one.address.is_link_local)
    ]
    return sorted(found, key=lambda one: (one.interface, one.host))


@frozen
class _Address:
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    interface: int
    has_multicast: bool


def _addresses(without: Collection[str]) -> Iterator[_Address]:
    """Yield the usable addresses of all interfaces but tunnels and those named."""
    from pyroute2 import IPRoute

    with IPRoute() as ipr:
        links = {
            link["index"]: link
            for link in ipr.get_links()
            if link.get_attr("IFLA_IFNAME") not in without and not _is_tunnel(link)
        }
        for message in ipr.get_addr():
            flags = message.get_attr("IFA_FLAGS") or message["flags"]
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            link = links.get(message["index"])
            if link is None or text is None or flags & _UNUSABLE:
                continue
            yield _Address(
                ipaddress.ip_address(text),
                message["index"],
                link["flags"] & _MULTICAST_UP == _MULTICAST_UP,
            )


def _is_tunnel(link: Any) -> bool:
    """Whether the link is a VPN's; a TAP device, by its type Ethernet, may be none."""
    info = link.get_attr("IFLA_LINKINFO")
    kind = None if info is None else info.get_attr("IFLA_INFO_KIND")
    is_ethernet = link["ifi_type"] == _ARPHRD_ETHER
    return kind == "wireguard" or (kind == "tun" and not is_ethernet)


class AddressWatch:
    """Becomes readable when links, addresses or routes of this host change."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK,
            socket.NETLINK_ROUTE,
        )
        self._socket.bind((0, _GROUPS))

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def clear(self) -> None:
        """Read away what has come; what was lost in a flood is seen by listing."""
        for _ in range(_READS):
            try:
                self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # ENOBUFS: there were more than the buffer holds

    def close(self) -> None:
        """Stop watching."""
        with contextlib.suppress(OSError):
            self._socket.close()
