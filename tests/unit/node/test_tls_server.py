"""What a stranger gets from a server, and how much of it."""

import ssl

import pytest
import trio

from meshnode.node import tls_server
from meshnode.node.tls_server import source_of
from meshnode.node.tls_streams import client_context
from tests.unit.node.tls_parts import dial, echoing_node, serving


async def first_byte(stream: trio.abc.Stream) -> bytes:
    """Return what comes from the server, b"" if it ends the connection."""
    try:
        with trio.fail_after(10):
            return bytes(await stream.receive_some(1))
    except trio.BrokenResourceError:
        return b""


@pytest.mark.parametrize("said", [bytes(100), b"GET / HTTP/1.1\r\n\r\n"])
async def test_what_is_no_tls_is_refused(said: bytes) -> None:
    """At most with an alert."""
    async with echoing_node() as port, serving(port) as place:
        stream = await trio.open_tcp_stream(place.host, place.port)
        await stream.send_all(said)
        while await first_byte(stream):
            pass
        await stream.aclose()


@pytest.mark.parametrize("said", [b"\0\x51" + bytes(81), b"\0\x03abc", b"\0\0"])
async def test_who_does_not_know_us_gets_nothing(said: bytes) -> None:
    """Though it speaks TLS and names our protocol."""
    async with echoing_node() as port, serving(port) as place:
        transport = await trio.open_tcp_stream(place.host, place.port)
        stream = trio.SSLStream(transport, client_context(), https_compatible=True)
        await stream.send_all(said)
        assert await first_byte(stream) == b""
        await trio.aclose_forcefully(stream)


async def test_another_protocol_is_refused() -> None:
    """As a browser would come."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with echoing_node() as port, serving(port) as place:
        transport = await trio.open_tcp_stream(place.host, place.port)
        stream = trio.SSLStream(transport, context, https_compatible=True)
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await first_byte(stream) == b""
        await trio.aclose_forcefully(stream)


async def test_one_source_has_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are idle are closed in time, and there is room again."""
    monkeypatch.setattr(tls_server, "MAX_OF_SOURCE", 2)
    monkeypatch.setattr(tls_server, "HANDSHAKE_TIMEOUT", 0.3)
    async with echoing_node() as port, serving(port) as place:
        held = [await trio.open_tcp_stream(place.host, place.port) for _ in range(3)]
        assert await first_byte(held[2]) == b""
        assert await first_byte(held[0]) == b""
        await trio.testing.wait_all_tasks_blocked(0.05)
        connection = await dial(place)
        await connection.close()
        for one in held:
            await one.aclose()


def test_sources() -> None:
    """A host has one IPv4 address, and a /64 of IPv6."""
    assert source_of("192.0.2.1") != source_of("192.0.2.2")
    assert source_of("2001:db8::1") == source_of("2001:db8::2%eth0")
    assert source_of("2001:db8::1") != source_of("2001:db8:0:1::1")
