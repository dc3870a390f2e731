"""TCP connections that were handed in on their way to somebody else.

The client knows of no proxy: it believes to be connected before anybody is asked. So
what is refused is cut off with a reset, which is what it would have met there.
"""

import errno
import logging
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from meshnode.proxy.outlets import Outlet, OutletError
from meshnode.proxy.splice import Traffic, splice
from meshnode.types import Target

MAX_CONNECTIONS: Final = 1000
"""At once at one door; those above are reset."""

IDLE: Final = 2 * 3600.0
"""Seconds that a connection may say nothing; TCP's own keepalives take as long."""

_REST: Final = 0.1
"""Seconds to wait where no descriptor is left."""

_RESET: Final = struct.pack("ii", 1, 0)
_log = logging.getLogger("meshnode.proxy")


async def accept_transparent(
    listener: trio.socket.SocketType,
    nursery: trio.Nursery,
    *,
    outlet_of: Callable[[], Outlet],
) -> None:
    """Carry every connection that *listener* is handed, until cancelled.

    Args:
        nursery: where connections live; they outlive the listener.
        listener: a transparent one: the address of a connection's socket is where the
            client wanted to go.
        outlet_of: gives the way out that new connections take.
    """
    count = trio.CapacityLimiter(MAX_CONNECTIONS)
    while True:
        try:
            accepted, _ = await listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                await trio.sleep(_REST)
            continue
        target = target_of(accepted.getsockname())
        if not count.available_tokens or is_own(target):
            reset(accepted)
            continue
        token = object()
        count.acquire_on_behalf_of_nowait(token)
        nursery.start_soon(_carry, accepted, target, outlet_of(), count, token)


async def serve_transparent(
    client: trio.SocketStream, target: Target, *, outlet: Outlet
) -> None:
    """Connect *client* with *target* by *outlet*, and carry bytes until both end."""
    try:
        stream, _ = await outlet.connect(target)
    except OutletError as error:
        _log.debug("%s cannot be reached: %s", target, error)
        reset(client.socket)
        return
    await splice(client, stream, Traffic(), idle=IDLE)


def target_of(sockaddr: tuple[object, ...]) -> Target:
    """Return where the address of a socket is, without its zone."""
    host = str(sockaddr[0]).partition("%")[0]
    return Target(host, int(str(sockaddr[1])))


def is_own(target: Target) -> bool:
    """Whether *target* is the local host, so that carrying it could lead back here.

    That is what comes of talking to a door's port instead of being handed in.
    """
    address = target.address
    return address is None or address.is_loopback or address.is_unspecified


def reset(client: trio.socket.SocketType) -> None:
    """Close *client* so that its other end hears of a failure, and of no end."""
    with suppress(OSError):  # it may have gone by itself
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.close()


async def _carry(
    accepted: trio.socket.SocketType,
    target: Target,
    outlet: Outlet,
    count: trio.CapacityLimiter,
    token: object,
) -> None:
    try:
        await serve_transparent(trio.SocketStream(accepted), target, outlet=outlet)
    finally:
        accepted.close()
        count.release_on_behalf_of(token)
