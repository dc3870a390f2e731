"""Sockets for traffic that was on its way to somebody else (IP_TRANSPARENT).

Opened by who has CAP_NET_ADMIN and passed on: what they were opened for needs none.
"""

import errno
import os
import socket
from typing import Final

from meshnode.errors import HostError

_BACKLOG: Final = 512
_IP_TRANSPARENT: Final = 19
_IP_RECVORIGDSTADDR: Final = 20
_IPV6_TRANSPARENT: Final = 75
_IPV6_RECVORIGDSTADDR: Final = 74
_OPTIONS: Final = {
    4: (socket.IPPROTO_IP, _IP_TRANSPARENT, _IP_RECVORIGDSTADDR),
    6: (socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, _IPV6_RECVORIGDSTADDR),
}
_LOCALHOST: Final = {4: "127.0.0.1", 6: "::1"}
_NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def open_transparent_listener(version: int) -> socket.socket | None:
    """Listen for TCP connections to anywhere that are handed in; non-blocking.

    The socket has a random port of localhost. None if the host has no such *version*.

    Raises:
        HostError: if the kernel refuses.
    """
    return _open(version, socket.SOCK_STREAM)


def open_transparent_receiver(version: int) -> socket.socket | None:
    """The same for datagrams, each of which comes with where it was going."""
    return _open(version, socket.SOCK_DGRAM)


def open_answering(version: int) -> socket.socket:
    """Return a UDP socket that can be bound to addresses which are not ours.

    Raises:
        HostError: if the kernel refuses.
    """
    return _make(version, socket.SOCK_DGRAM)


def _open(version: int, kind: socket.SocketKind) -> socket.socket | None:
    try:
        one = _make(version, kind)
    except HostError as error:
        if version == 6 and error.errno in _NO_IPV6:
            return None
        raise
    level, _, original = _OPTIONS[version]
    try:
        if kind is socket.SOCK_DGRAM:
            one.setsockopt(level, original, 1)
        one.bind((_LOCALHOST[version], 0))
        if kind is socket.SOCK_STREAM:
            one.listen(_BACKLOG)
    except OSError as error:
        one.close()
        if version == 6 and error.errno in _NO_IPV6:
            return None
        raise _refused("listen on localhost", error) from error
    return one


def _make(version: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        one = socket.socket(family, kind)
    except OSError as error:
        raise _refused("open a socket", error) from error
    level, transparent, _ = _OPTIONS[version]
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(level, transparent, 1)
        if version == 6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    except OSError as error:
        one.close()
        raise _refused("make a socket transparent", error) from error
    return one


def _refused(what: str, error: OSError) -> HostError:
    number = error.errno or errno.EIO
    return HostError(f"cannot {what}: {os.strerror(number)}", errno=number)
