"""Between a connection and the node: bounded in bytes and in time."""

from typing import Any

import pytest
import trio

from meshnode.codec.tls_frames import FrameReader
from meshnode.host.streams import open_handover
from meshnode.node import tls_bridge
from meshnode.node.tls_bridge import MAX_QUEUED, Bridge
from tests.unit.node.tls_parts import echoing_node


class SlowConnection:
    """Says what it is given, and takes nothing before it may."""

    def __init__(self, *said: bytes) -> None:
        self.said = list(said)
        self.may_take = trio.Event()
        self.taken = b""
        self.is_closed = False

    async def receive(self) -> list[bytes]:
        """Return all that is said, then wait for ever."""
        if not self.said:
            await trio.sleep_forever()
        said, self.said = self.said, []
        return said

    async def send(self, data: bytes) -> None:
        """Take it as soon as it may."""
        await self.may_take.wait()
        self.taken += data

    async def close(self) -> None:
        """Note it."""
        self.is_closed = True
        await trio.lowlevel.checkpoint()


async def test_what_is_not_taken_is_dropped() -> None:
    """The queue has its bound, and all that was in it arrives."""
    connection: Any = SlowConnection()
    async with echoing_node() as port, trio.open_nursery() as nursery:
        bridge = Bridge(connection, open_handover(port), patience=10.0)
        nursery.start_soon(bridge.run)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(100):
            bridge._put(bytes([number]) * 8000)
        assert bridge.dropped
        connection.may_take.set()
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert len(connection.taken) <= 2 * MAX_QUEUED
        found = FrameReader().receive(connection.taken)
        assert all(len(one) == 8000 for one in found)
        assert 1 <= len(found) < 100
        nursery.cancel_scope.cancel()
    assert connection.is_closed


@pytest.mark.parametrize("is_answered", [False, True])
async def test_time_is_bounded(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object, is_answered: bool
) -> None:
    """Short until the node has answered, and longer from then on."""
    monkeypatch.setattr(tls_bridge, "IDLE_TIMEOUT", 30.0)
    connection: Any = SlowConnection()
    with open_handover(9) as node:
        node.close()
    began = trio.current_time()
    bridge = Bridge(connection, open_handover(9), patience=5.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bridge.run)
        await trio.sleep(1.0)
        if is_answered:
            bridge._put(b"an answer")
    assert trio.current_time() - began == pytest.approx(31.0 if is_answered else 5.0)
