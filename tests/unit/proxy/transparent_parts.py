"""Outlets that go nowhere, for the tests of what is handed in."""

import trio
import trio.testing

from meshnode.proxy.outlets import Closable, Incoming, OutletError, Refusal
from meshnode.types import Endpoint, Target


class FakeDatagrams(Closable):
    """A place for datagrams: `sent` is what went out, `arrived` what comes in."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Target]] = []
        self.to_arrive, self.arrived = trio.open_memory_channel[tuple[bytes, Target]](9)
        self.is_closed = False

    def close(self) -> None:
        """Note it."""
        self.is_closed = True

    async def send(self, data: bytes, target: Target) -> None:
        """Note it."""
        await trio.lowlevel.checkpoint()
        self.sent.append((data, target))

    async def receive(self) -> tuple[bytes, Target]:
        """Return what the test sends, until it has closed its end."""
        try:
            return await self.arrived.receive()
        except trio.EndOfChannel:
            raise OutletError(Refusal.FAILED) from None


class FakeOutlet:
    """Gives one stream, or places for datagrams; or raises `refusal`."""

    def __init__(self, refusal: Refusal | None = None) -> None:
        self.refusal = refusal
        self.targets: list[Target] = []
        self.places: list[FakeDatagrams] = []
        self.far, self.near = trio.testing.memory_stream_pair()

    async def connect(
        self, target: Target
    ) -> tuple[trio.abc.HalfCloseableStream, Endpoint]:
        """Return our end of the stream."""
        await trio.lowlevel.checkpoint()
        self.targets.append(target)
        if self.refusal is not None:
            raise OutletError(self.refusal)
        return self.near, Endpoint("0.0.0.0", 0)

    async def open_datagrams(self) -> FakeDatagrams:
        """Return a place."""
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise OutletError(self.refusal)
        self.places.append(FakeDatagrams())
        return self.places[-1]

    async def listen(self, peer: Target) -> Incoming:
        """Refuse."""
        raise OutletError(Refusal.UNSUPPORTED)
