"""TCP connections that were handed in."""

import errno
from functools import partial

import pytest
import trio
import trio.testing

from meshnode.proxy import transparent_server
from meshnode.proxy.outlets import Refusal
from meshnode.proxy.transparent_server import (
    accept_transparent,
    is_own,
    serve_transparent,
    target_of,
)
from meshnode.types import Target
from tests.unit.proxy.transparent_parts import FakeOutlet

TARGET = Target("198.51.100.7", 443)


async def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Return two ends of a connection over loopback."""
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = await trio.open_tcp_stream(*listener.getsockname())
        accepted, _ = await listener.accept()
    return client, trio.SocketStream(accepted)


async def is_cut_off(place: tuple[str, int]) -> bool:
    """Whether who connects there is reset, which may be as soon as that is done."""
    with trio.socket.socket() as one, trio.fail_after(10):
        try:
            await one.connect(place)
            await one.recv(10)
        except ConnectionResetError:
            return True
    return False


def test_bytes_go_both_ways() -> None:
    """Until both have ended."""

    async def story() -> None:
        outlet = FakeOutlet()
        client, ours = await pair()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                serve = partial(serve_transparent, outlet=outlet)
                nursery.start_soon(serve, ours, TARGET)
                await client.send_all(b"ping")
                assert await outlet.far.receive_some(10) == b"ping"
                await outlet.far.send_all(b"pong")
                assert await client.receive_some(10) == b"pong"
                await client.aclose()
                await outlet.far.aclose()
        assert outlet.targets == [TARGET]

    trio.run(story)


def test_a_refusal_is_a_reset() -> None:
    """The client must not take it for an answer without a word."""

    async def story() -> None:
        client, ours = await pair()
        await serve_transparent(ours, TARGET, outlet=FakeOutlet(Refusal.TIMED_OUT))
        async with client:
            with trio.fail_after(10), pytest.raises(trio.BrokenResourceError) as caught:
                await client.receive_some(10)
        cause = caught.value.__cause__
        assert isinstance(cause, OSError)
        assert cause.errno == errno.ECONNRESET

    trio.run(story)


def test_who_speaks_to_the_door_itself_is_reset() -> None:
    """It was going nowhere; carrying it could come back here."""

    async def story() -> None:
        outlet = FakeOutlet()
        with trio.socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    partial(accept_transparent, outlet_of=lambda: outlet),
                    listener,
                    nursery,
                )
                assert await is_cut_off(listener.getsockname())
                nursery.cancel_scope.cancel()
        assert not outlet.targets

    trio.run(story)


def test_connections_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those above the limit are reset; one that ends makes room."""
    monkeypatch.setattr(transparent_server, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(transparent_server, "is_own", lambda target: False)

    async def story() -> None:
        outlets = [FakeOutlet(), FakeOutlet()]
        waiting = iter(outlets)
        with trio.socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            place = listener.getsockname()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    partial(accept_transparent, outlet_of=lambda: next(waiting)),
                    listener,
                    nursery,
                )
                with trio.fail_after(10):
                    first = await trio.open_tcp_stream(*place)
                    await first.send_all(b"1")
                    assert await outlets[0].far.receive_some(10) == b"1"
                    assert await is_cut_off(place)
                    await first.send_eof()
                    await outlets[0].far.aclose()
                    assert await first.receive_some(10) == b""
                    await first.aclose()
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    async with await trio.open_tcp_stream(*place) as third:
                        await third.send_all(b"3")
                        assert await outlets[1].far.receive_some(10) == b"3"
                nursery.cancel_scope.cancel()

    trio.run(story)


def test_addresses_of_sockets() -> None:
    """Without a zone; and the local host is nobody to carry to."""
    assert target_of(("fe80::1%lan", 80, 0, 2)) == Target("fe80::1", 80)
    assert target_of(("192.0.2.1", 80)) == Target("192.0.2.1", 80)
    own = ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "name"]
    assert all(is_own(Target(host, 1)) for host in own)
    assert not is_own(TARGET)
