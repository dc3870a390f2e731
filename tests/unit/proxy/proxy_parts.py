"""Servers and clients over loopback, and an outlet that leads to memory."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from trio.testing import memory_stream_pair

from meshnode.proxy.outlets import Closable, Datagrams, Incoming, OutletError, Refusal
from meshnode.proxy.socks_server import serve_socks
from meshnode.types import Endpoint, Target

LOCAL = "127.0.0.1"
Stream = trio.abc.HalfCloseableStream


class FakeIncoming(Closable):
    """A place where the peer has called already."""

    place = Endpoint("192.0.2.1", 1000)

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.is_closed = False

    def close(self) -> None:
        """Note it."""
        self.is_closed = True

    async def accept(self) -> tuple[Stream, Endpoint]:
        """Return the peer at once."""
        await trio.lowlevel.checkpoint()
        return self.stream, Endpoint("192.0.2.7", 2000)


class FakeDatagrams(Closable):
    """Sends back what it gets, as from where it went."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Target]] = []
        self.is_closed = False
        self.send_in, self._out = trio.open_memory_channel[tuple[bytes, Target]](100)

    def close(self) -> None:
        """Note it."""
        self.is_closed = True

    async def send(self, data: bytes, target: Target) -> None:
        """Take it, and let it come back."""
        self.sent.append((data, target))
        await self.send_in.send((data, target))

    async def receive(self) -> tuple[bytes, Target]:
        """Return the next; the end of the channel is that of the outlet."""
        try:
            return await self._out.receive()
        except trio.EndOfChannel:
            raise OutletError(Refusal.FAILED) from None


class FakeOutlet:
    """Connects to `far`, the other end of which is ours; or refuses with `refusal`."""

    def __init__(self, refusal: Refusal | None = None) -> None:
        self.refusal = refusal
        self.asked: list[Target] = []
        self.far, self._near = memory_stream_pair()
        self.datagrams = FakeDatagrams()
        self.incoming = FakeIncoming(self._near)

    async def connect(self, target: Target) -> tuple[Stream, Endpoint]:
        """Return the stream, once."""
        self._note(target)
        return self._near, Endpoint("192.0.2.1", 1000)

    async def open_datagrams(self) -> Datagrams:
        """Return what sends back."""
        self._note(None)
        return self.datagrams

    async def listen(self, peer: Target) -> Incoming:
        """Return where the peer has called."""
        self._note(peer)
        return self.incoming

    def _note(self, target: Target | None) -> None:
        if target is not None:
            self.asked.append(target)
        if self.refusal is not None:
            raise OutletError(self.refusal)


@asynccontextmanager
async def listening(
    serve: Callable[[trio.SocketStream], Awaitable[Any]], host: str = LOCAL
) -> AsyncIterator[Target]:
    """Give where *serve* serves every stream."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host=host))
        name = listener.socket.getsockname()
        yield Target(name[0], name[1])
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def socks_at(
    outlet: Any, host: str = LOCAL, **settings: Any
) -> AsyncIterator[Target]:
    """Give where a SOCKS server for *outlet* listens."""
    serve = partial(serve_socks, outlet=outlet, **settings)
    async with listening(serve, host) as place:
        yield place


async def echo(stream: trio.SocketStream) -> None:
    """Say back what is heard."""
    async with stream:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()


async def dial(place: Target) -> trio.SocketStream:
    """Connect to a server of ours."""
    return await trio.open_tcp_stream(place.host, place.port)


async def read(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    """Return exactly so much, or less at the end."""
    data = b""
    while len(data) < size and (more := await stream.receive_some(size - len(data))):
        data += more
    return data


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Return all until the end."""
    return await read(stream, 1 << 30)


def closed_port() -> Target:
    """Return a place where nobody listens."""
    with socket.socket() as one:
        one.bind((LOCAL, 0))
        return Target(LOCAL, one.getsockname()[1])


async def udp_socket(host: str = LOCAL) -> trio.socket.SocketType:
    """Return a UDP socket of ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = trio.socket.socket(family, socket.SOCK_DGRAM)
    await one.bind((host, 0))
    return one
