"""Forwarded ports between two sides of loopback."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel

from meshnode.errors import HostError
from meshnode.proxy import forward_server
from meshnode.proxy.forward_server import serve_forward
from meshnode.proxy.forwards import Transport
from meshnode.types import Endpoint

KINDS = {Transport.TCP: socket.SOCK_STREAM, Transport.UDP: socket.SOCK_DGRAM}


def bound(transport: Transport) -> socket.socket:
    """Return a listener at a random port of loopback."""
    one = socket.socket(socket.AF_INET, KINDS[transport])
    one.setblocking(False)
    one.bind(("127.0.0.1", 0))
    if transport is Transport.TCP:
        one.listen()
    return one


def place(one: socket.socket | trio.socket.SocketType) -> tuple[str, int]:
    """Return where a socket is."""
    host, port = one.getsockname()
    return host, port


def open_socket(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    """Open a socket of this host."""
    one = socket.socket(family, kind)
    one.setblocking(False)
    return one


@asynccontextmanager
async def forwarded(
    transport: Transport,
    target: tuple[str, int],
    opener: forward_server.OpenSocket = open_socket,
) -> AsyncIterator[tuple[str, int]]:
    """Yield the place that leads to *target*."""
    listener = bound(transport)
    at = place(listener)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                serve_forward, transport, listener, Endpoint(*target), opener
            )
            yield at
            nursery.cancel_scope.cancel()


async def test_connections_are_carried_side_by_side() -> None:
    """Each to one of its own."""
    server = trio.socket.from_stdlib_socket(bound(Transport.TCP))
    with server:
        async with forwarded(Transport.TCP, place(server)) as at:
            clients = [await trio.open_tcp_stream(*at) for _ in range(3)]
            for number, client in enumerate(clients):
                await client.send_all(bytes((number,)))
                one, _ = await server.accept()
                with one:
                    assert await one.recv(9) == bytes((number,))
                    await one.send(b"yes")
                assert await client.receive_some() == b"yes"
                assert await client.receive_some() == b""
                await client.aclose()


async def test_a_target_that_refuses_closes_the_connection() -> None:
    """And the next one may be lucky."""
    with bound(Transport.TCP) as silent:
        target = place(silent)
    async with forwarded(Transport.TCP, target) as at:
        async with await trio.open_tcp_stream(*at) as client:
            assert await client.receive_some() == b""
        server = trio.socket.socket()
        with server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await server.bind(target)
            server.listen()
            async with await trio.open_tcp_stream(*at):
                one, _ = await server.accept()
                one.close()


async def test_no_socket_is_no_end() -> None:
    """Where none can be opened, connections are closed and datagrams lost."""

    def fail(family: object, kind: object) -> socket.socket:
        raise HostError("no descriptor is left")

    async with (
        forwarded(Transport.TCP, ("127.0.0.1", 9), fail) as at,
        await trio.open_tcp_stream(*at) as client,
    ):
        assert await client.receive_some() == b""
    async with forwarded(Transport.UDP, ("127.0.0.1", 9), fail) as at:
        with trio.socket.socket(type=socket.SOCK_DGRAM) as one:
            await one.connect(at)
            for _ in range(3):
                await one.send(b"x")
                await trio.lowlevel.checkpoint()


async def test_each_sender_gets_its_own_answers() -> None:
    """Senders are told apart, and have one socket as long as they speak."""
    server = trio.socket.from_stdlib_socket(bound(Transport.UDP))
    with server:
        async with forwarded(Transport.UDP, place(server)) as at:
            clients = [trio.socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
            seen = set()
            for _ in range(2):
                for number, one in enumerate(clients):
                    await one.connect(at)
                    await one.send(bytes((number,)))
                    data, sender = await server.recvfrom(9)
                    seen.add(sender)
                    await server.sendto(b"to " + data, sender)
                    assert await one.recv(9) == b"to " + bytes((number,))
            assert len(seen) == 2
            for one in clients:
                one.close()


async def test_datagrams_reach_a_target_that_comes_later() -> None:
    """Until then they are lost, and nothing breaks."""
    with bound(Transport.UDP) as later:
        target = place(later)
    async with forwarded(Transport.UDP, target) as at:
        with trio.socket.socket(type=socket.SOCK_DGRAM) as one:
            await one.connect(at)
            for _ in range(3):
                await one.send(b"lost")
                await trio.sleep(0.01)
            server = trio.socket.socket(type=socket.SOCK_DGRAM)
            with server:
                await server.bind(target)
                data = b""
                while data != b"there":
                    await one.send(b"there")
                    with trio.move_on_after(0.2):
                        data, _ = await server.recvfrom(9)


async def test_senders_have_a_bound_and_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One too many has to wait until another has been silent."""
    monkeypatch.setattr(forward_server, "MAX_OPEN", 1)
    monkeypatch.setattr(forward_server, "UDP_IDLE", 0.3)
    server = trio.socket.from_stdlib_socket(bound(Transport.UDP))
    with server:
        async with forwarded(Transport.UDP, place(server)) as at:
            first, second = (
                trio.socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)
            )
            with first, second:
                await first.connect(at)
                await second.connect(at)
                await first.send(b"first")
                assert (await server.recvfrom(9))[0] == b"first"
                data = b""
                while data != b"second":
                    await second.send(b"second")
                    with trio.move_on_after(0.1):
                        data, _ = await server.recvfrom(9)
