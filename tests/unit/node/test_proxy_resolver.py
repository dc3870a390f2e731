"""The resolver of a plan, asked over loopback."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import dnslib
import pytest
import trio

from meshnode.codec.proxy_link import MemberName, PlannedResolver, ProxyPlan
from meshnode.host.streams import open_overlay_datagrams, open_overlay_listener
from meshnode.node import proxy_resolver as module
from meshnode.node.proxy_resolver import PlannedNames
from meshnode.types import Endpoint, Prefix

LOCAL = "127.0.0.1"
OVERLAY = (Prefix.parse("10.77.0.0/16"), Prefix.parse("fd00::/48"))


def free_place() -> Endpoint:
    """Return a place that nobody has, by UDP or TCP."""
    while True:
        with open_overlay_datagrams(Endpoint(LOCAL, 0)) as udp:
            place = Endpoint(LOCAL, udp.getsockname()[1])
            with socket.socket() as tcp:
                if tcp.connect_ex((LOCAL, place.port)):
                    return place


def plan(
    place: Endpoint, *names: str, upstream: tuple[Endpoint, ...] = ()
) -> ProxyPlan:
    """Return a plan with that many members, numbered from 1."""
    members = tuple(
        MemberName(name, bytes([10, 77, 0, number]), bytes(15) + bytes([number]))
        for number, name in enumerate(names, 1)
    )
    resolver = PlannedResolver(names[0], (place,), upstream)
    return ProxyPlan("home", OVERLAY, members=members, resolver=resolver)


class Scene:
    """A resolver, and its last complaint."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.problem = ""
        self.names = PlannedNames(nursery, self._take)

    def _take(self, text: str) -> None:
        self.problem = text

    async def follow(self, one: ProxyPlan) -> None:
        """Answer as that plan says."""
        self.names.follow(one)
        await trio.testing.wait_all_tasks_blocked(0.05)


@asynccontextmanager
async def running() -> AsyncIterator[Scene]:
    """Give a scene."""
    async with trio.open_nursery() as nursery:
        yield Scene(nursery)
        nursery.cancel_scope.cancel()


async def ask(place: Endpoint, name: str) -> list[str] | None:
    """Return the addresses of a name, by UDP; None if nobody is there."""
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        await one.connect((place.host, place.port))
        await one.send(dnslib.DNSRecord.question(name).pack())
        with trio.move_on_after(2):
            try:
                reply = dnslib.DNSRecord.parse(await one.recv(4096))
            except ConnectionRefusedError:
                return None
            return [str(record.rdata) for record in reply.rr]
    return None


async def test_names_follow_the_plan() -> None:
    """The sockets stay; without a resolver in the plan they go."""
    place = free_place()
    async with running() as scene:
        await scene.follow(plan(place, "anna"))
        assert await ask(place, "anna.home.mesh") == ["10.77.0.1"]
        assert await ask(place, "bert.home.mesh") == []
        await scene.follow(plan(place, "anna", "bert"))
        assert await ask(place, "bert.home.mesh") == ["10.77.0.2"]
        other = free_place()
        await scene.follow(plan(other, "anna"))
        assert await ask(place, "anna.home.mesh") is None
        assert await ask(other, "anna.home.mesh") == ["10.77.0.1"]
        await scene.follow(replace(plan(other, "anna"), resolver=None))
        assert await ask(other, "anna.home.mesh") is None
        assert scene.problem == ""


async def test_others_are_asked_for_other_names() -> None:
    """Whom the plan says now."""
    place, outside = free_place(), free_place()
    async with running() as scene, running() as world:
        elsewhere = replace(plan(outside, "www"), network="world")
        await world.follow(elsewhere)
        await scene.follow(plan(place, "anna"))
        assert await ask(place, "example.org") == []
        await scene.follow(plan(place, "anna", upstream=(outside,)))
        assert await ask(place, "example.org") == []
        # Names of the mesh are never asked for elsewhere.
        assert await ask(place, "www.world.mesh") == []
        assert await ask(outside, "www.world.mesh") == ["10.77.0.1"]


@pytest.mark.parametrize("kind", ["UDP", "TCP"])
async def test_a_taken_port_is_said_and_tried_again(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is had."""
    monkeypatch.setattr(module, "RETRY", 0.4)
    place = free_place()
    opener = open_overlay_datagrams if kind == "UDP" else open_overlay_listener
    with opener(place) as taken:
        async with running() as scene:
            await scene.follow(plan(place, "anna"))
            assert (
                f"{kind} port {place.port} is taken: stop who has it" in scene.problem
            )
            taken.close()
            await trio.sleep(0.8)
            assert scene.problem == ""
            assert await ask(place, "anna.home.mesh") == ["10.77.0.1"]
