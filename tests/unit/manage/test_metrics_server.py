"""Metrics and health over HTTP: two pages, for who asks by address."""

import socket
from collections.abc import AsyncIterator

import h11
import pytest
import trio
import trio.testing

from meshnode.manage.metrics_server import (
    MAX_REQUEST_BYTES,
    answer,
    serve_metrics,
)


def ask(target: str, *, method: str = "GET", host: str = "127.0.0.1") -> int:
    """Return the status that this request is answered with."""
    request = h11.Request(method=method, target=target, headers=[("host", host)])
    return answer(request, lambda: "m 1\n", list)[0]


def test_two_pages_are_there() -> None:
    """And nothing else."""
    assert ask("/metrics") == 200
    assert ask("/healthz") == 200
    assert ask("/") == ask("/metrics/..") == ask("/../etc/passwd") == 404


def test_complaints_make_a_node_unhealthy() -> None:
    """They are the text, a line each."""
    request = h11.Request(method="GET", target="/healthz", headers=[("host", "[::1]")])
    status, _, text = answer(request, lambda: "", lambda: ["one", "two"])
    assert (status, text) == (503, "one\ntwo\n")


def test_nothing_can_be_changed() -> None:
    """Only GET is answered."""
    assert ask("/metrics", method="POST") == 405
    assert ask("/metrics", method="DELETE") == 405


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9105", "[::1]:9105", "localhost:9105"]
)
def test_an_address_may_ask(host: str) -> None:
    """As Prometheus does."""
    assert ask("/metrics", host=host) == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[x"])
def test_a_name_may_not_ask(host: str) -> None:
    """A web page could have its own name point to us (DNS rebinding)."""
    assert ask("/metrics", host=host) == 421


@pytest.fixture
async def port(nursery: trio.Nursery) -> AsyncIterator[int]:
    """The port of a server on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]

    async def serve() -> None:
        await serve_metrics(
            "127.0.0.1", number, metrics=lambda: "m 1\n", complaints=list
        )

    nursery.start_soon(serve)
    await trio.testing.wait_all_tasks_blocked()
    yield number
    nursery.cancel_scope.cancel()


async def fetch(port: int, request: bytes) -> bytes:
    """Send *request* and return all that comes back."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        with trio.fail_after(10):
            await stream.send_all(request)
            return b"".join([part async for part in stream])


async def test_the_text_is_served(port: int) -> None:
    """With its type and length, and the connection is closed."""
    request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    reply = await fetch(port, request)
    assert reply.startswith(b"HTTP/1.1 200")
    assert b"version=0.0.4" in reply
    assert reply.endswith(b"\r\n\r\nm 1\n")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
        b"GET /" + b"x" * (2 * MAX_REQUEST_BYTES) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["nonsense", "no host", "two hosts", "zeros", "too long"],
)
async def test_what_is_no_request_is_refused(port: int, request_bytes: bytes) -> None:
    """And the server goes on."""
    try:
        reply = await fetch(port, request_bytes)
    except trio.BrokenResourceError:
        reply = b""  # the rest of what was too long had not been read
    assert b" 200 " not in reply
    good = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert (await fetch(port, good)).startswith(b"HTTP/1.1 200")
