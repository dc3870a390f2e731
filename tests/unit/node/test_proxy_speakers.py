"""Who serves the listeners of a plan, by real clients over loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from meshnode.codec.proxy_link import (
    MemberName,
    PlannedExit,
    PlannedListener,
    PlannedUser,
    ProxyPlan,
)
from meshnode.crypto import passwords
from meshnode.crypto.passwords import PasswordHash
from meshnode.errors import ConfigError
from meshnode.host.streams import open_listener
from meshnode.node.proxy_speakers import ProxySpeakers
from meshnode.proxy.listener_server import Listener
from meshnode.types import Endpoint, Prefix

LOCAL = "127.0.0.1"
BERT = MemberName("bert", bytes([127, 0, 0, 2]), bytes(15) + b"\2")
PLAN = ProxyPlan("home", (Prefix.parse("127.0.0.2/32"),), members=(BERT,))
MIXED = PlannedListener(f"{LOCAL}:1080", "mixed")
FORBIDDEN, OK = 2, 0


@asynccontextmanager
async def world(host: str = LOCAL) -> AsyncIterator[int]:
    """Give the port of a host that answers each connection with a word."""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"hello")

    with open_listener(Endpoint(host, 0)) as opened:
        port = int(opened.getsockname()[1])
        plain = trio.SocketListener(trio.socket.from_stdlib_socket(opened))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, answer, [plain])
            yield port
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(
    listener: PlannedListener | None, plan: ProxyPlan = PLAN
) -> AsyncIterator[trio.SocketStream]:
    """Give a connection to that listener, or to the service of an exit."""
    opened = open_listener(Endpoint(LOCAL, 0))
    port = opened.getsockname()[1]
    plain = trio.SocketListener(trio.socket.from_stdlib_socket(opened))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Listener(plain, ProxySpeakers()(plan, listener)).run)
        with trio.fail_after(10):
            async with await trio.open_tcp_stream(LOCAL, port) as stream:
                yield stream
        nursery.cancel_scope.cancel()


async def hear(stream: trio.SocketStream, size: int) -> bytes:
    """Return *size* bytes, or fewer at the end."""
    heard = b""
    while len(heard) < size and (data := await stream.receive_some(size - len(heard))):
        heard += data
    return heard


async def ask(stream: trio.SocketStream, host: str, port: int) -> int:
    """Ask for a connection by SOCKS5; return the code, and see the word if it is 0."""
    name = host.encode()
    await stream.send_all(b"\5\1\0")
    assert await hear(stream, 2) == b"\5\0"
    request = bytes((5, 1, 0, 3, len(name))) + name + port.to_bytes(2, "big")
    await stream.send_all(request)
    answer = await hear(stream, 10)
    if answer[1] == OK:
        assert await hear(stream, 5) == b"hello"
    return answer[1]


async def get(stream: trio.SocketStream, url: str, *fields: str) -> str:
    """Return the answer to a request by HTTP."""
    lines = [f"GET {url} HTTP/1.1", "Host: x", "Connection: close", *fields]
    await stream.send_all("\r\n".join([*lines, "", ""]).encode())
    return (await hear(stream, 2**20)).decode()


@pytest.mark.parametrize(
    ("kind", "socks", "http"),
    [("mixed", True, True), ("socks", True, False), ("http", False, True)],
)
def test_what_is_spoken(kind: str, socks: bool, http: bool) -> None:
    """As the listener says."""
    found = ProxySpeakers()(PLAN, replace(MIXED, kind=kind))
    assert (found.socks is not None, found.http is not None) == (socks, http)


def test_rules_and_hashes_that_are_none() -> None:
    """They are refused when the plan comes, not when a client does."""
    for bad in (
        replace(MIXED, allow=("a b",)),
        replace(MIXED, users=(PlannedUser("alice", "secret"),)),
    ):
        with pytest.raises(ConfigError):
            ProxySpeakers()(PLAN, bad)


async def test_out_from_this_host() -> None:
    """By number, by name, and to members by theirs."""
    async with world() as port, serving(MIXED) as stream:
        assert await ask(stream, LOCAL, port) == OK
    async with world("127.0.0.2") as port:
        for name in ("bert", "bert.home.mesh"):
            async with serving(MIXED) as stream:
                assert await ask(stream, name, port) == OK


async def test_without_a_known_exit_nothing_gets_out() -> None:
    """But to members."""
    lost = replace(MIXED, exits=())
    async with world() as port, serving(lost) as stream:
        assert await ask(stream, LOCAL, port) != OK
    async with world("127.0.0.2") as port, serving(lost) as stream:
        assert await ask(stream, "bert", port) == OK


async def test_out_by_an_exit() -> None:
    """Which is the first that answers."""
    async with world() as port, world() as no_exit:
        with open_listener(Endpoint(LOCAL, 0)) as opened:
            plain = trio.SocketListener(trio.socket.from_stdlib_socket(opened.dup()))
            place = Endpoint(LOCAL, opened.getsockname()[1])
            exits = (Endpoint(LOCAL, no_exit), place)
            async with trio.open_nursery() as nursery:
                exit_ = Listener(plain, ProxySpeakers()(PLAN, MIXED))
                nursery.start_soon(exit_.run)
                async with serving(replace(MIXED, exits=exits)) as stream:
                    assert await ask(stream, LOCAL, port) == OK
                nursery.cancel_scope.cancel()
            assert exit_.seen().total == 1


async def test_rules_hold_for_both_protocols() -> None:
    """SOCKS and HTTP."""
    async with world() as port:
        ruled = replace(MIXED, deny=(f"*:{port}",))
        async with serving(ruled) as stream:
            assert await ask(stream, LOCAL, port) == FORBIDDEN
        async with serving(ruled) as stream:
            answer = await get(stream, f"http://{LOCAL}:{port}/")
            assert answer.startswith("HTTP/1.1 403")


async def test_users_are_asked_by_both_protocols(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody else gets anything."""
    monkeypatch.setattr(passwords, "KIB", 8)
    known = PasswordHash.make(b"secret", salt=bytes(16))
    users = (PlannedUser("alice", str(known)),)
    closed = replace(MIXED, users=users)
    async with serving(closed) as stream:
        await stream.send_all(b"\5\1\0")
        assert await hear(stream, 2) == b"\5\xff"
    async with serving(closed) as stream:
        await stream.send_all(b"\5\1\2\1\5alice\6secret")
        assert await hear(stream, 4) == b"\5\2\1\0"
    async with serving(closed) as stream:
        assert (await get(stream, "http://a/")).startswith("HTTP/1.1 407")
    async with world() as port, serving(closed) as stream:
        field = "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0"
        answer = await get(stream, f"http://{LOCAL}:{port}/", field)
        assert not answer.startswith("HTTP/1.1 407")


