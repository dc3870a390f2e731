"""Where forwarded ports of a rootless node come in: opened before anything runs.

So a port that is taken is told to who starts the node.
"""

import errno
import os
import socket
from collections.abc import Callable
from typing import Final, TypeVar

from meshnode.errors import HostError, PrivilegeError
from meshnode.host.namespaces import run_inside
from meshnode.node.tasks import NO_DESCRIPTOR
from meshnode.proxy.forwards import EVERYWHERE, Forward, Transport, Way
from meshnode.types import Endpoint

_BACKLOG: Final = 128
_NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

Result = TypeVar("Result")


def call_in(namespace_fd: int, function: Callable[[], Result]) -> Result:
    """Call *function* in the network *namespace_fd*, or here if there is none."""
    if namespace_fd == NO_DESCRIPTOR:
        return function()
    return run_inside(namespace_fd, function)


def open_forward(forward: Forward, namespace_fd: int) -> socket.socket:
    """Return the listener of *forward*, non-blocking; members come in *namespace_fd*.

    Raises:
        HostError: naming the port, if it cannot be had.
    """

    def listen() -> socket.socket:
        return _listen(forward)

    return listen() if forward.way is Way.INTO else call_in(namespace_fd, listen)


def _listen(forward: Forward) -> socket.socket:
    try:
        try:
            return _bind(forward.transport, forward.listen)
        except OSError as error:
            if forward.listen.host != EVERYWHERE or error.errno not in _NO_IPV6:
                raise
            return _bind(forward.transport, Endpoint("0.0.0.0", forward.listen.port))
    except OSError as error:
        raise _refused(forward, error.errno or errno.EIO) from error


def _bind(transport: Transport, place: Endpoint) -> socket.socket:
    family = socket.AF_INET if place.version == 4 else socket.AF_INET6
    is_tcp = transport is Transport.TCP
    one = socket.socket(family, socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM)
    try:
        one.setblocking(False)
        if place.version == 6:
            is_single = place.host != EVERYWHERE
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, is_single)
        if is_tcp:
            # Connections that ended a moment ago keep nobody from listening again.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((place.host, place.port))
        if is_tcp:
            one.listen(_BACKLOG)
    except OSError:
        one.close()
        raise
    return one


def _refused(forward: Forward, number: int) -> HostError:
    place = f"{forward.transport.value.upper()} port {forward.listen}"
    if number == errno.EACCES:
        return PrivilegeError(
            f"not allowed to listen on {place}: choose one from 1024 on",
            errno=number,
        )
    if number == errno.EADDRINUSE:
        return HostError(f"{place} is taken: choose another one", errno=number)
    return HostError(f"cannot listen on {place}: {os.strerror(number)}", errno=number)
