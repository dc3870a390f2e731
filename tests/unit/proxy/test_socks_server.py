"""A client's connection from its first byte to its last."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from meshnode.codec.socks import decode_datagram, encode_datagram, take_address
from meshnode.proxy import socks_server
from meshnode.proxy.direct_outlet import Direct
from meshnode.proxy.outlets import Refusal
from meshnode.proxy.socks_server import HANDSHAKE_TIMEOUT, serve_socks
from meshnode.proxy.splice import Traffic
from meshnode.types import Endpoint, Target
from tests.unit.proxy.proxy_parts import (
    LOCAL,
    FakeOutlet,
    Stream,
    dial,
    read,
    read_all,
    socks_at,
    udp_socket,
)

HELLO = b"\x05\x01\x00"
CONNECT = b"\x05\x01\x00\x03\x09a.example\x00\x50"
GRANTED = b"\x05\x00" + bytes.fromhex("05000001c000020103e8")
ASSOCIATE = bytes.fromhex("05030001") + bytes(6)


async def carol_alone(user: str, password: str) -> bool:
    """Know one user."""
    return (user, password) == ("carol", "s3cret")


async def test_pipelined_bytes_reach_the_target() -> None:
    """All at once, after a byte that the listener had read; and it is counted."""
    outlet, traffic = FakeOutlet(), Traffic()
    client, near = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await serve_socks(near, outlet=outlet, first=HELLO[:1], traffic=traffic)

        nursery.start_soon(serve)
        await client.send_all(HELLO[1:] + CONNECT + b"GET /")
        assert await read(outlet.far, 5) == b"GET /"
        assert outlet.asked == [Target("a.example", 80)]
        await outlet.far.send_all(b"200 OK")
        await outlet.far.send_eof()
        await client.send_eof()
        assert await read_all(client) == GRANTED + b"200 OK"
    assert (traffic.to_target, traffic.to_client) == (5, 6)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (b"\x01\x05carol\x06s3cret", b"\x05\x02\x01\x00"),
        (b"\x01\x05carol\x05wrong", b"\x05\x02\x01\x01"),
        (b"\x01\x03bob\x06s3cret", b"\x05\x02\x01\x01"),
    ],
)
async def test_login(words: bytes, answer: bytes) -> None:
    """Only who is known comes as far as the outlet."""
    outlet = FakeOutlet()
    server = socks_at(outlet, credentials=carol_alone)
    async with server as place, await dial(place) as client:
        await client.send_all(b"\x05\x01\x02" + words + CONNECT)
        assert await read(client, 4) == answer
        await client.send_eof()
        await outlet.far.send_eof()
        is_in = answer.endswith(b"\0")
        assert (await read_all(client) == GRANTED[2:]) == is_in
        assert bool(outlet.asked) == is_in


@pytest.mark.parametrize(
    ("refusal", "code"), [(Refusal.REFUSED, 5), (Refusal.NO_SUCH_NAME, 4)]
)
async def test_refusals_of_the_outlet(refusal: Refusal, code: int) -> None:
    """In both versions; the client can read them although it has said more."""
    async with socks_at(FakeOutlet(refusal)) as place:
        async with await dial(place) as client:
            await client.send_all(HELLO + CONNECT + bytes(10_000))
            await client.send_eof()
            reply = b"\x05\0" + bytes([5, code, 0, 1]) + bytes(6)
            assert await read_all(client) == reply
        async with await dial(place) as client:
            await client.send_all(b"\x04\x01\0\x50\0\0\0\x01\0a.example\0")
            await client.send_eof()
            assert await read_all(client) == b"\0\x5b" + bytes(6)


async def test_client_that_says_nothing(autojump_clock: MockClock) -> None:
    """It has 10 s, however slowly it speaks."""
    client, near = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def speak_slowly() -> None:
            with suppress(trio.BrokenResourceError):
                for byte in HELLO + CONNECT:
                    await client.send_all(bytes([byte]))
                    await trio.sleep(1)

        outlet = FakeOutlet()
        nursery.start_soon(speak_slowly)
        await serve_socks(near, outlet=outlet)
        assert outlet.asked == []
        assert trio.current_time() <= HANDSHAKE_TIMEOUT + socks_server.LINGER + 0.1
        nursery.cancel_scope.cancel()
    assert await read_all(client) == b"\x05\x00"


@pytest.mark.parametrize("words", [b"", HELLO, HELLO + CONNECT[:3], b"GET / HTTP/1.1"])
async def test_client_that_goes_away(words: bytes) -> None:
    """In the middle of a word; or speaks something else."""
    client, near = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_it, near)
        if words:
            await client.send_all(words)
        await client.aclose()


async def serve_it(near: Stream) -> None:
    """Serve one client, who gets nowhere."""
    outlet = FakeOutlet()
    await serve_socks(near, outlet=outlet)
    assert outlet.asked == []


async def ask(client: trio.abc.Stream, words: bytes) -> tuple[int, Target]:
    """Greet and ask; return the code of the reply and its address."""
    await client.send_all(HELLO + words)
    assert await read(client, 2) == b"\x05\x00"
    return await hear(client)


async def hear(client: trio.abc.Stream) -> tuple[int, Target]:
    """Return the code of a reply and its address."""
    head = await read(client, 4)
    found = take_address(head[3:] + await read(client, 6 if head[3] == 1 else 18), 0)
    assert found is not None
    return head[1], found[0]


@pytest.mark.parametrize("version", [4, 5])
async def test_bind(version: int) -> None:
    """Where to call, who called, and then a stream."""
    outlet = FakeOutlet()
    async with socks_at(outlet) as place, await dial(place) as client:
        if version == 5:
            words = b"\x05\x02\x00\x01\xc0\0\x02\x07\x00\x15"
            assert await ask(client, words) == (0, Target("192.0.2.1", 1000))
            assert await hear(client) == (0, Target("192.0.2.7", 2000))
        else:
            await client.send_all(b"\x04\x02\x00\x15\xc0\0\x02\x07\0")
            assert (await read(client, 8)).hex() == "005a03e8c0000201"
            assert (await read(client, 8)).hex() == "005a07d0c0000207"
        assert outlet.incoming.is_closed
        await outlet.far.send_all(b"hello")
        assert await read(client, 5) == b"hello"
    assert outlet.asked == [Target("192.0.2.7", 21)]


async def test_bind_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait has an end, and the client is told."""
    monkeypatch.setattr(socks_server, "CALL_TIMEOUT", 0.2)
    async with socks_at(Direct()) as place, await dial(place) as client:
        words = b"\x05\x02\x00\x01\x7f\0\0\x01\x00\x15"
        code, where = await ask(client, words)
        assert (code, where.host) == (0, LOCAL)
        assert (await hear(client))[0] == 6
        with pytest.raises(OSError, match="all attempts"):
            await trio.open_tcp_stream(where.host, where.port)


