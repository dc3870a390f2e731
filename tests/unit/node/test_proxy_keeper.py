"""Control's end of the proxies: what the process is told, and when."""

import os
import random
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from meshnode.codec.proxy_link import (
    KEPT_SOCKET,
    MAX_DESCRIPTORS,
    MAX_MESSAGE_BYTES,
    Ask,
    Counters,
    Counts,
    Problems,
    ProxyMessage,
    ProxyPlan,
    Setup,
    Started,
    decode_from_control,
    decode_plan,
    encode,
)
from meshnode.errors import HostError
from meshnode.host.changes import RemoveSocket
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair
from meshnode.host.journal import Journal
from meshnode.host.memory import read_sealed
from meshnode.manage.config_values import DnsSettings, NetworkConfig
from meshnode.manage.proxy_text import ProxyListener
from meshnode.manage.toml_reader import Table
from meshnode.mesh.events import MemberJoined, PeerUp
from meshnode.node import proxy_keeper as module
from meshnode.node.proxy_keeper import ProxyKeeper
from meshnode.types import Endpoint
from tests.unit.node.shell_parts import Shell

ONE = ProxyListener(Endpoint("127.0.0.1", 1080))
TWO = ProxyListener(Endpoint("127.0.0.1", 1081), "http")


class Scene:
    """A founder's shell, its configuration, and the process's end of the link."""

    def __init__(
        self, rng: random.Random, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "SETTLE", 0.01)
        self.shell = Shell(rng, path, monkeypatch)
        self.shell.start()
        self.config = NetworkConfig("home", dns=DnsSettings(resolver=False))
        self.wanted = 0
        self.path = path
        self._descriptor = os.open(path / "notes", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.journal = Journal(self._descriptor, path / "notes")
        self.begin()

    def begin(self) -> None:
        """Let a control process begin; the link is the same as before."""
        self.link, theirs = seqpacket_pair(buffer_bytes=2**18)
        self.keeper = ProxyKeeper(
            self.shell.shell,
            theirs,
            self.journal,
            config=lambda: self.config,
            interface="home",
            want_process=self._want,
        )

    def _want(self) -> None:
        self.wanted += 1

    def change(self, *listeners: ProxyListener) -> None:
        """Let the configuration be read again."""
        self.config = replace(self.config, proxies=listeners)
        self.keeper.look()

    def say(self, message: ProxyMessage) -> None:
        """Be the process."""
        assert send_with_fds(self.link, encode(message))

    async def hear(self) -> tuple[Setup | Ask, ProxyPlan | None, list[socket.socket]]:
        """Return what the process is told next, with the plan and sockets beside."""
        with trio.fail_after(10):
            while True:
                await trio.lowlevel.wait_readable(self.link)
                received = recv_with_fds(
                    self.link, max_bytes=MAX_MESSAGE_BYTES, max_fds=MAX_DESCRIPTORS
                )
                if received is not None:
                    break
        message = decode_from_control(received[0])
        if isinstance(message, Ask):
            return message, None, []
        memory, *fds = received[1]
        plan = decode_plan(read_sealed(memory, message.size))
        os.close(memory)
        return message, plan, [socket.socket(fileno=fd) for fd in fds]

    async def hear_places(self) -> list[str]:
        """Return the places of the plan that comes next."""
        _, plan, sockets = await self.hear()
        assert plan is not None
        for one in sockets:
            one.close()
        return [one.place for one in plan.listeners]

    async def is_quiet(self) -> bool:
        """Whether the process is told nothing now."""
        await trio.testing.wait_all_tasks_blocked(0.05)
        return recv_with_fds(self.link, max_bytes=1) is None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run control's end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keeper.run)
            yield
            nursery.cancel_scope.cancel()
        self.link.close()

    def health(self) -> list[str]:
        """Return what `status` complains of."""
        return list(self.shell.node.health.values())

    def close(self) -> None:
        """End the scene."""
        self.shell.close()
        os.close(self._descriptor)


@pytest.fixture
async def scene(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    """Nothing is configured."""
    scene = Scene(rng, tmp_path, monkeypatch)
    yield scene
    scene.close()


async def test_nobody_is_asked_for_nothing(scene: Scene) -> None:
    """A node without listeners has no such process."""
    async with scene.running():
        assert await scene.is_quiet()
        assert scene.wanted == 0


async def test_configuration_is_followed(scene: Scene) -> None:
    """The process is wanted, and told again of every change, but of nothing else."""
    async with scene.running():
        scene.change(ONE)
        assert await scene.hear_places() == [ONE.place]
        assert scene.wanted == 1
        scene.keeper.look()
        assert await scene.is_quiet()
        scene.change(ONE, TWO)
        assert await scene.hear_places() == [ONE.place, TWO.place]
        scene.change()
        assert await scene.hear_places() == []


async def test_a_resolver_is_something_to_serve(scene: Scene) -> None:
    """Without any listener."""
    async with scene.running():
        scene.config = NetworkConfig("home")
        scene.change()
        _, plan, _ = await scene.hear()
        assert plan is not None
        assert plan.resolver is not None
        assert scene.wanted == 1


async def test_a_process_that_begins_is_told_all(scene: Scene) -> None:
    """At once."""
    async with scene.running():
        scene.change(ONE)
        assert await scene.hear_places() == [ONE.place]
        scene.say(Started())
        assert await scene.hear_places() == [ONE.place]


async def test_what_could_not_be_said_is_said_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And complained of meanwhile."""
    monkeypatch.setattr(module, "RETRY", 0.2)
    failures = [HostError("there is no memory")]
    create = module.create_sealed

    def fail_once(name: str, data: bytes) -> int:
        if failures:
            raise failures.pop()
        return create(name, data)

    monkeypatch.setattr(module, "create_sealed", fail_once)
    async with scene.running():
        scene.change(ONE)
        assert await scene.is_quiet()
        assert scene.health() == ["there is no memory"]
        assert await scene.hear_places() == [ONE.place]
        assert scene.health() == []


async def test_members_that_come_have_names(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens often, and changes nothing, is not looked at."""
    async with scene.running():
        scene.change(ONE)
        await scene.hear()
        looked: list[int] = []
        make = module.make_plan

        def noted(*args: object) -> object:
            looked.append(1)
            return make(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(module, "make_plan", noted)
        scene.shell.shell._tell(PeerUp("bert", bytes(32)))
        assert await scene.is_quiet()
        assert not looked
        scene.shell.shell._tell(MemberJoined("bert", bytes(32)))
        assert await scene.is_quiet()
        assert looked


async def test_problems_are_complained_of(scene: Scene) -> None:
    """Those of the process and our own, until they are gone."""
    async with scene.running():
        scene.change(replace(ONE, exit=("paris",)))
        await scene.hear()
        assert "exit paris is no member" in scene.health()[0]
        scene.say(Problems(("127.0.0.1:1080: TCP port 1080 is taken",)))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert "paris" in scene.health()[0]
        assert "is taken" in scene.health()[0]
        scene.say(Problems(()))
        scene.change(ONE)
        await scene.hear()
        assert scene.health() == []


async def test_unix_sockets_are_bound_here(scene: Scene) -> None:
    """Written down first, private, handed over once, and gone with the listener."""
    path = scene.path / "run" / "socket"
    listener = ProxyListener(path)
    async with scene.running():
        scene.change(listener)
        _, plan, sockets = await scene.hear()
        assert plan is not None
        assert plan.listeners[0].socket == 0
        assert RemoveSocket(str(path)) in scene.journal.pending()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with sockets[0] as given, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            given.accept()[0].close()
        scene.change(listener, ONE)
        _, plan, sockets = await scene.hear()
        assert plan is not None
        assert (plan.listeners[0].socket, sockets) == (KEPT_SOCKET, [])
        # Another process has nothing, and gets it again.
        scene.say(Started())
        _, plan, sockets = await scene.hear()
        assert plan is not None
        assert (plan.listeners[0].socket, len(sockets)) == (0, 1)
        sockets[0].close()
        scene.change()
        await scene.hear()
        assert not path.exists()


async def test_the_mode_of_a_unix_socket(scene: Scene) -> None:
    """As configured, and as it is configured later."""
    path = scene.path / "socket"
    async with scene.running():
        for mode in ("0666", "0600"):
            scene.change(ProxyListener(path, mode=mode))
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)


async def test_a_control_after_us_leaves_a_served_socket_alone(scene: Scene) -> None:
    """The process has it; when that dies, it is bound anew."""
    path = scene.path / "socket"
    async with scene.running():
        scene.change(ProxyListener(path))
        _, _, [given] = await scene.hear()
    scene.begin()
    async with scene.running():
        _, plan, sockets = await scene.hear()
        assert plan is not None
        assert (plan.listeners[0].socket, sockets) == (KEPT_SOCKET, [])
        given.close()
        scene.say(Started())
        _, plan, sockets = await scene.hear()
        assert plan is not None
        assert (plan.listeners[0].socket, len(sockets)) == (0, 1)
        sockets[0].close()


async def test_somebody_elses_socket_is_in_the_way(scene: Scene) -> None:
    """It is said, and the other listeners are served."""
    path = scene.path / "socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        async with scene.running():
            scene.change(ProxyListener(path), ONE)
            assert await scene.hear_places() == [ONE.place]
            assert "is already in use" in scene.health()[0]


async def test_the_verb_lists_listeners(scene: Scene) -> None:
    """With what the process counts; one that is not open says so."""
    verb = scene.keeper.verbs()["proxy list"]
    async with scene.running():
        assert await verb(Table({}, "proxy list")) == {"listeners": [], "problems": []}
        scene.change(ONE, replace(TWO, exit=("paris",)))
        await scene.hear()
        answers: list[dict[str, list[dict[str, object]]]] = []

        async def ask() -> None:
            answers.append(await verb(Table({}, "proxy list")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            message, _, _ = await scene.hear()
            assert isinstance(message, Ask)
            scene.say(Counts(message.number, (Counters(ONE.place, 1, 2, 3, 4, 5),)))
        one, two = answers[0]["listeners"]
        assert one == {
            "listen": ONE.place,
            "kind": "mixed",
            "exit": [],
            "isOpen": True,
            "clients": 1,
            "totalClients": 2,
            "refusedClients": 3,
            "sentBytes": 4,
            "receivedBytes": 5,
        }
        assert (two["isOpen"], two["exit"], two["clients"]) == (False, ["paris"], 0)


async def test_a_process_that_does_not_answer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it for ever; nonsense from it is no end of the node."""
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 0.05)
    verb = scene.keeper.verbs()["proxy list"]
    async with scene.running():
        scene.change(ONE)
        await scene.hear()
        assert send_with_fds(scene.link, b"nonsense")
        with trio.fail_after(5):
            found = await verb(Table({}, "proxy list"))
        assert found["listeners"][0]["isOpen"] is False
