"""Sockets to speak to a multicast group on chosen links, and to hear it there.

One socket for each version hears the group; another speaks, and gets the answers: the
group's port may be several processes', an answer is for one.
"""

import socket
import sys
from contextlib import suppress
from typing import Final

from meshnode.host.ancillary import (
    IP_PKTINFO,
    RECEIVE_SPACE,
    ancillary_for,
    path_from,
    sockaddr_of,
)
from meshnode.host.datagram import open_datagram_socket
from meshnode.types import Datagram, Endpoint, Source

_MAX_BYTES: Final = 2048


class GroupSockets:
    """The sockets of one group of one version of IP.

    *group* is its address with the port; nothing leaves the link. What is sent
    carries *fwmark*.

    Raises:
        OSError: if the host has not this version, or the port is another's alone.
    """

    def __init__(self, group: Endpoint, *, fwmark: int) -> None:
        self._group = group
        self._links: set[Source] = set()
        self.listener = open_datagram_socket(group.version, fwmark)
        try:
            self.speaker = open_datagram_socket(group.version, fwmark)
        except OSError:
            self.listener.close()
            raise
        try:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for one in (self.listener, self.speaker):
                _tell_interface(one, group.version)
            # Bound to the group nothing else arrives; for IPv6 that would tie the
            # socket to one link.
            self.listener.bind(("" if self._is_ipv6 else group.host, group.port))
            self.speaker.bind(("", 0))
        except OSError:
            self.close()
            raise

    def set_links(self, links: tuple[Source, ...]) -> None:
        """Hear the group on these links and no others; a link may be gone already."""
        wanted = {one for one in links if (":" in one.host) == self._is_ipv6}
        before = {one.interface for one in self._links}
        now = {one.interface for one in wanted}
        self._links = wanted
        for interface in before - now:
            self._change(socket.IP_DROP_MEMBERSHIP, socket.IPV6_LEAVE_GROUP, interface)
        for interface in now:
            # Asked again for those before: an interface that was made anew has the
            # index of one that went, or the kernel says that we are in already.
            self._change(socket.IP_ADD_MEMBERSHIP, socket.IPV6_JOIN_GROUP, interface)

    def send(self, datagram: Datagram) -> None:
        """Send along the path; raises `OSError` if the link is gone or full."""
        path = datagram.path
        self.speaker.sendmsg(
            [datagram.data], ancillary_for(path), 0, sockaddr_of(path.remote)
        )

    def close(self) -> None:
        """Close both sockets."""
        self.listener.close()
        self.speaker.close()

    @property
    def _is_ipv6(self) -> bool:
        return self._group.version == 6

    def _change(self, v4: int, v6: int, interface: int) -> None:
        packed = socket.inet_pton(self.listener.family, self._group.host)
        index = interface.to_bytes(4, sys.byteorder)
        with suppress(OSError):
            if self._is_ipv6:
                self.listener.setsockopt(socket.IPPROTO_IPV6, v6, packed + index)
            else:
                # struct ip_mreqn: the group, no address, the interface.
                request = packed + bytes(4) + index
                self.listener.setsockopt(socket.IPPROTO_IP, v4, request)


def receive_from_group(one: socket.socket) -> Datagram:
    """Return the datagram that waits, with where it came from and our link.

    Raises:
        OSError: if none waits, or the kernel reports an error of an earlier send.
    """
    data, ancdata, _, sockaddr = one.recvmsg(_MAX_BYTES, RECEIVE_SPACE)
    return Datagram(data, path_from(sockaddr, ancdata)[0])


def _tell_interface(one: socket.socket, version: int) -> None:
    """Let the socket say by which link a datagram came, and send to none beyond it."""
    if version == 4:
        one.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
    else:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
