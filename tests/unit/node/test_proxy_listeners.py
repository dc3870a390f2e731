"""The listeners of plans, opened on loopback."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from meshnode.codec.proxy_link import (
    KEPT_SOCKET,
    OWN_SOCKET,
    PlannedExit,
    PlannedListener,
    ProxyPlan,
)
from meshnode.errors import ConfigError
from meshnode.host.streams import open_listener
from meshnode.node import proxy_listeners as module
from meshnode.node.proxy_listeners import ListenerSet
from meshnode.node.uapi_listener import listen_own
from meshnode.proxy.listener_server import Client, Speakers
from meshnode.types import Endpoint, Prefix

LOCAL = "127.0.0.1"
OVERLAY = (Prefix.parse("10.77.0.0/16"), Prefix.parse("127.0.0.0/8"))
PLAN = ProxyPlan("home", OVERLAY)


def speakers_of(plan: ProxyPlan, listener: PlannedListener | None) -> Speakers:
    """Return who says the kind of a listener, and how many members there are."""
    kind = "exit" if listener is None else listener.kind
    if kind == "bad":
        raise ConfigError("no such rule")

    async def serve(client: Client) -> None:
        await client.stream.send_all(f"{kind} {len(plan.members)}".encode())
        await client.stream.receive_some()

    return Speakers(socks=serve)


class Scene:
    """A set of listeners, and what it complained of last."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.problems: tuple[str, ...] = ()
        self.set = ListenerSet(nursery, speakers_of, self._take)

    def _take(self, texts: tuple[str, ...]) -> None:
        self.problems = texts

    async def follow(
        self, *listeners: PlannedListener, sockets: tuple[socket.socket, ...] = ()
    ) -> None:
        """Serve these, and let them open."""
        self.set.follow(replace(PLAN, listeners=listeners), sockets)
        await trio.testing.wait_all_tasks_blocked(0.05)


@asynccontextmanager
async def running() -> AsyncIterator[Scene]:
    """Give a scene."""
    async with trio.open_nursery() as nursery:
        yield Scene(nursery)
        nursery.cancel_scope.cancel()


def free_port() -> int:
    """Return a port that nobody has."""
    with open_listener(Endpoint(LOCAL, 0)) as one:
        return int(one.getsockname()[1])


async def ask(port: int) -> str:
    """Return what is served there, "" for nothing."""
    try:
        async with await trio.open_tcp_stream(LOCAL, port) as stream:
            return (await stream.receive_some()).decode()
    except OSError:
        return ""


async def test_a_plan_is_followed() -> None:
    """What is new is opened, what is gone closed, with its clients."""
    one, other = free_port(), free_port()
    async with running() as scene:
        await scene.follow(PlannedListener(f"{LOCAL}:{one}", "a"))
        assert (await ask(one), await ask(other)) == ("a 0", "")
        client = await trio.open_tcp_stream(LOCAL, one)
        assert await client.receive_some() == b"a 0"
        [counters] = scene.set.counters()
        assert (counters.place, counters.clients) == (f"{LOCAL}:{one}", 1)
        await scene.follow(PlannedListener(f"{LOCAL}:{other}", "b"))
        assert (await ask(one), await ask(other)) == ("", "b 0")
        with trio.fail_after(5):
            assert await client.receive_some() == b""
        await client.aclose()
        assert scene.problems == ()


async def test_who_stays_keeps_its_clients() -> None:
    """And serves those who come later as it is said now."""
    port = free_port()
    async with running() as scene:
        await scene.follow(PlannedListener(f"{LOCAL}:{port}", "a"))
        async with await trio.open_tcp_stream(LOCAL, port) as client:
            assert await client.receive_some() == b"a 0"
            await scene.follow(PlannedListener(f"{LOCAL}:{port}", "b"))
            assert await ask(port) == "b 0"
            await trio.testing.wait_all_tasks_blocked(0.05)
            [counters] = scene.set.counters()
            assert (counters.clients, counters.total) == (1, 2)


async def test_a_taken_port_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others are served meanwhile."""
    monkeypatch.setattr(module, "RETRY", 0.3)
    good = free_port()
    with open_listener(Endpoint(LOCAL, 0)) as taken:
        bad = int(taken.getsockname()[1])
        async with running() as scene:
            await scene.follow(
                PlannedListener(f"{LOCAL}:{bad}", "a"),
                PlannedListener(f"{LOCAL}:{good}", "b"),
            )
            assert await ask(good) == "b 0"
            await trio.sleep(0.3)
            [problem] = scene.problems
            assert problem == (
                f"{LOCAL}:{bad}: TCP port {bad} is taken: stop who has it, or give "
                "another listen"
            )
            assert [one.place for one in scene.set.counters()] == [f"{LOCAL}:{good}"]
            taken.close()
            await trio.sleep(0.5)
            assert scene.problems == ()
            assert await ask(bad) == "a 0"


async def test_rules_that_are_none_close_a_listener() -> None:
    """Rather nobody than everybody; what was there before is gone too."""
    port = free_port()
    async with running() as scene:
        await scene.follow(PlannedListener(f"{LOCAL}:{port}", "a"))
        await scene.follow(PlannedListener(f"{LOCAL}:{port}", "bad"))
        assert scene.problems == (f"{LOCAL}:{port}: no such rule",)
        assert await ask(port) == ""


async def test_sockets_that_are_handed_over(tmp_path: Path) -> None:
    """They are kept while the plan says so; one that is not used is closed."""
    path = tmp_path / "socket"
    given, useless = listen_own(path), open_listener(Endpoint(LOCAL, 0))
    place = f"unix:{path}"
    async with running() as scene:
        await scene.follow(PlannedListener(place, "a", 0), sockets=(given, useless))
        assert useless.fileno() < 0
        async with await trio.open_unix_socket(str(path)) as client:
            assert await client.receive_some() == b"a 0"
            await scene.follow(PlannedListener(place, "b", KEPT_SOCKET))
            assert scene.set.counters()[0].clients == 1
        async with await trio.open_unix_socket(str(path)) as client:
            assert await client.receive_some() == b"b 0"
        await scene.follow()
        with pytest.raises(OSError, match=r"refused|Failed"):
            await trio.open_unix_socket(str(path))


@pytest.mark.parametrize("number", [0, KEPT_SOCKET])
async def test_a_socket_that_is_missing(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said."""
    monkeypatch.setattr(module, "RETRY", 0.5)
    async with running() as scene:
        await scene.follow(PlannedListener("unix:/nowhere", "a", number))
        await trio.sleep(0.4)
        assert "unix:/nowhere: its socket is" in scene.problems[0]


async def test_the_service_of_an_exit_is_for_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By their source address; it is bound to the interface."""
    places: list[tuple[Endpoint, str]] = []

    def opened(place: Endpoint, device: str) -> socket.socket:
        places.append((place, device))
        return open_listener(place)

    monkeypatch.setattr(module, "open_overlay_listener", opened)
    port = free_port()
    place = Endpoint(LOCAL, port)
    plan = replace(PLAN, exit=PlannedExit((place,), "home"))
    async with running() as scene:
        scene.set.follow(plan, ())
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await ask(port) == "exit 0"
        assert places == [(place, "home")]
    strangers = replace(plan, overlay=OVERLAY[:1])
    async with running() as scene:
        scene.set.follow(strangers, ())
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await ask(port) == ""
        assert scene.set.counters()[0].refused == 1


def test_the_process_binds_what_is_not_given() -> None:
    """That is what the number means."""
    assert PlannedListener("x", "a").socket == OWN_SOCKET
