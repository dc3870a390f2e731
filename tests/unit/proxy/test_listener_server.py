"""One listener over loopback: who is served by whom, and how many."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from meshnode.host.streams import open_listener
from meshnode.proxy import listener_server as module
from meshnode.proxy.listener_server import (
    Client,
    Listener,
    Serve,
    Speakers,
)
from meshnode.types import Endpoint

LOCAL = "127.0.0.1"


def echo(name: bytes) -> Serve:
    """Return what says who it is, what was read already, and then what it hears."""

    async def serve(client: Client) -> None:
        stream, traffic = client.stream, client.traffic
        data = name + client.first
        while data:
            await stream.send_all(data)
            traffic.add_to_client(len(data))
            data = bytes(await stream.receive_some())
            traffic.add_to_target(len(data))
        await stream.send_eof()

    return serve


BOTH = Speakers(socks=echo(b"S"), http=echo(b"H"))


@asynccontextmanager
async def listening(
    speakers: Speakers = BOTH, opened: socket.socket | None = None, **options: Any
) -> AsyncIterator[Listener]:
    """Give a listener that runs."""
    opened = opened or open_listener(Endpoint(LOCAL, 0))
    plain = trio.SocketListener(trio.socket.from_stdlib_socket(opened))
    listener = Listener(plain, speakers, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.run)
        yield listener
        nursery.cancel_scope.cancel()


async def connect(listener: Listener) -> trio.SocketStream:
    """Return a connection to it."""
    port = listener._listener.socket.getsockname()[1]
    return await trio.open_tcp_stream(LOCAL, port)


async def hear(stream: trio.SocketStream, size: int) -> bytes:
    """Return *size* bytes."""
    heard = b""
    with trio.fail_after(5):
        while len(heard) < size:
            data = await stream.receive_some(size - len(heard))
            assert data, heard
            heard += data
    return heard


async def is_closed(stream: trio.SocketStream) -> bool:
    """Whether the other side closes without a word."""
    with trio.fail_after(5), suppress(trio.BrokenResourceError):
        return not await stream.receive_some()
    return True


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"\5\1\0", b"S\5\1\0"),
        (b"\4\1", b"S\4\1"),
        (b"GET /", b"HGET /"),
        (b"\0", b"H\0"),
    ],
)
async def test_the_first_byte_tells_them_apart(said: bytes, answer: bytes) -> None:
    """And it is not lost."""
    async with listening() as listener, await connect(listener) as stream:
        await stream.send_all(said)
        assert await hear(stream, len(answer)) == answer
        assert listener.seen().clients == 1


@pytest.mark.parametrize(
    ("speakers", "answer"),
    [(Speakers(socks=echo(b"S")), b"S"), (Speakers(http=echo(b"H")), b"H")],
)
async def test_who_is_alone_is_not_waited_for(
    speakers: Speakers, answer: bytes
) -> None:
    """Whatever comes, and before anything does."""
    async with listening(speakers) as listener, await connect(listener) as stream:
        assert await hear(stream, 1) == answer


async def test_who_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, or when it goes."""
    monkeypatch.setattr(module, "FIRST_TIMEOUT", 0.05)
    async with listening() as listener, await connect(listener) as stream:
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
        async with await connect(listener):
            pass
        await trio.testing.wait_all_tasks_blocked(0.05)


async def test_bytes_and_clients_are_counted() -> None:
    """While they go, and after."""
    async with listening() as listener:
        async with await connect(listener) as stream:
            await stream.send_all(b"\5hello")
            await hear(stream, 7)
            await stream.send_all(b"again")
            await hear(stream, 5)
            await trio.testing.wait_all_tasks_blocked(0.05)
            seen = listener.seen()
            assert (seen.clients, seen.total, seen.refused) == (1, 1, 0)
            assert (seen.sent, seen.received) == (5, 12)
        await trio.testing.wait_all_tasks_blocked(0.05)
        seen = listener.seen()
        assert (seen.total, seen.sent, seen.received) == (1, 5, 12)


async def test_too_many_are_closed_at_once() -> None:
    """And one that goes makes place for one that comes."""
    async with listening(max_clients=2) as listener:
        first, second = [await connect(listener) for _ in range(2)]
        await first.send_all(b"\5")
        await second.send_all(b"\5")
        await hear(first, 2)
        await hear(second, 2)
        third = await connect(listener)
        assert await is_closed(third)
        assert listener.seen().refused == 1
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with await connect(listener) as fourth:
            await fourth.send_all(b"\5")
            assert await hear(fourth, 2) == b"S\5"
        for one in (second, third):
            await one.aclose()


async def test_who_is_not_welcome_gets_nothing() -> None:
    """It is known by its address."""
    hosts: list[str] = []

    def is_welcome(host: str) -> bool:
        hosts.append(host)
        return False

    async with listening(is_welcome=is_welcome) as listener:
        stream = await connect(listener)
        assert await is_closed(stream)
        await stream.aclose()
        assert hosts == [LOCAL]
        assert (listener.seen().refused, listener.seen().total) == (1, 0)


async def test_a_unix_socket_has_no_host(tmp_path: Path) -> None:
    """Its clients are served the same."""
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket"))
        opened.listen()
        hosts: list[str] = []

        async def serve(client: Client) -> None:
            hosts.append(client.host)
            await client.stream.send_all(b"x")

        async with (
            listening(Speakers(socks=serve), opened.dup()),
            await trio.open_unix_socket(str(tmp_path / "socket")) as stream,
        ):
            assert await hear(stream, 1) == b"x"
        assert hosts == [""]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a mistake"),
        trio.BrokenResourceError(),
        ExceptionGroup("", [trio.BrokenResourceError(), ValueError("a mistake")]),
    ],
)
async def test_one_that_fails_does_not_end_the_others(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """What was our mistake is in the log."""

    async def serve(client: Client) -> None:
        raise error

    async with listening(Speakers(socks=serve)) as listener:
        for _ in range(2):
            async with await connect(listener) as stream:
                assert await is_closed(stream)
    has_mistake = not isinstance(error, trio.BrokenResourceError)
    assert ("could not be served" in caplog.text) == has_mistake


async def test_others_may_speak_from_now_on() -> None:
    """Those who are served already stay where they are."""
    async with (
        listening(Speakers(socks=echo(b"1"))) as listener,
        await connect(listener) as before,
    ):
        assert await hear(before, 1) == b"1"
        listener.speakers = Speakers(http=echo(b"2"))
        async with await connect(listener) as after:
            assert await hear(after, 1) == b"2"
        await before.send_all(b"still")
        assert await hear(before, 5) == b"still"
