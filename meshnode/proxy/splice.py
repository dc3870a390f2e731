"""Two streams become one connection: bytes go both ways until both sides have ended."""

import math
from collections.abc import Callable
from typing import Final

import trio

PIECE: Final = 65_536
"""Bytes that are held of one direction at most, between reading and writing them."""


class Traffic:
    """Bytes that went through, counted while they go: one for as many as wanted."""

    def __init__(self) -> None:
        self.to_target = 0
        self.to_client = 0

    def add_to_target(self, size: int) -> None:
        """Count *size* bytes that the target took."""
        self.to_target += size

    def add_to_client(self, size: int) -> None:
        """Count *size* bytes that the client took."""
        self.to_client += size


async def splice(
    client: trio.abc.HalfCloseableStream,
    target: trio.abc.HalfCloseableStream,
    traffic: Traffic,
    *,
    idle: float = math.inf,
) -> None:
    """Carry bytes between *client* and *target*; both are closed when this returns.

    The end of one direction is passed on, and the other goes on. Nothing more is read
    of a side before what it said was taken by the other. A broken side ends both, as
    does nothing to read from either for *idle* seconds: so long it may also take one
    of them to take 64 KiB.
    """

    async def carry(
        source: trio.abc.HalfCloseableStream,
        sink: trio.abc.HalfCloseableStream,
        count: Callable[[int], None],
    ) -> None:
        while data := await source.receive_some(PIECE):
            scope.deadline = trio.current_time() + idle
            await sink.send_all(data)
            count(len(data))
            scope.deadline = trio.current_time() + idle
        await sink.send_eof()

    try:
        with trio.CancelScope(deadline=trio.current_time() + idle) as scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(carry, client, target, traffic.add_to_target)
                    nursery.start_soon(carry, target, client, traffic.add_to_client)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
    finally:
        try:
            await trio.aclose_forcefully(client)
        finally:
            await trio.aclose_forcefully(target)
