"""TCP sockets: marked as the node's other packets are, or listening."""

import errno
import os
import socket

from meshnode.errors import HostError
from meshnode.types import Endpoint

_BACKLOG = 128
_IP_FREEBIND = 15
_IPV6_FREEBIND = 78


def open_stream_socket(version: int, *, fwmark: int = 0) -> socket.socket:
    """Return a TCP socket of that IP version, not connected and non-blocking.

    Raises:
        HostError: if there is no such family here, or no descriptor left.
    """
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        one = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _refused("open a TCP socket", error) from error
    try:
        one.setblocking(False)
        if fwmark:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, fwmark)
    except OSError as error:
        one.close()
        raise _refused("mark a TCP socket", error) from error
    return one


def open_listener(place: Endpoint, *, fwmark: int = 0) -> socket.socket:
    """Listen at one address; `0.0.0.0` and `::` are all of their family.

    Raises:
        HostError: with errno 98 if the port is taken.
    """
    one = open_stream_socket(place.version, fwmark=fwmark)
    try:
        _listen(one, place)
    except HostError:
        one.close()
        raise
    return one


def _listen(one: socket.socket, place: Endpoint) -> None:
    try:
        # Connections that ended a moment ago keep nobody from listening again.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if place.version == 6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((place.host, place.port, 0, place.scope_id))
        else:
            one.bind((place.host, place.port))
        one.listen(_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise HostError(
                f"TCP port {place.port} is taken", errno=errno.EADDRINUSE
            ) from error
        raise _refused(f"listen on TCP port {place.port}", error) from error


def open_overlay_listener(place: Endpoint, device: str = "") -> socket.socket:
    """Listen at an overlay address, for what comes by the interface *device* only.

    The address need not be there yet. Who is bound to the device hears nothing of
    other links, whose packets nobody has authenticated; nor of this host itself.

    Raises:
        HostError: with errno 98 if the port is taken.
    """
    one = open_stream_socket(place.version)
    try:
        if device:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        _let_bind_early(one, place)
    except OSError as error:
        one.close()
        raise _refused(f"listen at {place}", error) from error
    try:
        _listen(one, place)
    except HostError:
        one.close()
        raise
    return one


def open_overlay_datagrams(place: Endpoint) -> socket.socket:
    """Return a UDP socket at an overlay address, which need not be there yet.

    Raises:
        HostError: with errno 98 if the port is taken.
    """
    family = socket.AF_INET if place.version == 4 else socket.AF_INET6
    try:
        one = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise _refused("open a UDP socket", error) from error
    try:
        one.setblocking(False)
        _let_bind_early(one, place)
        if place.version == 6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((place.host, place.port))
    except OSError as error:
        one.close()
        if error.errno == errno.EADDRINUSE:
            raise HostError(
                f"UDP port {place.port} is taken", errno=errno.EADDRINUSE
            ) from error
        raise _refused(f"listen at {place}", error) from error
    return one


def _let_bind_early(one: socket.socket, place: Endpoint) -> None:
    if place.version == 6:
        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        one.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)


def open_handover(port: int) -> socket.socket:
    """Return a UDP socket of 127.0.0.1 that speaks to *port* there, and to no other.

    Raises:
        HostError: if no descriptor or port is left.
    """
    try:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setblocking(False)
        one.bind(("127.0.0.1", 0))
        one.connect(("127.0.0.1", port))
    except OSError as error:
        raise _refused("open a local UDP socket", error) from error
    return one


def _refused(what: str, error: OSError) -> HostError:
    number = error.errno or errno.EIO
    return HostError(f"cannot {what}: {os.strerror(number)}", errno=number)
