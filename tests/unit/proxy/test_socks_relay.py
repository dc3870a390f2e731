"""Whose datagrams are taken, where they go, and how it ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import memory_stream_pair

from meshnode.codec.socks import decode_datagram, encode_datagram
from meshnode.proxy.socks_relay import Association
from meshnode.proxy.splice import Traffic
from meshnode.types import Endpoint, Target
from tests.unit.proxy.proxy_parts import LOCAL, FakeDatagrams, Stream, udp_socket

GOAL = Target("a.example", 53)


class Scene:
    """An association, its client's sockets, and what the outlet got."""

    def __init__(self, ours: trio.socket.SocketType, control: Stream) -> None:
        self.datagrams = FakeDatagrams()
        self.traffic = Traffic()
        self.place = ours.getsockname()
        self.control = control
        self.has_ended = trio.Event()


@asynccontextmanager
async def scene(client: Endpoint, idle: float = 60.0) -> AsyncIterator[Scene]:
    """Run an association of *client*."""
    near, control = memory_stream_pair()
    with await udp_socket() as ours:
        scene = Scene(ours, control)
        association = Association(ours, client, scene.datagrams, scene.traffic)

        async def run() -> None:
            await association.run(near, idle=idle)
            scene.has_ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            yield scene
            nursery.cancel_scope.cancel()


async def exchange(one: trio.socket.SocketType, scene: Scene, data: bytes) -> bool:
    """Send *data* as the client would; return whether the answer came."""
    await one.sendto(encode_datagram(data, GOAL), scene.place)
    with trio.move_on_after(0.5):
        answer, _ = await one.recvfrom(1000)
        return decode_datagram(answer) == (data, GOAL)
    return False


async def test_first_from_the_client_is_the_client() -> None:
    """No other port of its address, and no other address."""
    stranger = await udp_socket("127.0.0.2")
    with await udp_socket() as one, await udp_socket() as two, stranger:
        async with scene(Endpoint(LOCAL, 0)) as it:
            # What comes for nobody yet goes nowhere.
            await it.datagrams.send_in.send((b"early", GOAL))
            assert not await exchange(stranger, it, b"stranger")
            await one.sendto(b"\0\0\1 a fragment", it.place)
            assert await exchange(one, it, b"one")
            assert not await exchange(two, it, b"two")
            assert await exchange(one, it, b"more")
            await trio.testing.wait_all_tasks_blocked()
            assert [data for data, _ in it.datagrams.sent] == [b"one", b"more"]
            assert (it.traffic.to_target, it.traffic.to_client) == (7, 7)


async def test_client_that_says_its_port() -> None:
    """Only that is it, also before it has sent anything."""
    with await udp_socket() as one, await udp_socket() as two:
        async with scene(Endpoint(LOCAL, one.getsockname()[1])) as it:
            assert not await exchange(two, it, b"two")
            await it.datagrams.send_in.send((b"early", Target("192.0.2.1", 7)))
            data, _ = await one.recvfrom(1000)
            assert decode_datagram(data) == (b"early", Target("192.0.2.1", 7))
            assert await exchange(one, it, b"one")


@pytest.mark.parametrize("how", ["control", "outlet", "silence"])
async def test_ends(how: str) -> None:
    """With the connection, with the outlet, and when nothing is said."""
    idle = 0.3 if how == "silence" else 60.0
    async with scene(Endpoint(LOCAL, 0), idle) as it:
        with await udp_socket() as one:
            assert await exchange(one, it, b"x")
        # What is said on the connection itself is nothing to us.
        await it.control.send_all(b"hello")
        if how == "control":
            await it.control.aclose()
        elif how == "outlet":
            await it.datagrams.send_in.aclose()
        with trio.fail_after(10):
            await it.has_ended.wait()


async def test_too_long_with_its_header() -> None:
    """It is lost, and the next one comes."""
    with await udp_socket() as one:
        async with scene(Endpoint(LOCAL, one.getsockname()[1])) as it:
            await it.datagrams.send_in.send((bytes(65_507), Target("192.0.2.1", 7)))
            assert await exchange(one, it, b"x")
