"""Connections, datagrams and calls by this host's own sockets."""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from meshnode.proxy.direct_outlet import CONNECT_TIMEOUT, MAX_NAMES, Direct
from meshnode.proxy.outlets import OutletError, Refusal
from meshnode.types import Endpoint, Target
from tests.unit.proxy.proxy_parts import (
    LOCAL,
    closed_port,
    echo,
    listening,
    udp_socket,
)


class Names(trio.abc.HostnameResolver):
    """The host's resolver: a table, or an error."""

    def __init__(self) -> None:
        self.table: dict[str, list[str]] = {}
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def getaddrinfo(  # type: ignore[override]
        self, host: bytes | str, port: int, *rest: Any
    ) -> list[Any]:
        """Look it up in the table."""
        name = host.decode() if isinstance(host, bytes) else str(host)
        self.asked.append(name)
        if self.error is not None:
            raise self.error
        if name not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            (
                socket.AF_INET6 if ":" in one else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (one, port, 0, 0) if ":" in one else (one, port),
            )
            for one in self.table[name]
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        """Nobody asks."""
        raise NotImplementedError


@pytest.fixture
async def names() -> Names:
    """What the host knows of names."""
    names = Names()
    trio.socket.set_custom_hostname_resolver(names)
    return names


async def refusal_of(outlet: Direct, target: Target) -> Refusal:
    """Return why there is no connection."""
    with pytest.raises(OutletError) as caught:
        await outlet.connect(target)
    return caught.value.refusal


@pytest.mark.parametrize("host", [LOCAL, "::1"])
async def test_connect(host: str) -> None:
    """In both families, with the address of ours that it has."""
    async with listening(echo, host) as place:
        stream, ours = await Direct().connect(place)
        async with stream:
            assert ours.host == host
            assert ours.port == stream.socket.getsockname()[1]
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"


async def test_names_of_the_host_and_the_mesh(names: Names) -> None:
    """The mesh is asked first, and what it knows the host never hears."""
    names.table = {"b.example": ["192.0.2.9", "2001:db8::9", "192.0.2.10"]}

    def mesh(name: str) -> Sequence[str]:
        return {"ann.home.mesh": ["10.9.0.1", "fd00:9::1"]}.get(name, "")

    outlet = Direct(resolve=mesh)
    assert await outlet.places_of(Target("ann.home.mesh", 7)) == [
        Endpoint("10.9.0.1", 7),
        Endpoint("fd00:9::1", 7),
    ]
    assert names.asked == []
    assert await outlet.places_of(Target("b.example", 7)) == [
        Endpoint("192.0.2.9", 7),
        Endpoint("2001:db8::9", 7),
        Endpoint("192.0.2.10", 7),
    ]
    assert names.asked == ["b.example"]


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (None, Refusal.NO_SUCH_NAME),
        (socket.gaierror(socket.EAI_AGAIN, "again"), Refusal.TIMED_OUT),
        (socket.gaierror(socket.EAI_FAIL, "failed"), Refusal.FAILED),
        (UnicodeError("label too long"), Refusal.NO_SUCH_NAME),
        (OSError(24, "too many files"), Refusal.BUSY),
    ],
)
async def test_names_that_are_none(
    names: Names, error: Exception | None, refusal: Refusal
) -> None:
    """Each failure of the resolver is told apart."""
    names.error = error
    assert await refusal_of(Direct(), Target("a.example", 1)) is refusal


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "::ffff:127.0.0.1", "127.1", "0x7f.1", "2130706433", "::1"),
        *("a.example", "ann.home.mesh"),
    ],
)
async def test_what_is_not_permitted(names: Names, host: str) -> None:
    """However the address is written, and whatever name it has."""
    names.table = {"a.example": ["::ffff:127.0.0.1", "127.0.0.1", "::1"]}
    seen: list[IPv4Address | IPv6Address] = []

    def permits(address: IPv4Address | IPv6Address) -> bool:
        seen.append(address)
        return not address.is_loopback

    outlet = Direct(
        resolve=lambda name: ["127.0.0.1"] if name == "ann.home.mesh" else [],
        permits=permits,
    )
    async with listening(echo) as place:
        assert await refusal_of(outlet, Target(host, place.port)) is Refusal.FORBIDDEN
    assert all(str(address) in ("127.0.0.1", "::1") for address in seen)


async def test_permitted_addresses_of_a_name_are_tried(names: Names) -> None:
    """A name with a forbidden one among them is not lost."""
    async with listening(echo) as place:
        names.table = {"a.example": ["127.0.0.2", LOCAL]}
        outlet = Direct(permits=lambda address: str(address) == LOCAL)
        stream, _ = await outlet.connect(Target("a.example", place.port))
        async with stream:
            assert stream.socket.getpeername()[0] == LOCAL


