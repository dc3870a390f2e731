"""Two streams as one: ends, bounds, what is slow, what breaks, what is silent."""

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from meshnode.proxy.splice import PIECE, Traffic, splice
from tests.unit.proxy.proxy_parts import read, read_all

Stream = trio.abc.HalfCloseableStream


class Line:
    """A client and a target with a splice between them, and the bytes counted."""

    def __init__(self) -> None:
        self.client, self.near = memory_stream_pair()
        self.target, self.far = memory_stream_pair()
        self.traffic = Traffic()
        self.is_over = False

    async def run(self, idle: float) -> None:
        """Splice until it is over."""
        await splice(self.near, self.far, self.traffic, idle=idle)
        self.is_over = True


@pytest.fixture
def line(nursery: trio.Nursery) -> Line:
    """A line with 60 s of patience."""
    line = Line()
    nursery.start_soon(line.run, 60.0)
    return line


async def test_each_direction_has_its_end(
    line: Line, autojump_clock: MockClock
) -> None:
    """The client has said all; the target's answer still comes."""
    await line.client.send_all(b"question")
    await line.client.send_eof()
    assert await read_all(line.target) == b"question"
    assert not line.is_over
    await line.target.send_all(b"answer")
    await line.target.send_eof()
    assert await read_all(line.client) == b"answer"
    await trio.testing.wait_all_tasks_blocked()
    assert line.is_over
    assert (line.traffic.to_target, line.traffic.to_client) == (8, 6)


async def test_silence_ends_it(line: Line, autojump_clock: MockClock) -> None:
    """Counted from the last byte in either direction."""
    for _ in range(3):
        await trio.sleep(50)
        await line.target.send_all(b"x")
    assert await read(line.client, 3) == b"xxx"
    began = trio.current_time()
    assert await line.client.receive_some() == b""
    assert 59 <= trio.current_time() - began <= 61
    await trio.testing.wait_all_tasks_blocked()
    assert line.is_over


async def test_broken_side_ends_both(line: Line, autojump_clock: MockClock) -> None:
    """Whichever: nobody is left waiting."""
    await trio.aclose_forcefully(line.target)
    await line.client.send_all(b"x")
    assert await line.client.receive_some() == b""
    await trio.testing.wait_all_tasks_blocked()
    assert line.is_over


async def test_cancelled_both_are_closed(autojump_clock: MockClock) -> None:
    """Whoever cancels has nothing to clean up."""
    line = Line()
    with trio.move_on_after(5):
        await line.run(60.0)
    assert not line.is_over
    for stream in (line.client, line.target):
        assert await stream.receive_some() == b""


class Counted(trio.abc.HalfCloseableStream):
    """A stream that counts what is read of it."""

    def __init__(self, inner: Stream) -> None:
        self.inner = inner
        self.count = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read, and count."""
        data = await self.inner.receive_some(max_bytes)
        self.count += len(data)
        return data

    async def send_all(self, data: bytes) -> None:
        """Pass it on."""
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Nobody asks."""
        raise NotImplementedError

    async def send_eof(self) -> None:
        """Pass it on."""
        await self.inner.send_eof()

    async def aclose(self) -> None:
        """Pass it on."""
        await self.inner.aclose()


async def test_slow_reader_stops_the_other(autojump_clock: MockClock) -> None:
    """No more is read of a side than 64 KiB beyond what the other took."""
    client, near = lockstep_stream_pair()
    target, far = lockstep_stream_pair()
    counted, traffic, total = Counted(near), Traffic(), 8 * PIECE
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, bytes(total))
        nursery.start_soon(splice, counted, far, traffic)
        taken = 0
        while taken < total:
            await trio.testing.wait_all_tasks_blocked()
            assert counted.count <= taken + PIECE
            assert traffic.to_target <= taken
            taken += len(await target.receive_some(5000))
        await client.aclose()
        await target.aclose()
    assert traffic.to_target == total


async def test_slow_reader_has_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    """Within the patience for each piece."""
    client, near = lockstep_stream_pair()
    target, far = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await splice(near, far, Traffic(), idle=60)

        nursery.start_soon(run)
        nursery.start_soon(client.send_all, bytes(4 * PIECE))
        for _ in range(4):
            await trio.sleep(50)
            assert await target.receive_some(PIECE)
        await client.aclose()
