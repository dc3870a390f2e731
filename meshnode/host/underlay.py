"""How large packets the links of this host carry, for tunnels that go over them."""

import fcntl
import socket
import struct
from collections.abc import Iterable
from typing import Final

from meshnode.values import frozen

OVERHEAD: Final = 80
"""Bytes around an inner packet at most: IPv6, UDP and WireGuard's type 4."""

_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFMTU: Final = 0x8921
_SIOCGIFHWADDR: Final = 0x8927
_IFF_UP: Final = 0x1
_ETHERNET: Final = 1
_IFREQ = struct.Struct("=16si20x")
_IFREQ_SHORT = struct.Struct("=16sH22x")


@frozen
class Underlay:
    """One link: MTU in bytes, and whether it is up.

    Loopback and tunnels of IP packets, ours and others', are no Ethernet.
    """

    name: str
    mtu: int
    is_up: bool
    is_ethernet: bool


def links_of_host() -> list[Underlay]:
    """Return the links of the calling thread's network namespace.

    Raises:
        OSError: if the kernel cannot be asked.
    """
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            try:
                found.append(_read_link(any_socket, name))
            except OSError:
                continue  # it went meanwhile
    return found


def largest_inner(links: Iterable[Underlay]) -> int:
    """Return how large a packet fits into the widest of *links*, 0 if there is none."""
    mtus = [link.mtu for link in links if link.is_up and link.is_ethernet]
    return max([mtu - OVERHEAD for mtu in mtus], default=0)


def _read_link(any_socket: socket.socket, name: str) -> Underlay:
    request = _IFREQ.pack(name.encode(), 0)
    flags = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request)
    mtu = fcntl.ioctl(any_socket, _SIOCGIFMTU, request)
    address = fcntl.ioctl(any_socket, _SIOCGIFHWADDR, request)
    return Underlay(
        name,
        _IFREQ.unpack(mtu)[1],
        bool(_IFREQ_SHORT.unpack(flags)[1] & _IFF_UP),
        _IFREQ_SHORT.unpack(address)[1] == _ETHERNET,
    )
