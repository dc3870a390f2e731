"""One side of the proxy: bytes, limits, and what a breach of them is called."""

import socket
import struct

import h11
import pytest
import trio
import trio.testing

from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.http_peer import ClientPeer, ServerPeer, StreamEnded

GET = b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"
Stream = trio.abc.HalfCloseableStream


def client_pair(first: bytes = b"") -> tuple[Stream, ClientPeer]:
    """A client's end, and the proxy's."""
    far, near = trio.testing.memory_stream_pair()
    return far, ClientPeer(near, first=first, count=lambda _: None, idle=5)


async def test_a_request_in_any_pieces() -> None:
    """The first of them may have been read by somebody else."""
    for cut in (0, 1, 2, 20, len(GET)):
        far, client = client_pair(GET[:cut])
        await far.send_all(GET[cut:] if cut < len(GET) else b"")
        assert await client.is_asking(1)
        request = await client.next_request(1)
        assert request.target == b"http://a/"
        assert client.has_said_all


async def test_an_empty_line_before_a_request_is_forgiven() -> None:
    """One: old clients send it behind a body."""
    for cut in range(5):
        far, client = client_pair((b"\r\n" + GET)[:cut])
        await far.send_all((b"\r\n" + GET)[cut:])
        assert await client.is_asking(1)
        assert (await client.next_request(1)).method == b"GET"
    _, client = client_pair(b"\r\n\r\n" + GET)
    assert await client.is_asking(1)
    with pytest.raises(HttpFault):
        await client.next_request(1)


async def test_an_empty_line_alone_is_no_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The client is idle."""
    _, client = client_pair(b"\r\n")
    assert not await client.is_asking(7)
    assert trio.current_time() == 7


async def test_pipelined_requests_wait(autojump_clock: trio.testing.MockClock) -> None:
    """The second is read when the first is answered."""
    far, client = client_pair(GET + GET.replace(b"GET", b"HEAD"))
    assert (await client.next_request(1)).method == b"GET"
    response = h11.Response(status_code=200, headers=[("Content-Length", "1")])
    await client.answer(response, b"x")
    assert client.is_reusable
    assert await client.is_asking(1)
    assert (await client.next_request(1)).method == b"HEAD"
    await client.answer(response, b"x")
    data = bytes(await far.receive_some(9999))
    assert data.count(b"HTTP/1.1 200") == 2
    assert data.count(b"\r\n\r\nx") == 1
    assert not await client.is_asking(1)


async def test_a_client_that_goes_away_needs_no_answer() -> None:
    """In the middle of a head or before one."""
    far, client = client_pair(GET[:9])
    await far.aclose()
    with pytest.raises(StreamEnded):
        await client.next_request(1)
    far, client = client_pair()
    await far.aclose()
    assert not await client.is_asking(1)
    with pytest.raises(StreamEnded):
        await client.send_bytes(b"x")


async def test_a_client_that_takes_nothing_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Within the idle time."""
    near, _ = trio.testing.lockstep_stream_pair()
    client = ClientPeer(near, first=b"", count=lambda _: None, idle=5)
    with pytest.raises(StreamEnded):
        await client.send_bytes(b"x")
    assert trio.current_time() == 5


async def test_the_end_waits_for_the_client_to_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """But not for long."""
    far, client = client_pair()
    await far.send_all(b"x" * 1000)
    await client.end()
    assert trio.current_time() == 2
    assert await far.receive_some(9) == b""


async def test_a_server_that_is_silent_may_be_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing is lost by a time that is over."""
    far, near = trio.testing.memory_stream_pair()
    server = ServerPeer(near, count=lambda _: None, idle=5)
    server.begin()
    request = h11.Request(method="GET", target="/", headers=[("Host", "a")])
    await server.send(request, h11.EndOfMessage())
    await far.send_all(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(trio.TooSlowError):
        await server.next_events()
    assert server.has_heard
    await far.send_all(b"Content-Length: 0\r\n\r\n")
    response, end = await server.next_events()
    assert isinstance(response, h11.Response)
    assert isinstance(end, h11.EndOfMessage)
    assert server.is_reusable
    server.begin()
    assert not server.has_heard
    await far.aclose()
    await server.wait_for_end()


async def test_a_reset_is_no_end() -> None:
    """Of an answer that is as long as the connection."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.open_tcp_stream(*listener.socket.getsockname())
    async with listener, near, await listener.accept() as far:
        server = ServerPeer(near, count=lambda _: None, idle=5)
        request = h11.Request(method="GET", target="/", headers=[("Host", "a")])
        await server.send(request, h11.EndOfMessage())
        await far.send_all(b"HTTP/1.0 200 OK\r\n\r\nab")
        response, data = await server.next_events()
        assert isinstance(response, h11.Response)
        assert isinstance(data, h11.Data)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await far.aclose()
        with pytest.raises(h11.RemoteProtocolError):
            await server.next_events()
