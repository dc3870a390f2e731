"""The process that carries what is steered through exits and proxies.

It has no privilege and no key. Control opens the doors and hands over their sockets,
and those that datagrams are answered by. What the process itself sends is known by its
group id, so nothing of it is handed in again.
"""

import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from meshnode.codec.proxies import Credentials
from meshnode.codec.steer_link import (
    MAX_DESCRIPTORS,
    MAX_MESSAGE_BYTES,
    TCP,
    Answer,
    CarrierMessage,
    CloseDoor,
    OpenDoor,
    Started,
    WantSocket,
    decode_from_control,
    encode,
)
from meshnode.errors import CodecError, HostError
from meshnode.host.channels import discard_messages, recv_with_fds, send_with_fds
from meshnode.proxy.http_outlet import ViaHttp
from meshnode.proxy.outlets import Outlet
from meshnode.proxy.socks_outlet import ViaSocks
from meshnode.proxy.transparent_server import accept_transparent
from meshnode.proxy.transparent_udp_server import DatagramDoor
from meshnode.types import Endpoint

ANSWER_TIMEOUT: Final = 3.0
"""Seconds that control may take to open a socket."""

_log = logging.getLogger("meshnode.node")


def run_carrier(link: socket.socket) -> int:
    """Be the process until SIGTERM; *link* leads to control. Return an exit code."""
    with suppress(KeyboardInterrupt):
        trio.run(SteerProcess(link).run)
    return 0


def make_outlet(door: OpenDoor) -> Outlet:
    """Return the way out that *door* has.

    Raises:
        CodecError: if there is no such scheme.
    """
    credentials = Credentials(door.user, door.password)
    if door.scheme == "socks5":
        return ViaSocks(door.places, credentials)
    if door.scheme == "http":
        return ViaHttp(door.places, credentials)
    raise CodecError(f"no proxy speaks {door.scheme!r}")


class SteerProcess:
    """Everything of the process; *link* leads to control."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._outlets: dict[int, Outlet] = {}
        self._scopes: dict[int, trio.CancelScope] = {}
        self._number = 0
        self._asked: dict[int, trio.MemorySendChannel[tuple[Answer, list[int]]]] = {}

    async def run(self) -> None:
        """Carry until SIGTERM."""
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                # What was meant for the process before us is said anew.
                discard_messages(
                    self._link, max_bytes=MAX_MESSAGE_BYTES, max_fds=MAX_DESCRIPTORS
                )
                self._tell(Started())
                nursery.start_soon(self._hear, nursery)
                await anext(signals)
                nursery.cancel_scope.cancel()

    async def _hear(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._link)
            received = recv_with_fds(
                self._link, max_bytes=MAX_MESSAGE_BYTES, max_fds=MAX_DESCRIPTORS
            )
            if received is None:
                continue
            data, descriptors = received
            if not data:
                raise HostError("control has gone")
            match decode_from_control(data):
                case OpenDoor() as door:
                    self._open(door, descriptors, nursery)
                case CloseDoor(number):
                    self._close(number)
                case Answer(number) as answer if number in self._asked:
                    self._asked[number].send_nowait((answer, descriptors))
                case Answer():
                    for descriptor in descriptors:
                        os.close(descriptor)  # nobody waits any more

    def _open(
        self, door: OpenDoor, descriptors: list[int], nursery: trio.Nursery
    ) -> None:
        self._outlets[door.number] = make_outlet(door)
        if not door.sockets:
            return
        self._close(door.number)
        outlet_of = partial(self._outlets.__getitem__, door.number)
        tasks: list[Callable[[], Awaitable[None]]] = []
        for kind, descriptor in zip(door.sockets, descriptors, strict=True):
            one = trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor))
            task: Callable[[], Awaitable[None]]
            if kind == TCP:
                task = partial(accept_transparent, one, nursery, outlet_of=outlet_of)
            else:
                task = DatagramDoor(
                    one, nursery, outlet_of=outlet_of, answering=self._answering
                ).run
            tasks.append(partial(_serve, one, task))
        scope = self._scopes[door.number] = trio.CancelScope()
        nursery.start_soon(_serve_all, tasks, scope)

    def _close(self, number: int) -> None:
        scope = self._scopes.pop(number, None)
        if scope is not None:
            scope.cancel()

    async def _answering(self, source: Endpoint) -> trio.socket.SocketType:
        """Return a socket whose datagrams come from *source*; control opens it."""
        self._number = (self._number + 1) % 2**32
        number = self._number
        sending, receiving = trio.open_memory_channel[tuple[Answer, list[int]]](1)
        self._asked[number] = sending
        try:
            self._tell(WantSocket(number, source.version))
            with trio.move_on_after(ANSWER_TIMEOUT):
                answer, descriptors = await receiving.receive()
                if not descriptors:
                    raise HostError(answer.reason)
                opened = socket.socket(fileno=descriptors[0])
                one = trio.socket.from_stdlib_socket(opened)
                try:
                    await one.bind((source.host, source.port))
                except BaseException:
                    one.close()
                    raise
                return one
            raise HostError("control does not answer")
        except CodecError as error:
            raise HostError(str(error)) from error
        finally:
            del self._asked[number]

    def _tell(self, message: CarrierMessage) -> None:
        if not send_with_fds(self._link, encode(message)):
            _log.debug("control does not listen: a message is lost")


async def _serve(
    one: trio.socket.SocketType, task: Callable[[], Awaitable[None]]
) -> None:
    with one:
        await task()


async def _serve_all(
    tasks: Sequence[Callable[[], Awaitable[None]]], scope: trio.CancelScope
) -> None:
    with scope:
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(task)
