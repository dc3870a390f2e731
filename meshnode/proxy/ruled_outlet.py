"""An outlet behind a listener's rules, for protocols that know nothing of rules."""

from collections.abc import Callable

import trio

from meshnode.proxy.outlets import Datagrams, Incoming, Outlet, OutletError, Refusal
from meshnode.types import Endpoint, Target

Permits = Callable[[Target], bool]


class RuledOutlet:
    """What *permits* refuses goes nowhere; all else by *outlet*."""

    def __init__(self, outlet: Outlet, permits: Permits) -> None:
        self._outlet = outlet
        self._permits = permits

    async def connect(
        self, target: Target
    ) -> tuple[trio.abc.HalfCloseableStream, Endpoint]:
        """Connect to *target*; as `Outlet.connect`."""
        self._require(target)
        return await self._outlet.connect(target)

    async def open_datagrams(self) -> Datagrams:
        """Return a place for datagrams to what is permitted."""
        return _RuledDatagrams(await self._outlet.open_datagrams(), self._permits)

    async def listen(self, peer: Target) -> Incoming:
        """Wait for *peer* to call; as `Outlet.listen`."""
        self._require(peer)
        return await self._outlet.listen(peer)

    def _require(self, target: Target) -> None:
        if not self._permits(target):
            raise OutletError(Refusal.FORBIDDEN)


class _RuledDatagrams(Datagrams):
    """Datagrams to what is refused are lost; answers come from where some went."""

    def __init__(self, inner: Datagrams, permits: Permits) -> None:
        self._inner = inner
        self._permits = permits

    def close(self) -> None:
        """End it."""
        self._inner.close()

    async def send(self, data: bytes, target: Target) -> None:
        """Send *data* if that is permitted."""
        if self._permits(target):
            await self._inner.send(data, target)

    async def receive(self) -> tuple[bytes, Target]:
        """Return the next datagram; raises `OutletError`."""
        return await self._inner.receive()
