"""Carry the bytes of two streams to each other."""

from typing import Final

import trio

CHUNK_BYTES: Final = 2**16


async def splice(
    a: trio.abc.HalfCloseableStream, b: trio.abc.HalfCloseableStream, *, idle: float
) -> None:
    """Carry bytes both ways until both sides have ended; neither is closed.

    An end of one side is passed on to the other, which may go on sending. It is over
    too when a side breaks, or when there was no byte in *idle* seconds.
    """
    with trio.move_on_after(idle) as scope:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_carry, a, b, scope, idle)
                nursery.start_soon(_carry, b, a, scope, idle)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the other side is told by what its owner does next


async def _carry(
    source: trio.abc.HalfCloseableStream,
    sink: trio.abc.HalfCloseableStream,
    scope: trio.CancelScope,
    idle: float,
) -> None:
    while data := await source.receive_some(CHUNK_BYTES):
        scope.deadline = trio.current_time() + idle
        await sink.send_all(data)
    await sink.send_eof()
