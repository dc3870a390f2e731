"""Members directly, everything else another way: what a listener with an exit needs.

An exit carries to no member, and it need not: the tunnel goes to them all.
"""

from collections import deque
from collections.abc import Callable

import trio

from meshnode.proxy.outlets import Datagrams, Incoming, Outlet, OutletError
from meshnode.types import Endpoint, Target


class MeshFirst:
    """An `Outlet` that chooses between two by the target.

    Args:
        mesh: for targets of the mesh.
        beyond: for all others.
        is_mesh: says which is which.
    """

    def __init__(
        self, mesh: Outlet, beyond: Outlet, is_mesh: Callable[[Target], bool]
    ) -> None:
        self._mesh = mesh
        self._beyond = beyond
        self._is_mesh = is_mesh

    async def connect(
        self, target: Target
    ) -> tuple[trio.abc.HalfCloseableStream, Endpoint]:
        """Connect to *target*; as `Outlet.connect`."""
        return await self._way_to(target).connect(target)

    async def open_datagrams(self) -> Datagrams:
        """Return a place for datagrams to either side."""
        beyond = await self._beyond.open_datagrams()
        try:
            mesh = await self._mesh.open_datagrams()
        except BaseException:
            beyond.close()
            raise
        return _BothWays(mesh, beyond, self._is_mesh)

    async def listen(self, peer: Target) -> Incoming:
        """Wait for *peer* to call; as `Outlet.listen`."""
        return await self._way_to(peer).listen(peer)

    def _way_to(self, target: Target) -> Outlet:
        return self._mesh if self._is_mesh(target) else self._beyond


class _BothWays(Datagrams):
    """Datagrams of two places; what comes from either is received in turn."""

    def __init__(
        self, mesh: Datagrams, beyond: Datagrams, is_mesh: Callable[[Target], bool]
    ) -> None:
        self._mesh = mesh
        self._beyond = beyond
        self._is_mesh = is_mesh
        self._arrived: deque[tuple[bytes, Target] | OutletError] = deque()

    def close(self) -> None:
        """End it."""
        try:
            self._mesh.close()
        finally:
            self._beyond.close()

    async def send(self, data: bytes, target: Target) -> None:
        """Send *data* by the way to *target*."""
        way = self._mesh if self._is_mesh(target) else self._beyond
        await way.send(data, target)

    async def receive(self) -> tuple[bytes, Target]:
        """Return the next datagram of either place; raises `OutletError`."""
        if not self._arrived:
            async with trio.open_nursery() as nursery:
                for one in (self._mesh, self._beyond):
                    nursery.start_soon(self._receive_one, one, nursery.cancel_scope)
        # Both may have had one at the same moment: the second is for the next call.
        first = self._arrived.popleft()
        if isinstance(first, OutletError):
            raise first
        return first

    async def _receive_one(self, one: Datagrams, scope: trio.CancelScope) -> None:
        try:
            self._arrived.append(await one.receive())
        except OutletError as error:
            self._arrived.append(error)
        scope.cancel()