async def test_others_do_not_reach_our_loopback() -> None:
    """Through a listener that they can reach; this host's own users do."""
    open_to_others = replace(MIXED, place="192.0.2.1:1080")
    async with world() as port, serving(open_to_others) as stream:
        assert await ask(stream, LOCAL, port) == FORBIDDEN


async def test_the_service_of_an_exit() -> None:
    """It reaches nothing that is its host's own, and speaks SOCKS alone."""
    place = Endpoint("10.77.0.1", 1080)
    plan = replace(PLAN, exit=PlannedExit((place,), "home", own=("192.0.2.1",)))
    assert ProxySpeakers()(plan, None).http is None
    async with world() as port:
        for host in (LOCAL, "localhost", "::1", "bert", "192.0.2.1", "10.0.0.1"):
            async with serving(None, plan) as stream:
                assert await ask(stream, host, port) == FORBIDDEN, host


@pytest.mark.parametrize(
    ("listener", "everything"),
    [(MIXED, False), (replace(MIXED, exits=()), True)],
)
async def test_a_pac_file_says_what_goes_here(
    listener: PlannedListener, everything: bool
) -> None:
    """Where there is an exit, everything; else what is of the mesh."""
    async with serving(listener) as stream:
        here = stream.socket.getpeername()
        answer = await get(stream, "/proxy.pac")
    assert answer.startswith("HTTP/1.1 200")
    assert f"PROXY {LOCAL}:{here[1]}" in answer
    assert ("home.mesh" in answer) == (not everything)


async def test_fields_of_requests_are_changed() -> None:
    """As the listener says; others are passed on."""
    heard: list[str] = []

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            heard.append((await stream.receive_some(4096)).decode())
            await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    with open_listener(Endpoint(LOCAL, 0)) as opened:
        port = opened.getsockname()[1]
        plain = trio.SocketListener(trio.socket.from_stdlib_socket(opened))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, answer, [plain])
            changed = replace(
                MIXED, set_headers=("DNT: 1",), remove_headers=("Referer",)
            )
            async with serving(changed) as stream:
                url = f"http://{LOCAL}:{port}/"
                assert "204" in await get(stream, url, "Referer: secret", "X-Kept: yes")
            nursery.cancel_scope.cancel()
    (request,) = heard
    assert "DNT: 1\r\n" in request
    assert "X-Kept: yes\r\n" in request
    assert "secret" not in request
