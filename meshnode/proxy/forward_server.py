"""Carry forwarded ports: what comes in at a listener goes on from another network.

The listener's socket is given, and so is how to open a socket of the other network;
so nothing here knows in which network it is. A datagram's sender has a socket of its
own on the other side as long as it speaks, as behind a NAT.
"""

import logging
import socket
from collections.abc import Callable
from typing import Final

import trio

from meshnode.errors import HostError
from meshnode.proxy.forwards import Transport
from meshnode.proxy.splice import Traffic, splice
from meshnode.types import Endpoint

CONNECT_TIMEOUT: Final = 15.0
"""Seconds until a connection must stand."""

TCP_IDLE: Final = 7440.0
"""Seconds without a byte after which a connection is given up (RFC 5382, REQ-5)."""

UDP_IDLE: Final = 120.0
"""Seconds without a datagram after which a sender is forgotten (RFC 4787, REQ-5)."""

MAX_OPEN: Final = 512
"""Connections of one listener at once, or senders; more of them have to wait."""

_MAX_DATAGRAM: Final = 65535
_PAUSE: Final = 0.1
_log = logging.getLogger("meshnode.proxy")

_Sender = tuple[object, ...]

OpenSocket = Callable[[socket.AddressFamily, socket.SocketKind], socket.socket]
"""Opens a socket of the network where targets are; raises `OSError`, `HostError`."""


async def serve_forward(
    transport: Transport,
    listener: socket.socket,
    target: Endpoint,
    open_socket: OpenSocket,
) -> None:
    """Serve *listener* until cancelled.

    Args:
        transport: what *listener* takes.
        listener: bound, and listening if it is of TCP; becomes ours.
        target: where everything goes.
        open_socket: opens sockets of the network of *target*.
    """
    one = trio.socket.from_stdlib_socket(listener)
    with one:
        if transport is Transport.TCP:
            await _serve_tcp(one, target, open_socket)
        else:
            await _UdpForward(one, target, open_socket).serve()


async def _serve_tcp(
    listener: trio.socket.SocketType, target: Endpoint, open_socket: OpenSocket
) -> None:
    free = trio.Semaphore(MAX_OPEN)
    async with trio.open_nursery() as nursery:
        while True:
            await free.acquire()
            try:
                one, _ = await listener.accept()
            except OSError as error:
                # Gone before we looked, or no descriptor is left: others go on.
                _log.warning("a connection was lost: %s", error.strerror)
                free.release()
                await trio.sleep(_PAUSE)
                continue
            nursery.start_soon(_carry, one, target, open_socket, free)


async def _carry(
    one: trio.socket.SocketType,
    target: Endpoint,
    open_socket: OpenSocket,
    free: trio.Semaphore,
) -> None:
    try:
        async with trio.SocketStream(one) as client:
            other = await _connect(target, open_socket)
            if other is not None:
                await splice(client, other, Traffic(), idle=TCP_IDLE)
    finally:
        free.release()


async def _connect(
    target: Endpoint, open_socket: OpenSocket
) -> trio.SocketStream | None:
    """Return a connection to *target*, None if there can be none."""
    one = None
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            one = _open(target, open_socket, socket.SOCK_STREAM)
            await one.connect((target.host, target.port))
        return trio.SocketStream(one)
    except (OSError, HostError, trio.TooSlowError) as error:
        _log.info("%s cannot be reached: %s", target, error or "no answer")
    if one is not None:
        one.close()
    return None


def _open(
    target: Endpoint, open_socket: OpenSocket, kind: socket.SocketKind
) -> trio.socket.SocketType:
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    return trio.socket.from_stdlib_socket(open_socket(family, kind))


class _UdpForward:
    """The senders of one listener of datagrams, each with its own socket."""

    def __init__(
        self,
        listener: trio.socket.SocketType,
        target: Endpoint,
        open_socket: OpenSocket,
    ) -> None:
        self._listener = listener
        self._target = target
        self._open_socket = open_socket
        self._flows: dict[_Sender, tuple[trio.socket.SocketType, trio.CancelScope]] = {}

    async def serve(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    data, sender = await self._listener.recvfrom(_MAX_DATAGRAM)
                except OSError:
                    continue  # of an answer that could not be delivered
                if sender not in self._flows and not await self._begin(sender, nursery):
                    continue
                one, scope = self._flows[sender]
                scope.deadline = trio.current_time() + UDP_IDLE
                try:
                    await one.send(data)
                except OSError:
                    continue  # nobody is there yet: datagrams may be lost

    async def _begin(self, sender: _Sender, nursery: trio.Nursery) -> bool:
        if len(self._flows) >= MAX_OPEN:
            return False
        one = None
        try:
            one = _open(self._target, self._open_socket, socket.SOCK_DGRAM)
            await one.connect((self._target.host, self._target.port))
        except (OSError, HostError) as error:
            _log.info("%s cannot be reached: %s", self._target, error)
            if one is not None:
                one.close()
            return False
        scope = trio.CancelScope(deadline=trio.current_time() + UDP_IDLE)
        self._flows[sender] = one, scope
        nursery.start_soon(self._answer, sender, one, scope)
        return True

    async def _answer(
        self, sender: _Sender, one: trio.socket.SocketType, scope: trio.CancelScope
    ) -> None:
        try:
            with scope, one:
                while True:
                    try:
                        data = await one.recv(_MAX_DATAGRAM)
                        scope.deadline = trio.current_time() + UDP_IDLE
                        await self._listener.sendto(data, sender)
                    except OSError:
                        continue  # nobody was there, or is there any more
        finally:
            del self._flows[sender]
