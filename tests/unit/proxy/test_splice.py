"""Two streams that are carried to each other, over streams in memory."""

import trio
from trio.testing import MockClock, memory_stream_pair

from meshnode.proxy.splice import Traffic, splice


async def test_bytes_go_both_ways_until_both_have_ended() -> None:
    """An end is passed on, and the other side may still speak."""
    client, a = memory_stream_pair()
    b, server = memory_stream_pair()
    traffic = Traffic()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: splice(a, b, traffic, idle=5.0))
            await client.send_all(b"question")
            assert await server.receive_some() == b"question"
            await client.send_eof()
            assert await server.receive_some() == b""
            await server.send_all(b"answer")
            assert await client.receive_some() == b"answer"
            await server.send_eof()
            assert await client.receive_some() == b""
    assert (traffic.to_target, traffic.to_client) == (8, 6)


async def test_a_break_ends_it() -> None:
    """Nothing is raised: connections break every day."""
    client, a = memory_stream_pair()
    b, server = memory_stream_pair()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: splice(a, b, Traffic(), idle=5.0))
            await server.aclose()
            await client.send_all(b"x")


async def test_silence_ends_it(autojump_clock: MockClock) -> None:
    """Counted from the last byte of either side."""
    client, a = memory_stream_pair()
    b, server = memory_stream_pair()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: splice(a, b, Traffic(), idle=5.0))
        for _ in range(3):
            await trio.sleep(4)
            await server.send_all(b"x")
            await client.receive_some()
    assert trio.current_time() - began == 17