async def test_refused() -> None:
    """As the host's error says."""
    assert await refusal_of(Direct(), closed_port()) is Refusal.REFUSED


async def test_host_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """It has its time, and no more."""

    async def silence(places: Sequence[Endpoint]) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("meshnode.proxy.host_sockets.connect_first", silence)
    began = trio.current_time()
    assert await refusal_of(Direct(), Target(LOCAL, 9)) is Refusal.TIMED_OUT
    assert trio.current_time() - began == pytest.approx(CONNECT_TIMEOUT)


@pytest.mark.parametrize("host", [LOCAL, "::1"])
async def test_datagrams(host: str) -> None:
    """One place speaks both families, and says truly who answered."""
    with await Direct().open_datagrams() as ours, await udp_socket(host) as theirs:
        target = Target(host, theirs.getsockname()[1])
        await ours.send(b"question", target)
        data, source = await theirs.recvfrom(100)
        assert data == b"question"
        await theirs.sendto(b"answer", source)
        assert await ours.receive() == (b"answer", target)
        with await udp_socket(host) as stranger:
            await stranger.sendto(b"!", source)
            assert await ours.receive() == (
                b"!",
                Target(host, stranger.getsockname()[1]),
            )


async def test_datagrams_to_names(names: Names) -> None:
    """All to the address that it had first; not more names than are remembered."""
    with await Direct().open_datagrams() as ours, await udp_socket() as theirs:
        port = theirs.getsockname()[1]
        for number in range(MAX_NAMES + 1):
            names.table[f"{number}.example"] = [LOCAL]
        for number in (0, 0, *range(MAX_NAMES + 1)):
            await ours.send(b"x", Target(f"{number}.example", port))
            await theirs.recvfrom(10)
        assert len(names.asked) == MAX_NAMES + 1
        await ours.send(b"x", Target("0.example", port))
        assert len(names.asked) == MAX_NAMES + 2


async def test_datagrams_that_are_lost(names: Names) -> None:
    """No name, no permission, no port, too long: none is an error, the next goes."""
    async with trio.open_nursery():
        outlet = Direct(permits=lambda address: str(address) == LOCAL)
        with await outlet.open_datagrams() as ours, await udp_socket() as theirs:
            port = theirs.getsockname()[1]
            for target in (
                Target("no.example", port),
                Target("127.0.0.2", port),
                Target(LOCAL, 0),
            ):
                await ours.send(b"lost", target)
            await ours.send(bytes(70_000), Target(LOCAL, port))
            await ours.send(b"here", Target(LOCAL, port))
            data, source = await theirs.recvfrom(100)
            assert data == b"here"
            # Nor does anything come from where nothing may go.
            with await udp_socket("127.0.0.2") as stranger:
                await stranger.sendto(b"!", source)
            await theirs.sendto(b"answer", source)
            assert (await ours.receive())[0] == b"answer"


async def test_datagrams_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host may have none: IPv4 works, and IPv6 is lost."""
    make = trio.socket.socket

    def no_ipv6(family: int, *rest: Any) -> trio.socket.SocketType:
        if family == socket.AF_INET6:
            raise OSError(97, "no such family")
        return make(family, *rest)

    with await udp_socket() as theirs:
        monkeypatch.setattr("trio.socket.socket", no_ipv6)
        with await Direct().open_datagrams() as ours:
            await ours.send(b"lost", Target("::1", 9))
            await ours.send(b"here", Target(LOCAL, theirs.getsockname()[1]))
            assert (await theirs.recvfrom(10))[0] == b"here"


@pytest.mark.parametrize(("host", "other"), [(LOCAL, "127.0.0.2"), ("::1", "")])
async def test_only_the_peer_may_call(host: str, other: str) -> None:
    """Whoever else finds the port is turned away."""
    with await Direct().listen(Target(host, 21)) as incoming:
        assert incoming.place.host == host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if other:
            with trio.socket.socket() as stranger:
                await stranger.bind((other, 0))
                await stranger.connect((LOCAL, incoming.place.port))
                stream, peer = None, None
                with trio.move_on_after(0.2):
                    stream, peer = await incoming.accept()
                assert stream is None
                assert await stranger.recv(1) == b""
        with trio.socket.socket(family) as friend:
            await friend.connect((host, incoming.place.port))
            stream, peer = await incoming.accept()
            async with stream:
                ours = friend.getsockname()
                assert peer == Endpoint(ours[0], ours[1])


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_nobody_in_particular_may_not_call(host: str) -> None:
    """Else it would be open to all."""
    with pytest.raises(OutletError) as caught:
        await Direct().listen(Target(host, 0))
    assert caught.value.refusal is Refusal.FORBIDDEN
