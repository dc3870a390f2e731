"""Bytes pass both ways until both sides have ended, or one has broken."""

import trio
import trio.testing

from meshnode.proxy.splice import Traffic, splice


async def test_both_ways_and_half_closed() -> None:
    """What one side still says after the other has ended arrives."""
    a, near_a = trio.testing.memory_stream_pair()
    b, near_b = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: splice(near_a, near_b, Traffic(), idle=10))
        await a.send_all(b"question")
        await a.send_eof()
        assert await b.receive_some(99) == b"question"
        assert await b.receive_some(99) == b""
        await b.send_all(b"answer")
        await b.send_eof()
        assert await a.receive_some(99) == b"answer"
        assert await a.receive_some(99) == b""


async def test_silence_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    """After the idle time."""
    _, near_a = trio.testing.memory_stream_pair()
    _, near_b = trio.testing.memory_stream_pair()
    await splice(near_a, near_b, Traffic(), idle=10)
    assert trio.current_time() == 10


async def test_a_broken_side_ends_both() -> None:
    """Nobody waits for who is gone."""
    a, near_a = trio.testing.memory_stream_pair()
    b, near_b = trio.testing.memory_stream_pair()
    await b.aclose()
    await a.send_all(b"x")
    with trio.fail_after(5):
        await splice(near_a, near_b, Traffic(), idle=10)
