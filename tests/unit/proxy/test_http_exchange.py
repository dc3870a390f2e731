"""A request and its response between two peers; the whole is in `test_http_server`."""

import h11
import pytest
import trio
import trio.testing

from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.http_exchange import Exchange, ServerGone
from meshnode.proxy.http_peer import ClientPeer, ServerPeer, StreamEnded

HEAD = b"PUT http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
OUTGOING = h11.Request(
    method="PUT", target="/", headers=[("Host", "a"), ("Content-Length", "4")]
)
Stream = trio.abc.HalfCloseableStream


async def between(data: bytes) -> tuple[Exchange, Stream, Stream]:
    """An exchange whose client has sent *data*, and the far ends of both sides."""
    far_client, near_client = trio.testing.memory_stream_pair()
    far_server, near_server = trio.testing.memory_stream_pair()
    client = ClientPeer(near_client, first=data, count=lambda _: None, idle=5)
    request = await client.next_request(1)
    server = ServerPeer(near_server, count=lambda _: None, idle=5)
    return Exchange(client, server, request, "us"), far_client, far_server


async def test_it_reports_how_far_it_came() -> None:
    """All of the body, and the response begun."""
    exchange, client, server = await between(HEAD + b"four")
    await server.send_all(b"HTTP/1.1 204 No\r\n\r\n")
    await exchange.run(OUTGOING, has_body=True)
    assert exchange.has_begun
    assert not exchange.has_switched
    assert (await client.receive_some(999)).startswith(b"HTTP/1.1 204 No\r\n")


async def test_a_server_that_is_gone_is_told_from_a_bad_one() -> None:
    """The former may be asked again on a new connection."""
    exchange, _, server = await between(HEAD + b"four")
    await server.aclose()
    with pytest.raises(ServerGone):
        await exchange.run(OUTGOING, has_body=True)
    exchange, _, server = await between(HEAD + b"four")
    await server.send_all(b"HTTP/1.1 200")
    await server.send_eof()
    with pytest.raises(HttpFault) as found:
        await exchange.run(OUTGOING, has_body=True)
    assert found.value.status == 502
    assert not exchange.has_begun


async def test_a_client_that_stops_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """When neither side has moved for the idle time: whose turn was it?"""
    exchange, _, _ = await between(HEAD + b"fo")
    with pytest.raises(HttpFault) as found:
        await exchange.run(OUTGOING, has_body=True)
    assert found.value.status in (408, 504)


async def test_a_client_that_leaves_ends_it() -> None:
    """In the middle of its body, and of the answer."""
    exchange, client, _ = await between(HEAD + b"fo")
    await client.aclose()
    with pytest.raises(HttpFault) as found:
        await exchange.run(OUTGOING, has_body=True)
    assert found.value.status == 400
    exchange, client, server = await between(HEAD + b"four")
    await client.aclose()
    await server.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    with pytest.raises(StreamEnded):
        await exchange.run(OUTGOING, has_body=True)
