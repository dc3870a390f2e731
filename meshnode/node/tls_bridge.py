"""A bridge between a TLS connection and our node: datagrams pass either way.

To the node the other side is at a UDP port of 127.0.0.1 that is the bridge's. Only
the node's port is spoken to, and only what it says is heard. What the connection does
not take in time is dropped, as a full queue on a path would be.
"""

import socket
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from meshnode.codec.tls_frames import encode_frame
from meshnode.errors import CodecError
from meshnode.node.tls_streams import Connection, close_quietly

MAX_QUEUED: Final = 256 * 1024
"""Bytes that wait for the connection; what is more is dropped."""

IDLE_TIMEOUT: Final = 180.0
"""Seconds without a datagram either way after which a connection is closed."""

_MAX_DATAGRAM: Final = 65_536
_TURN: Final = 64
"""Datagrams taken from the socket before the others have their turn."""


class Bridge:
    """Passes datagrams between *connection* and *handover*, a UDP socket, its own now.

    *patience* is how many seconds the node has to answer for the first time: whoever
    has nothing to say to it is nobody we serve.
    """

    def __init__(
        self, connection: Connection, handover: socket.socket, *, patience: float
    ) -> None:
        self.dropped = 0
        self._connection = connection
        self._handover = handover
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._has_queued = trio.Event()
        self._patience = patience
        self._scope = trio.CancelScope()
        self._has_answer = False

    @property
    def port(self) -> int:
        """The UDP port of 127.0.0.1 behind which the other side is."""
        return int(self._handover.getsockname()[1])

    async def run(self) -> None:
        """Pass datagrams until the connection ends, breaks, or is of no use."""
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                self._scope.deadline = trio.current_time() + self._patience
                for pump in (self._pump_in, self._pump_out, self._pump_queue):
                    nursery.start_soon(self._until_end, pump)
        finally:
            self._handover.close()
            with trio.CancelScope(shield=True):
                await close_quietly(self._connection)

    async def _until_end(self, pump: Callable[[], Awaitable[None]]) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, CodecError):
            await pump()
        self._scope.cancel()

    async def _pump_in(self) -> None:
        """From the connection to the node."""
        while datagrams := await self._connection.receive():
            for datagram in datagrams:
                try:
                    self._handover.send(datagram)
                except OSError:
                    self.dropped += 1  # the node's port is full, or closed at present
            self._note_use()
            await trio.lowlevel.checkpoint()

    async def _pump_out(self) -> None:
        """From the node to the queue."""
        while True:
            await trio.lowlevel.wait_readable(self._handover)
            for _ in range(_TURN):
                try:
                    datagram = self._handover.recv(_MAX_DATAGRAM)
                except BlockingIOError:
                    break
                except OSError:
                    break  # the node's port was closed: another may be opened
                self._put(datagram)

    def _put(self, datagram: bytes) -> None:
        if not datagram or self._queued + len(datagram) > MAX_QUEUED:
            self.dropped += 1
            return
        self._has_answer = True
        self._note_use()
        frame = encode_frame(datagram)
        self._queue.append(frame)
        self._queued += len(frame)
        self._has_queued.set()

    async def _pump_queue(self) -> None:
        """From the queue to the connection, many datagrams at once."""
        while True:
            await self._has_queued.wait()
            self._has_queued = trio.Event()
            data = b"".join(self._queue)
            self._queue.clear()
            self._queued = 0
            await self._connection.send(data)

    def _note_use(self) -> None:
        if self._has_answer:
            self._scope.deadline = trio.current_time() + IDLE_TIMEOUT
