"""Clients of a listening Unix socket: how many at once, who they may be, how long.

One client cannot hurt another: their number has a bound, and whoever serves one gives
every wait for it a deadline.
"""

import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable

import trio

_PEER_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_ACCEPT_PAUSE = 0.1  # seconds; long enough for a descriptor to become free
_ACCEPT_LATER = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

ServeClient = Callable[[trio.socket.SocketType], Awaitable[None]]
"""Serve one connection until it ends; it is closed by the caller."""


async def serve_clients(
    listener: trio.socket.SocketType, serve: ServeClient, *, most: int
) -> None:
    """Serve who connects to *listener* until cancelled; *listener* is not closed.

    At most *most* are served at once; further ones wait in the listen queue.
    """
    slots = trio.Semaphore(most)
    async with trio.open_nursery() as nursery:
        while True:
            await slots.acquire()
            client = await _accept(listener)
            nursery.start_soon(_serve_and_release, serve, client, slots)


def is_allowed(client: trio.socket.SocketType) -> bool:
    """Whether the client is root or our own user."""
    credentials = client.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size
    )
    _, uid, _ = _PEER_CREDENTIALS.unpack(credentials)
    return uid in (0, os.geteuid())


async def send_within(
    client: trio.socket.SocketType, pieces: Iterable[bytes], seconds: float
) -> None:
    """Send *pieces*, each in one write if the socket takes it.

    Raises:
        trio.TooSlowError: if the client does not read all of it in *seconds*.
        OSError: if it has gone.
    """
    with trio.fail_after(seconds):
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                sent = await client.send(rest)
                rest = rest[sent:]


async def _accept(listener: trio.socket.SocketType) -> trio.socket.SocketType:
    while True:
        try:
            client, _ = await listener.accept()
            return client
        except OSError as error:
            if error.errno not in (*_ACCEPT_LATER, errno.ECONNABORTED):
                raise
            await trio.sleep(_ACCEPT_PAUSE)


async def _serve_and_release(
    serve: ServeClient, client: trio.socket.SocketType, slots: trio.Semaphore
) -> None:
    try:
        with client:
            await serve(client)
    finally:
        slots.release()
