"""Outlets that note what they are asked, and datagrams that a test brings."""

import trio

from meshnode.proxy.outlets import Closable, Datagrams, Incoming, OutletError, Refusal
from meshnode.types import Endpoint, Target


class FakeDatagrams(Closable):
    """Notes what is sent; a test puts what arrives."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Target]] = []
        self.is_closed = False
        self.arriving, self._received = trio.open_memory_channel[
            tuple[bytes, Target] | OutletError
        ](9)

    def close(self) -> None:
        """Note it."""
        self.is_closed = True

    async def send(self, data: bytes, target: Target) -> None:
        """Note it."""
        self.sent.append((data, target))

    async def receive(self) -> tuple[bytes, Target]:
        """Return what the test put."""
        found = await self._received.receive()
        if isinstance(found, OutletError):
            raise found
        return found


class FakeOutlet:
    """Notes targets; gives streams whose other ends are in `ends`."""

    def __init__(self) -> None:
        self.asked: list[Target] = []
        self.ends: list[trio.abc.HalfCloseableStream] = []
        self.places: list[FakeDatagrams] = []
        self.refusal: Refusal | None = None

    async def connect(
        self, target: Target
    ) -> tuple[trio.abc.HalfCloseableStream, Endpoint]:
        """Give one end of a pair."""
        self._note(target)
        ours, theirs = trio.testing.memory_stream_pair()
        self.ends.append(theirs)
        return ours, Endpoint("192.0.2.9", 9)

    async def open_datagrams(self) -> Datagrams:
        """Give a place."""
        if self.refusal is not None:
            raise OutletError(self.refusal)
        self.places.append(FakeDatagrams())
        return self.places[-1]

    async def listen(self, peer: Target) -> Incoming:
        """Refuse: nobody calls here."""
        self._note(peer)
        raise OutletError(Refusal.UNSUPPORTED)

    def _note(self, target: Target) -> None:
        self.asked.append(target)
        if self.refusal is not None:
            raise OutletError(self.refusal)
