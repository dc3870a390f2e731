"""This host's sockets in the words of outlets: addresses, errors, who answers first."""

import errno
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

import trio

from meshnode.proxy.outlets import OutletError, Refusal
from meshnode.types import Endpoint

STAGGER: Final = 0.25
"""Seconds from one attempt to the next (RFC 8305, 5), as long as none has succeeded."""

_REFUSALS: Final = {
    errno.ECONNREFUSED: Refusal.REFUSED,
    errno.ECONNRESET: Refusal.REFUSED,
    errno.ETIMEDOUT: Refusal.TIMED_OUT,
    errno.EHOSTUNREACH: Refusal.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Refusal.HOST_UNREACHABLE,
    errno.ENETUNREACH: Refusal.NETWORK_UNREACHABLE,
    errno.ENETDOWN: Refusal.NETWORK_UNREACHABLE,
    errno.EADDRNOTAVAIL: Refusal.NETWORK_UNREACHABLE,
    # A local firewall that rejects, or a family that the host does not have.
    errno.EACCES: Refusal.FORBIDDEN,
    errno.EPERM: Refusal.FORBIDDEN,
    errno.EAFNOSUPPORT: Refusal.NETWORK_UNREACHABLE,
    errno.EMFILE: Refusal.BUSY,
    errno.ENFILE: Refusal.BUSY,
    errno.ENOBUFS: Refusal.BUSY,
    errno.ENOMEM: Refusal.BUSY,
}
_BY_PROGRESS: Final = (
    *(Refusal.REFUSED, Refusal.TIMED_OUT, Refusal.HOST_UNREACHABLE, Refusal.FORBIDDEN),
    *(Refusal.NETWORK_UNREACHABLE, Refusal.BUSY, Refusal.FAILED),
)
"""Of several attempts, that which came the furthest says the most."""


def refusal_of(error: OSError) -> OutletError:
    """Return what an outlet raises for an error of the host."""
    refusal = _REFUSALS.get(error.errno or 0, Refusal.FAILED)
    return OutletError(refusal, error.strerror or "")


def endpoint_of(sockaddr: Any) -> Endpoint:
    """Return an address of the socket module; IPv4 within IPv6 becomes IPv4."""
    host, port, *more = sockaddr
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return Endpoint(str(address.ipv4_mapped), port)
        return Endpoint(str(address), port, more[1] if more else 0)
    return Endpoint(str(address), port)


def sockaddr_of(endpoint: Endpoint) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return the address of an IPv4 or IPv6 socket."""
    if endpoint.version == 4:
        return endpoint.host, endpoint.port
    return endpoint.host, endpoint.port, 0, endpoint.scope_id


def address_of(endpoint: Endpoint) -> IPv4Address | IPv6Address:
    """Return the address without port and zone."""
    return ip_address(endpoint.host)


def family_of(endpoint: Endpoint) -> socket.AddressFamily:
    """Return the family of sockets that speak with it."""
    return socket.AF_INET if endpoint.version == 4 else socket.AF_INET6


async def connect_first(places: Sequence[Endpoint]) -> trio.SocketStream:
    """Connect to the first of *places* that answers, a moment from one to the next.

    Raises:
        OutletError: if none does; for the attempt that came the furthest.
    """
    found: list[trio.socket.SocketType] = []
    failures: list[OutletError] = []

    async def attempt(place: Endpoint, is_over: trio.Event) -> None:
        try:
            one = trio.socket.socket(family_of(place), socket.SOCK_STREAM)
        except OSError as error:
            failures.append(refusal_of(error))
            is_over.set()
            return
        try:
            await one.connect(sockaddr_of(place))
            found.append(one)
            nursery.cancel_scope.cancel()
        except OSError as error:
            failures.append(refusal_of(error))
        finally:
            if found[:1] != [one]:
                one.close()
            is_over.set()

    try:
        async with trio.open_nursery() as nursery:
            for place in places:
                is_over = trio.Event()
                nursery.start_soon(attempt, place, is_over)
                with trio.move_on_after(STAGGER):
                    await is_over.wait()
    except BaseException:
        for one in found:
            one.close()
        raise
    if found:
        return trio.SocketStream(found[0])
    raise min(failures, key=lambda error: _BY_PROGRESS.index(error.refusal))
