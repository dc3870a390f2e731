"""The process that carries what is steered, over sockets of loopback."""

import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from meshnode.codec.steer_link import (
    MAX_MESSAGE_BYTES,
    Answer,
    CloseDoor,
    OpenDoor,
    Started,
    WantSocket,
    decode_from_carrier,
    encode,
)
from meshnode.errors import CodecError, HostError
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair
from meshnode.node import steer_process
from meshnode.node.steer_process import SteerProcess, make_outlet, run_carrier
from meshnode.proxy import transparent_server
from meshnode.proxy.http_outlet import ViaHttp
from meshnode.proxy.socks_outlet import ViaSocks
from meshnode.types import Endpoint, Target
from tests.unit.proxy.transparent_parts import FakeOutlet

PLACE = Target("192.0.2.9", 1080)


async def hear(link: socket.socket) -> Any:
    """Return what the process says next."""
    with trio.fail_after(10):
        while True:
            await trio.lowlevel.wait_readable(link)
            received = recv_with_fds(link, max_bytes=MAX_MESSAGE_BYTES)
            if received is not None:
                return decode_from_carrier(received[0])


def play(story: Callable[[SteerProcess, socket.socket], Awaitable[None]]) -> None:
    """Run *story* beside a process."""

    async def run() -> None:
        ours, theirs = seqpacket_pair(buffer_bytes=2**16)
        with ours, theirs:
            process = SteerProcess(theirs)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(process.run)
                assert await hear(ours) == Started()
                await story(process, ours)
                nursery.cancel_scope.cancel()

    trio.run(run)


def test_a_door_leads_where_control_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """To another place at once; closed, nobody is let in."""
    monkeypatch.setattr(transparent_server, "is_own", lambda target: False)
    outlets = [FakeOutlet(), FakeOutlet()]
    waiting = iter(outlets)

    def make(door: OpenDoor) -> FakeOutlet:
        return next(waiting)

    monkeypatch.setattr(steer_process, "make_outlet", make)

    async def story(process: SteerProcess, link: socket.socket) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            place = listener.getsockname()
            door = OpenDoor(3, "socks5", (PLACE,), "", "", ("tcp",))
            send_with_fds(link, encode(door), [listener.fileno()])
        with trio.fail_after(10):
            first = await trio.open_tcp_stream(*place)
            await first.send_all(b"1")
            assert await outlets[0].far.receive_some(9) == b"1"
            send_with_fds(link, encode(OpenDoor(3, "socks5", (), "", "")))
            await trio.testing.wait_all_tasks_blocked(0.1)
            async with await trio.open_tcp_stream(*place) as second:
                await second.send_all(b"2")
                assert await outlets[1].far.receive_some(9) == b"2"
                send_with_fds(link, encode(CloseDoor(3)))
                await trio.testing.wait_all_tasks_blocked(0.1)
                with pytest.raises(OSError, match="failed"):
                    await trio.open_tcp_stream(*place)
                # Connections that are there go on.
                await first.send_all(b"3")
                assert await outlets[0].far.receive_some(9) == b"3"
            await first.aclose()

    play(story)


def test_sockets_to_answer_by_come_from_control() -> None:
    """Bound where the answer is to come from; or it says why there is none."""

    async def story(process: SteerProcess, link: socket.socket) -> None:
        async def answer(reason: str, descriptors: list[int]) -> None:
            asked = await hear(link)
            assert asked == WantSocket(asked.number, 4)
            send_with_fds(link, encode(Answer(asked.number, reason)), descriptors)

        source = Endpoint("127.0.0.1", 0)
        async with trio.open_nursery() as nursery:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fresh:
                fresh.setblocking(False)
                nursery.start_soon(answer, "", [os.dup(fresh.fileno())])
            with await process._answering(source) as one:
                assert one.getsockname()[0] == "127.0.0.1"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, "no memory", [])
            with pytest.raises(HostError, match="no memory"):
                await process._answering(source)
        assert not process._asked

    play(story)


def test_ways_out() -> None:
    """What a door's scheme stands for."""
    assert isinstance(make_outlet(OpenDoor(1, "socks5", (), "", "")), ViaSocks)
    assert isinstance(make_outlet(OpenDoor(1, "http", (PLACE,), "", "")), ViaHttp)
    with pytest.raises(CodecError, match="no proxy speaks"):
        make_outlet(OpenDoor(1, "ftp", (), "", ""))


def test_it_ends_when_asked() -> None:
    """With SIGTERM, as all children do."""
    ours, theirs = seqpacket_pair(buffer_bytes=2**16)

    def ask() -> None:
        ours.setblocking(True)
        assert decode_from_carrier(ours.recv(100)) == Started()
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=ask)
    thread.start()
    with ours, theirs:
        assert run_carrier(theirs) == 0
    thread.join()
