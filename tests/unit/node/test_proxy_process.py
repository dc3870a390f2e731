"""The process of proxies, run in a task: what control says is served."""

import os
import resource
import socket

import pytest
import trio

from meshnode.codec.proxy_link import (
    MAX_MESSAGE_BYTES,
    Ask,
    Counts,
    PlannedListener,
    Problems,
    ProxyMessage,
    ProxyPlan,
    Setup,
    Started,
    decode_from_proxy,
    encode,
    encode_plan,
)
from meshnode.errors import CodecError
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair
from meshnode.host.memory import create_sealed
from meshnode.host.streams import open_listener
from meshnode.node import proxy_process
from meshnode.node.proxy_process import ProxyProcess, allow_many_sockets
from meshnode.types import Endpoint

LOCAL = "127.0.0.1"


async def hear(link: socket.socket) -> ProxyMessage:
    """Return the process's next message."""
    with trio.fail_after(10):
        while True:
            await trio.lowlevel.wait_readable(link)
            received = recv_with_fds(link, max_bytes=MAX_MESSAGE_BYTES)
            if received is not None:
                return decode_from_proxy(received[0])


def say_plan(link: socket.socket, plan: ProxyPlan, *sockets: socket.socket) -> None:
    """Let *plan* be served."""
    data = encode_plan(plan)
    memory = create_sealed("test", data)
    fds = [memory, *(one.fileno() for one in sockets)]
    assert send_with_fds(link, encode(Setup(len(data))), fds)
    os.close(memory)


async def test_serve_change_and_count() -> None:
    """What was said before its beginning is forgotten."""
    ours, theirs = seqpacket_pair(buffer_bytes=2**16)
    with ours, theirs, open_listener(Endpoint(LOCAL, 0)) as given:
        port = given.getsockname()[1]
        place = f"{LOCAL}:{port}"
        plan = ProxyPlan("home", (), (PlannedListener(place, "http", 0),))
        say_plan(ours, ProxyPlan("home", ()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ProxyProcess(theirs).run)
            assert await hear(ours) == Started()
            say_plan(ours, plan, given)
            assert await hear(ours) == Problems(())
            async with await trio.open_tcp_stream(LOCAL, port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                with trio.fail_after(10):
                    assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
                send_with_fds(ours, encode(Ask(7)))
                counts = await hear(ours)
                assert isinstance(counts, Counts)
                [one] = counts.listeners
                assert (counts.number, one.place, one.clients) == (7, place, 1)
                assert one.received > 0
            say_plan(ours, ProxyPlan("home", ()))
            assert await hear(ours) == Problems(())
            send_with_fds(ours, encode(Ask(8)))
            assert await hear(ours) == Counts(8, ())
            nursery.cancel_scope.cancel()


async def test_a_setup_without_a_plan_is_nonsense() -> None:
    """The process ends, and another begins."""
    ours, theirs = seqpacket_pair(buffer_bytes=2**16)
    with ours, theirs:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                with pytest.raises(ExceptionGroup) as caught:
                    await ProxyProcess(theirs).run()
                assert caught.group_contains(CodecError)
                nursery.cancel_scope.cancel()

            nursery.start_soon(run)
            assert await hear(ours) == Started()
            send_with_fds(ours, encode(Setup(9)))


def test_many_sockets_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the process may have, and as it needs."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: asked.append(both))
    for hard in (4096, 10**6, resource.RLIM_INFINITY):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, h=hard: (1024, h))
        allow_many_sockets()
    most = proxy_process.MAX_DESCRIPTORS_OPEN
    assert asked == [
        (4096, 4096),
        (most, 10**6),
        (most, resource.RLIM_INFINITY),
    ]