@pytest.mark.parametrize("host", [LOCAL, "::1"])
async def test_associate(host: str) -> None:
    """Datagrams there and back, at the address that the client came to."""
    traffic = Traffic()
    async with socks_at(Direct(), host, traffic=traffic) as place:
        with await udp_socket(host) as ours, await udp_socket(host) as theirs:
            async with await dial(place) as client:
                code, relay = await ask(client, ASSOCIATE)
                assert (code, relay.host) == (0, host)
                target = Target(host, theirs.getsockname()[1])
                await ours.sendto(
                    encode_datagram(b"question", target), (relay.host, relay.port)
                )
                data, source = await theirs.recvfrom(100)
                assert data == b"question"
                await theirs.sendto(b"answer", source)
                data, _ = await ours.recvfrom(100)
                assert decode_datagram(data) == (b"answer", target)
            assert (traffic.to_target, traffic.to_client) == (8, 6)
            await until_closed(relay)


async def test_associate_at_a_socket_of_both_families() -> None:
    """A client by IPv4 is told of an IPv4 address there, too, and heard at it."""
    listener = trio.socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    await listener.bind(("::", 0))
    listener.listen(1)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            stream, _ = await listener.accept()
            await serve_socks(trio.SocketStream(stream), outlet=FakeOutlet())

        nursery.start_soon(serve)
        with await udp_socket() as ours:
            async with await dial(Target(LOCAL, listener.getsockname()[1])) as client:
                code, relay = await ask(client, ASSOCIATE)
                assert (code, relay.host) == (0, LOCAL)
                datagram = encode_datagram(b"x", Target("a.example", 53))
                await ours.sendto(datagram, (relay.host, relay.port))
                assert await ours.recv(100) == datagram
    listener.close()


async def until_closed(place: Target) -> None:
    """Wait until nothing is bound there any more."""
    with trio.fail_after(5):
        while True:
            try:
                with await udp_socket_at(place):
                    return
            except OSError:
                await trio.sleep(0.01)


async def udp_socket_at(place: Target) -> trio.socket.SocketType:
    """Bind to it; raises `OSError` as long as another has it."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    one = trio.socket.socket(family, socket.SOCK_DGRAM)
    try:
        await one.bind((place.host, place.port))
    except OSError:
        one.close()
        raise
    return one


async def test_associate_needs_an_address(tmp_path: Path) -> None:
    """There is none at a Unix socket, nor in memory."""
    path = str(tmp_path / "socks")
    listener = trio.socket.socket(socket.AF_UNIX)
    await listener.bind(path)
    listener.listen(1)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            stream, _ = await listener.accept()
            await serve_socks(trio.SocketStream(stream), outlet=FakeOutlet())

        nursery.start_soon(serve)
        async with await trio.open_unix_socket(path) as client:
            assert (await ask(client, ASSOCIATE))[0] == 7
    listener.close()
    client, near = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve_memory() -> None:
            await serve_socks(near, outlet=FakeOutlet())

        nursery.start_soon(serve_memory)
        assert (await ask(client, ASSOCIATE))[0] == 7
        await client.aclose()


async def test_connected_is_cancelled_cleanly() -> None:
    """A server that stops leaves no end open."""
    outlet = FakeOutlet()
    async with socks_at(outlet) as place:
        client = await dial(place)
        await client.send_all(HELLO + CONNECT)
        assert await read(client, len(GRANTED)) == GRANTED
    async with client:
        assert await read_all(client) == b""
    assert await read_all(outlet.far) == b""
    assert Endpoint("192.0.2.1", 1000) == outlet.incoming.place
