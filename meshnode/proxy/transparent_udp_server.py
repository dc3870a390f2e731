"""UDP datagrams that were handed in on their way to somebody else.

A flow is one source and one destination. It has a place for datagrams at the outlet,
and a socket with the destination's address, by which the answers come as from there.
"""

import ipaddress
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import trio

from meshnode.errors import HostError
from meshnode.proxy.outlets import Datagrams, Outlet, OutletError
from meshnode.proxy.transparent_server import is_own
from meshnode.types import Endpoint, Target

MAX_FLOWS: Final = 1000
"""At once at one door; datagrams of others are lost."""

FLOW_IDLE: Final = 120.0
"""Seconds without a datagram either way after which a flow is over (RFC 4787, 4.3)."""

_WAITING: Final = 64
"""Datagrams of a flow that wait for the way out."""

_MAX_DATAGRAM: Final = 65_535
_ORIGINAL: Final = {(socket.IPPROTO_IP, 20): 4, (socket.IPPROTO_IPV6, 74): 6}
"""IP_ORIGDSTADDR and IPV6_ORIGDSTADDR."""

_SOCKADDR4: Final = struct.Struct("=HHI")
_SOCKADDR6: Final = struct.Struct("=HHI16sI")
_ANCILLARY: Final = socket.CMSG_SPACE(128)
_log = logging.getLogger("meshnode.proxy")

Answering = Callable[[Endpoint], Awaitable[trio.socket.SocketType]]
"""Gives a socket whose datagrams come from an endpoint; raises `HostError`."""


def original_destination(ancillary: list[tuple[int, int, bytes]]) -> Endpoint | None:
    """Return where a datagram was going, None if the kernel did not say.

    Args:
        ancillary: level, type and data of control messages, as of recvmsg.
    """
    for level, kind, data in ancillary:
        version = _ORIGINAL.get((level, kind))
        if version == 4 and len(data) >= _SOCKADDR4.size:
            host = ipaddress.IPv4Address(data[4:8]).compressed
        elif version == 6 and len(data) >= _SOCKADDR6.size:
            host = ipaddress.IPv6Address(data[8:24]).compressed
        else:
            continue
        return Endpoint(host, int.from_bytes(data[2:4], "big"))
    return None


class DatagramDoor:
    """Carries every datagram that a socket is handed.

    Args:
        nursery: where flows live; they outlive `run`.
        receiver: a transparent one that says where datagrams were going.
        outlet_of: gives the way out that new flows take.
        answering: gives sockets to answer by.
    """

    def __init__(
        self,
        receiver: trio.socket.SocketType,
        nursery: trio.Nursery,
        *,
        outlet_of: Callable[[], Outlet],
        answering: Answering,
    ) -> None:
        self._receiver = receiver
        self._nursery = nursery
        self._outlet_of = outlet_of
        self._answering = answering
        self._flows: dict[tuple[Any, Endpoint], trio.MemorySendChannel[bytes]] = {}

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            try:
                data, ancillary, _, client = await self._receiver.recvmsg(
                    _MAX_DATAGRAM, _ANCILLARY
                )
            except OSError:
                continue  # an ICMP error of an answer before
            destination = original_destination(ancillary)
            if destination is not None:
                self._take(data, client, destination)

    def _take(self, data: bytes, client: Any, destination: Endpoint) -> None:
        key = (client, destination)
        flow = self._flows.get(key)
        if flow is None:
            target = Target(destination.host, destination.port)
            if is_own(target) or not target.port or len(self._flows) >= MAX_FLOWS:
                return
            flow, waiting = trio.open_memory_channel[bytes](_WAITING)
            self._flows[key] = flow
            self._nursery.start_soon(self._carry, key, waiting)
        with suppress(trio.WouldBlock):
            flow.send_nowait(data)

    async def _carry(
        self, key: tuple[Any, Endpoint], waiting: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        client, destination = key
        target = Target(destination.host, destination.port)
        try:
            answers = await self._answering(destination)
            with answers, await self._outlet_of().open_datagrams() as way:
                await _exchange(way, waiting, answers, client, target)
        except (OutletError, HostError, OSError) as error:
            _log.debug("datagrams to %s are lost: %s", target, error)
        finally:
            del self._flows[key]


async def _exchange(
    way: Datagrams,
    waiting: trio.MemoryReceiveChannel[bytes],
    answers: trio.socket.SocketType,
    client: Any,
    target: Target,
) -> None:
    """Carry datagrams both ways until none came for a while."""

    def go_on() -> None:
        scope.deadline = trio.current_time() + FLOW_IDLE

    async def send() -> None:
        async for data in waiting:
            go_on()
            with suppress(OutletError):
                await way.send(data, target)

    async def receive() -> None:
        try:
            while True:
                data, source = await way.receive()
                # The application has spoken to one; it must not hear from others.
                if source == target:
                    go_on()
                    with suppress(OSError):
                        await answers.sendto(data, client)
        except OutletError as error:
            _log.debug("datagrams to %s have ended: %s", target, error)
            scope.cancel()

    with trio.CancelScope() as scope:
        go_on()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await send()
