"""Bytes both ways between two streams, unread."""

import trio

_PIECE = 64 * 1024


async def splice(
    a: trio.abc.HalfCloseableStream, b: trio.abc.HalfCloseableStream, *, idle: float
) -> None:
    """Pass bytes on until both have ended, one breaks, or nothing passes for *idle* s.

    Neither stream is closed.
    """

    async def pass_on(
        source: trio.abc.HalfCloseableStream, drain: trio.abc.HalfCloseableStream
    ) -> None:
        while data := await source.receive_some(_PIECE):
            scope.deadline = trio.current_time() + idle
            await drain.send_all(data)
        await drain.send_eof()

    async def pass_or_end(
        source: trio.abc.HalfCloseableStream, drain: trio.abc.HalfCloseableStream
    ) -> None:
        try:
            await pass_on(source, drain)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            scope.cancel()

    with trio.move_on_after(idle) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pass_or_end, a, b)
            nursery.start_soon(pass_or_end, b, a)
