"""UDP datagrams that were handed in."""

import socket
import struct
from typing import Any

import pytest
import trio
import trio.testing

from meshnode.errors import HostError
from meshnode.proxy import transparent_udp_server
from meshnode.proxy.outlets import Refusal
from meshnode.proxy.transparent_udp_server import (
    FLOW_IDLE,
    DatagramDoor,
    original_destination,
)
from meshnode.types import Endpoint, Target
from tests.unit.proxy.transparent_parts import FakeOutlet

CLIENT = ("192.0.2.5", 4000)
DNS = Endpoint("198.51.100.7", 53)
TARGET = Target(DNS.host, DNS.port)


def ancillary(place: Endpoint) -> list[tuple[int, int, bytes]]:
    """Return what the kernel says of a datagram that was going to *place*."""
    family = socket.AF_INET6 if place.version == 6 else socket.AF_INET
    port = struct.pack("!H", place.port)
    packed = socket.inet_pton(family, place.host)
    if place.version == 4:
        data = struct.pack("=H", family) + port + packed + bytes(8)
        return [(socket.IPPROTO_IP, 20, data)]
    data = struct.pack("=H", family) + port + bytes(4) + packed + bytes(4)
    return [(socket.IPPROTO_IPV6, 74, data)]


class FakeSocket:
    """What is handed in, or what answers leave by."""

    def __init__(self) -> None:
        self.feed, self._fed = trio.open_memory_channel[Any](100)
        self.answers: list[tuple[bytes, Any]] = []
        self.is_closed = False

    async def recvmsg(self, size: int, ancillary_size: int) -> Any:
        """Return what the test feeds, or raise it."""
        found = await self._fed.receive()
        if isinstance(found, OSError):
            raise found
        return found

    async def sendto(self, data: bytes, client: Any) -> None:
        """Note an answer."""
        await trio.lowlevel.checkpoint()
        self.answers.append((data, client))

    def __enter__(self) -> "FakeSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed = True


class Scene:
    """A door with its outlet, and what it answered by."""

    def __init__(self, nursery: trio.Nursery, refusal: Refusal | None = None) -> None:
        self.outlet = FakeOutlet(refusal)
        self.receiver = FakeSocket()
        self.answering: dict[Endpoint, FakeSocket] = {}
        receiver: Any = self.receiver
        self.door = DatagramDoor(
            receiver,
            nursery,
            outlet_of=lambda: self.outlet,
            answering=self._answering,
        )
        nursery.start_soon(self.door.run)

    async def _answering(self, source: Endpoint) -> Any:
        await trio.lowlevel.checkpoint()
        if source.port == 666:
            raise HostError("this host has that port")
        self.answering[source] = FakeSocket()
        return self.answering[source]

    async def hand_in(
        self, data: bytes, place: Endpoint = DNS, client: Any = CLIENT
    ) -> None:
        """Let a datagram come."""
        self.receiver.feed.send_nowait((data, ancillary(place), 0, client))
        await trio.testing.wait_all_tasks_blocked()


def play(story: Any, refusal: Refusal | None = None) -> None:
    """Run *story* over a scene, with a clock that skips what nobody does."""

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            await story(Scene(nursery, refusal))
            nursery.cancel_scope.cancel()

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0.1))


def test_a_flow_goes_both_ways() -> None:
    """In order, by one place; answers come as from where it was going."""

    async def story(scene: Scene) -> None:
        await scene.hand_in(b"1")
        await scene.hand_in(b"2")
        (place,) = scene.outlet.places
        assert place.sent == [(b"1", TARGET), (b"2", TARGET)]
        place.to_arrive.send_nowait((b"who?", Target("198.51.100.8", 53)))
        place.to_arrive.send_nowait((b"yes", TARGET))
        await trio.testing.wait_all_tasks_blocked()
        assert scene.answering[DNS].answers == [(b"yes", CLIENT)]

    play(story)


def test_flows_are_apart_and_end() -> None:
    """By source and destination; after a while of silence all is closed."""

    async def story(scene: Scene) -> None:
        other = Endpoint("2001:db8::7", 53)
        await scene.hand_in(b"1")
        await scene.hand_in(b"2", client=("192.0.2.5", 4001))
        await scene.hand_in(b"3", other, ("2001:db8::5", 4000, 0, 0))
        assert [place.sent[0][0] for place in scene.outlet.places] == [b"1", b"2", b"3"]
        await trio.sleep(FLOW_IDLE + 1)
        assert all(place.is_closed for place in scene.outlet.places)
        assert scene.answering[other].is_closed
        await scene.hand_in(b"4")
        assert len(scene.outlet.places) == 4

    play(story)


def test_what_cannot_be_carried_is_lost() -> None:
    """And the next datagram tries again."""

    async def story(scene: Scene) -> None:
        await scene.hand_in(b"1")
        await scene.hand_in(b"2", Endpoint("198.51.100.7", 666))
        assert not scene.door._flows
        scene.outlet.refusal = None
        await scene.hand_in(b"3")
        (place,) = scene.outlet.places
        assert place.sent == [(b"3", TARGET)]
        place.to_arrive.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not scene.door._flows

    play(story, Refusal.HOST_UNREACHABLE)


def test_nonsense_starts_no_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No destination, this host itself, an error of the socket, too many."""
    monkeypatch.setattr(transparent_udp_server, "MAX_FLOWS", 1)

    async def story(scene: Scene) -> None:
        scene.receiver.feed.send_nowait((b"1", [], 0, CLIENT))
        scene.receiver.feed.send_nowait(ConnectionRefusedError())
        await scene.hand_in(b"2", Endpoint("127.0.0.1", 53))
        await scene.hand_in(b"3", Endpoint("198.51.100.7", 0))
        assert not scene.outlet.places
        await scene.hand_in(b"4")
        await scene.hand_in(b"5", Endpoint("198.51.100.9", 53))
        assert len(scene.outlet.places) == 1

    play(story)


def test_destinations_are_read() -> None:
    """Of both versions, among other messages; what is cut short is none."""
    for place in (DNS, Endpoint("2001:db8::7", 65535)):
        messages = ancillary(place)
        assert original_destination([(0, 8, b"x" * 12), *messages]) == place
        level, kind, data = messages[0]
        assert original_destination([(level, kind, data[:7])]) is None
    assert original_destination([]) is None
