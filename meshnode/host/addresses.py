"""The addresses of this host that others may reach it by, and when they change."""

import contextlib
import ipaddress
import socket
from collections.abc import Collection
from typing import Final

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE (rtnetlink(7))."""

_IFA_F_TEMPORARY: Final = 0x01
_IFA_F_DEPRECATED: Final = 0x20
_IFA_F_TENTATIVE: Final = 0x40
_UNUSABLE: Final = _IFA_F_TEMPORARY | _IFA_F_DEPRECATED | _IFA_F_TENTATIVE
_READ_BYTES: Final = 65536
_READS: Final = 64


def local_addresses(*, without: Collection[str]) -> list[str]:
    """Return the unicast addresses of this host, IPv4 first, sorted.

    Loopback, link-local, temporary and deprecated ones are left out, and those of the
    interfaces named in *without*.
    """
    from pyroute2 import IPRoute

    found = []
    with IPRoute() as ipr:
        names = {
            link["index"]: link.get_attr("IFLA_IFNAME") for link in ipr.get_links()
        }
        for message in ipr.get_addr():
            flags = message.get_attr("IFA_FLAGS") or message["flags"]
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            if names.get(message["index"]) in without or flags & _UNUSABLE:
                continue
            if text is None:
                continue
            address = ipaddress.ip_address(text)
            if not (address.is_loopback or address.is_link_local):
                found.append(address)
    return [str(a) for a in sorted(found, key=lambda a: (a.version, int(a)))]


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
