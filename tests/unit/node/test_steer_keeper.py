"""Control's part of steering, over a host that only notes what is done to it."""

import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from meshnode.codec.steer_link import (
    MAX_MESSAGE_BYTES,
    Answer,
    OpenDoor,
    Started,
    WantSocket,
    decode_from_control,
    encode,
)
from meshnode.errors import HostError
from meshnode.host import steering as host
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair
from meshnode.host.journal import Journal
from meshnode.hostplan import Service, Transport
from meshnode.node.steer_keeper import LOOK_AGAIN, SteerKeeper
from meshnode.node.steer_plan import Ground
from meshnode.steering import (
    SteeredFlow,
    SteerPlan,
    SteerRule,
    ViaDirect,
    ViaExit,
    ViaMesh,
    ViaNowhere,
    ViaProxy,
)
from meshnode.types import Prefix, Target
from tests.unit.node.shell_parts import Shell
from tests.unit.node.steer_parts import replace_sockets

P = Prefix.parse
NAMES = SteerRule(ViaMesh(), domains=("example.org",))
PROXY = SteerRule(ViaProxy("socks5", "192.0.2.9", 1080))


class Scene:
    """A keeper, what it did to the host, and the process's end of the link."""

    def __init__(
        self, rng: random.Random, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace_sockets(monkeypatch)
        self.shell = Shell(rng, path, monkeypatch)
        self.shell.start()
        self.plans: list[SteerPlan | None] = []
        self.learnt: list[Any] = []
        self.refusal: HostError | None = None
        self.wanted = 0
        self.story: list[str] = []
        scene = self

        class Steerer:
            def __init__(self, journal: Journal) -> None:
                pass

            def apply(self, plan: SteerPlan, learnt: Any) -> bool:
                if scene.refusal is not None:
                    raise scene.refusal
                scene.plans.append(plan)
                scene.learnt.append(dict(learnt))
                return True

            def withdraw(self) -> None:
                scene.plans.append(None)

        def learn(network: str, learnt: Any) -> None:
            if self.refusal is not None:
                raise self.refusal
            self.learnt.append(learnt)

        monkeypatch.setattr(host, "Steerer", Steerer)
        monkeypatch.setattr(host, "learn", learn)
        self.before: list[tuple[str, str, int]] = []
        monkeypatch.setattr(host, "read_learnt", lambda network: self.before)
        monkeypatch.setattr(host, "check", lambda plan: ["no kernel"])
        counted = [host.Counted(1, 40)]
        monkeypatch.setattr(host, "read_counters", lambda plan: counted)
        self.link, self._theirs = seqpacket_pair(buffer_bytes=2**16)
        self.keeper = self.make()

    def make(self, *rules: SteerRule) -> SteerKeeper:
        """Return a keeper of these rules."""
        journal: Any = None
        self.keeper = SteerKeeper(
            self.shell.shell,
            self._theirs,
            journal,
            Ground("home", "mesh", 7, 256, 11, 12, 13, (P("10.77.0.0/16"),)),
            rules,
            want_process=self._want,
        )
        return self.keeper

    def _want(self) -> None:
        self.wanted += 1

    def heard(self) -> list[tuple[Any, int]]:
        """Return what the process was told, with the number of descriptors."""
        found = []
        while received := recv_with_fds(
            self.link, max_bytes=MAX_MESSAGE_BYTES, max_fds=4
        ):
            data, descriptors = received
            for descriptor in descriptors:
                socket.socket(fileno=descriptor).close()
            found.append((decode_from_control(data), len(descriptors)))
        return found

    def say(self, message: Any) -> None:
        """Say something for the process."""
        send_with_fds(self.link, encode(message))

    @property
    def complaint(self) -> str:
        """What `status` says."""
        return str(self.shell.node.health.get("steering", ""))

    def play(self, story: Callable[[], Awaitable[None]]) -> None:
        """Run *story* beside the keeper, once its rules are in force."""

        async def run() -> None:
            async with trio.open_nursery() as nursery:
                ready = trio.Event()
                nursery.start_soon(self.keeper.run, ready.set)
                self.keeper.begin()
                with trio.fail_after(10):
                    await ready.wait()
                    await story()
                nursery.cancel_scope.cancel()

        trio.run(run)

    def close(self) -> None:
        """Close what is left."""
        self.shell.close()
        self.link.close()
        self._theirs.close()


@pytest.fixture
def scene(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """A founder that steers nothing yet."""
    one = Scene(rng, tmp_path, monkeypatch)
    yield one
    one.close()


def test_rules_come_and_go(scene: Scene) -> None:
    """Without any the host is cleaned once, of what a process before us left."""

    async def story() -> None:
        assert scene.plans == [None]
        await scene.keeper.follow()
        assert scene.plans == [None]
        await scene.keeper.use([SteerRule(ViaDirect())])
        plan = scene.plans[-1]
        assert plan is not None
        assert plan.steps[0].way == ViaDirect()
        assert (await scene.keeper.counted())[0].bytes == 40
        await scene.keeper.use([])
        assert scene.plans[-1] is None
        assert await scene.keeper.counted() == []

    scene.play(story)
    assert scene.wanted == 0


def test_the_process_is_told_where_doors_lead(scene: Scene) -> None:
    """Again when it is another one; and it gets sockets to answer by."""
    scene.make(PROXY, SteerRule(ViaExit("nobody")))

    async def story() -> None:
        place = Target("192.0.2.9", 1080)
        expected = [
            (OpenDoor(1, "socks5", (place,), "", "", ("tcp", "udp")), 2),
            (OpenDoor(2, "socks5", (), "", "", ("tcp", "udp")), 2),
        ]
        assert scene.heard() == expected
        assert "exit:nobody: no member is called so" in scene.complaint
        scene.say(WantSocket(5, 4))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert scene.heard() == [(Answer(5, ""), 1)]
        scene.say(Started())
        await trio.testing.wait_all_tasks_blocked(0.3)
        assert scene.heard() == expected

    scene.play(story)
    assert scene.wanted > 0


def test_an_exit_is_not_ourselves(scene: Scene) -> None:
    """What would go round for ever is refused."""
    name = scene.shell.node.membership.by_key(scene.shell.node.key)
    assert name is not None
    scene.make(SteerRule(ViaExit(name.certificate.name)))

    async def story() -> None:
        assert "this node itself" in scene.complaint
        ((message, _),) = scene.heard()
        assert message.places == ()

    scene.play(story)


def test_names_are_learnt_before_their_answer(scene: Scene) -> None:
    """And come along when the rules are loaded anew."""
    scene.make(NAMES)

    async def story() -> None:
        await scene.keeper.learn("www.example.org", ["192.0.2.1"], 60)
        assert scene.learnt[-1] == {(0, "192.0.2.1"): 3600}
        count = len(scene.learnt)
        await scene.keeper.learn("www.example.org", ["192.0.2.1"], 60)
        await scene.keeper.learn("example.com", ["192.0.2.2"], 60)
        assert len(scene.learnt) == count
        await scene.keeper.use([SteerRule(ViaNowhere(), to=(P("::/0"),)), NAMES])
        assert [*scene.learnt[-1]] == [(1, "192.0.2.1")]
        assert [[*one] for one in scene.keeper.learnt()] == [[], ["192.0.2.1"]]

    scene.play(story)


def test_what_another_process_learnt_is_kept(scene: Scene) -> None:
    """Its table is replaced, and holds the same."""
    scene.before = [("example.org", "192.0.2.1", 60), ("example.net", "192.0.2.2", 9)]
    scene.make(NAMES)

    async def story() -> None:
        assert [*scene.learnt[0]] == [(0, "192.0.2.1")]

    scene.play(story)


def test_what_the_host_refuses_is_said(scene: Scene) -> None:
    """The node goes on, and tries again."""
    scene.make(NAMES)
    scene.refusal = HostError("nft is missing")

    async def story() -> None:
        assert scene.complaint == "nft is missing"
        scene.refusal = None
        await scene.keeper.follow()
        assert scene.complaint == ""
        scene.refusal = HostError("the set is full")
        await scene.keeper.learn("example.org", ["192.0.2.1"], 60)
        assert scene.complaint == "example.org: the set is full"

    scene.play(story)


def test_a_packet_is_explained(scene: Scene) -> None:
    """By address, by name, by what was learnt; members are never steered."""
    scene.make(NAMES, SteerRule(ViaDirect(), to=(P("0.0.0.0/0"),)))
    service = Service(Transport.TCP, 443, 443)

    async def story() -> None:
        await scene.keeper.learn("example.org", ["192.0.2.1"], 60)
        explain = scene.keeper.explain
        assert explain(SteeredFlow(P("192.0.2.1"), service)) == 0
        assert explain(SteeredFlow(P("192.0.2.2"), service)) == 1
        named = SteeredFlow(P("192.0.2.2"), service, domain="a.example.org")
        assert explain(named) == 0
        assert explain(SteeredFlow(P("10.77.0.9"), service)) is None

    scene.play(story)


def test_rules_are_checked_without_being_used(scene: Scene, tmp_path: Path) -> None:
    """Everything they speak of is looked at."""

    async def story() -> None:
        missing = str(tmp_path / "missing")
        rules = [
            SteerRule(ViaExit("paris"), users=("no-such-user",)),
            SteerRule(ViaProxy("http", "192.0.2.9", 80, "bob", missing)),
        ]
        problems = await scene.keeper.check(rules)
        assert [text.partition(": ")[0] for text in problems] == [
            "rule 1",
            "exit:paris",
            "http://bob@192.0.2.9:80",
            "no kernel",
        ]
        assert scene.heard() == []

    scene.play(story)
    assert LOOK_AGAIN > 1
