"""The shell of a mesh: kept before told, told before done, and nothing lost by it."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from meshnode.codec.messages import JoinRequest
from meshnode.crypto.keys import PrivateKey, PublicKey
from meshnode.errors import HostError
from meshnode.forwarding import SendControl
from meshnode.host.clock import boottime
from meshnode.host.routing import Conflict
from meshnode.hostplan import FullTunnel
from meshnode.mesh.events import HealthChanged, MeshEvent
from meshnode.mesh.introduction import introduce_joiner
from meshnode.mesh.join_request import create_join_request
from meshnode.mesh.pings import Answer
from meshnode.mesh.ports import DropRecord, KeepWallMark, TunnelPeer
from meshnode.node import mesh_shell
from meshnode.node.mesh_shell import PLAN_ATTEMPTS
from meshnode.types import Endpoint, Prefix
from meshnode.types import Path as WirePath
from meshnode.wireguard import events
from meshnode.wireguard.config import PeerChange
from tests.unit.mesh.node_parts import DAY, NOTHING, Computer
from tests.unit.node.shell_parts import Shell

PLACE = Endpoint("192.0.2.9", 9)


@pytest.fixture
def shell(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    """The founder's shell, started."""
    shell = Shell(rng, tmp_path, monkeypatch)
    shell.start()
    yield shell
    shell.close()


def invite(shell: Shell) -> PrivateKey:
    """Open an invite."""
    private = PrivateKey(shell.world.rng.randbytes(32))
    office = shell.node.office
    assert office is not None
    wall = int(shell.world.began)
    office.invites.create(
        private.public_key().raw,
        NOTHING,
        uses=1,
        expires=wall + DAY,
        now=boottime(),
        wall=wall,
    )
    return private


def introduce(shell: Shell, host: Computer, private: PrivateKey) -> None:
    """Let a joiner knock."""
    data = introduce_joiner(
        network_id=shell.world.network_id,
        invite_private=private,
        issuer_key=shell.node.key,
        joiner_key=host.key,
        until=shell.world.began + DAY,
        ephemeral=shell.world.rng.randbytes(32),
    )
    shell.shell.receive_introduction(data, WirePath(PLACE))


def peers(shell: Shell) -> set[bytes]:
    """Return the peers of the engine."""
    return {peer.public_key.raw for peer in shell.driver.status().peers}


def request(shell: Shell, host: Computer, private: PrivateKey) -> JoinRequest:
    """Return what the joiner asks."""
    return create_join_request(
        host.signing,
        shell.world.network_id,
        wireguard_key=host.key,
        invite_key=private.public_key().raw,
        name=host.name,
    )


def refusing(planner: Any, refusals: list[HostError]) -> Callable[..., Any]:
    """Return what raises these first, and then does as *planner* does."""
    apply = planner.apply

    def refuse_first(*args: Any, **keywords: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return apply(*args, **keywords)

    return refuse_first


def test_start_keeps_our_word_and_asks_for_a_plan(shell: Shell) -> None:
    """What others will hear is on disk first."""
    assert "kept" in shell.story
    assert shell.store.load().own == shell.node.own.data
    plan = shell.shell._plan
    assert plan is not None
    assert plan.addresses[0] == "10.9.0.1/16"
    status = shell.driver.status()
    assert status.fwmark == 7
    assert status.private_key is not None


async def test_ledger_is_on_disk_before_the_reply_is_sent(
    shell: Shell, nursery: trio.Nursery
) -> None:
    """Commands go to the workers after the store has it."""
    nursery.start_soon(shell.shell.serve_peers)
    await trio.testing.wait_all_tasks_blocked()
    host, private = shell.world.host("alpha"), invite(shell)
    introduce(shell, host, private)
    shell.shell.drain()
    shell.story.clear()
    for link in shell.links.values():
        link.commands.clear()
    shell.frame(host.key, request(shell, host, private))
    await trio.testing.wait_all_tasks_blocked()
    assert shell.story.index("kept") < shell.story.index("commands to egress")
    egress = next(iter(shell.links.values()))
    assert any(isinstance(command, SendControl) for command in egress.commands)
    assert len(shell.store.load().issued) == 1
    nursery.cancel_scope.cancel()


async def test_certificate_that_cannot_be_kept_is_not_given(
    shell: Shell, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hears of it, however often something is drained; then it is kept once."""
    nursery.start_soon(shell.shell.serve_peers)
    await trio.testing.wait_all_tasks_blocked()
    host, private = shell.world.host("alpha"), invite(shell)
    introduce(shell, host, private)
    shell.shell.drain()
    full = HostError("the disk is full")
    keep = shell.store.apply

    def refuse(changes: object) -> None:
        raise full

    monkeypatch.setattr(shell.store, "apply", refuse)
    for link in shell.links.values():
        link.commands.clear()
    shell.frame(host.key, request(shell, host, private))
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(HostError, match="the disk is full"):
        shell.shell.drain()
    assert all(link.commands == [] for link in shell.links.values())
    monkeypatch.setattr(shell.store, "apply", keep)
    shell.shell.drain()
    assert len(shell.store.load().issued) == 1
    egress = next(iter(shell.links.values()))
    assert any(isinstance(command, SendControl) for command in egress.commands)
    nursery.cancel_scope.cancel()


def test_other_state_may_wait_for_the_disk(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and kept later; of the same thing only the last word waits.

    A user's command hears of it, the node's own work goes on.
    """
    full, keep = HostError("the disk is full"), shell.store.apply
    taken: list[list[object]] = []

    def refuse(changes: list[object]) -> None:
        taken.append(changes)
        raise full

    monkeypatch.setattr(shell.store, "apply", refuse)
    for second in range(100):
        shell.node.outbox.keep(KeepWallMark(second + 5), now=boottime())
        shell.node.outbox.keep(DropRecord(bytes(8)), now=boottime())
        shell.shell.complain("other", f"{second}")
    assert shell.node.health["state"] == "the disk is full"
    assert taken[-1] == [KeepWallMark(104), DropRecord(bytes(8))]
    with pytest.raises(HostError, match="the disk is full"):
        shell.shell.drain()
    monkeypatch.setattr(shell.store, "apply", keep)
    shell.shell.drain()
    assert "state" not in shell.node.health
    assert shell.store.load().wall_mark == 104


def test_joiner_is_a_peer_before_its_handshake_comes(shell: Shell) -> None:
    """It may be the next datagram of the same batch."""
    host = shell.world.host("alpha")
    introduce(shell, host, invite(shell))
    assert peers(shell) == {host.key}


@pytest.mark.parametrize("data", [b"", b"\x07\0\0\0", b"\x07\0\0\0" + bytes(200)])
def test_bad_introduction_is_dropped(shell: Shell, data: bytes) -> None:
    """By whoever sent it."""
    shell.shell.receive_introduction(data, WirePath(PLACE))
    assert peers(shell) == set()


async def test_bad_frame_is_dropped(
    shell: Shell, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no fault of ours, so its peer's tree goes on."""
    nursery.start_soon(shell.shell.serve_peers)
    await trio.testing.wait_all_tasks_blocked()
    key = PublicKey(shell.world.rng.randbytes(32))
    with caplog.at_level(logging.ERROR):
        for frame in (b"", b"\x01", b"\x01\x05\x00abc", b"\x01" + bytes(1300)):
            shell.shell.handle_event(events.ControlFrame(0, key, frame))
        await trio.testing.wait_all_tasks_blocked()
    assert caplog.text == ""
    nursery.cancel_scope.cancel()


def test_next_process_parts_with_peers_of_the_last(shell: Shell) -> None:
    """Those it did not live to remove; those configured by hand stay."""
    by_hand = PeerChange(PublicKey(bytes([9]) * 32), endpoint=PLACE)
    shell.shell.set_wireguard_peers([by_hand])
    shell.tunnels.set_peer(TunnelPeer(bytes([8]) * 32), now=boottime())
    shell.shell.drain()
    assert len(peers(shell)) == 2
    shell.close()
    shell.begin()
    shell.driver.restore()
    removed: list[object] = []
    configure = shell.engine.configure

    def noted(change, *, now):  # type: ignore[no-untyped-def]
        removed.extend(one.public_key.raw for one in change.peers if one.remove)
        configure(change, now=now)

    shell.engine.configure = noted  # type: ignore[method-assign]
    shell.shell.set_wireguard_peers([by_hand])
    shell.shell.start(shell.driver)
    shell.shell.set_wireguard_peers([by_hand])
    assert peers(shell) == {bytes([9]) * 32}
    assert removed == [bytes([8]) * 32]


def test_peers_by_hand_follow_the_configuration(shell: Shell) -> None:
    """Added, changed and removed; one that is the mesh's is left alone."""
    one, two = (PublicKey(bytes([number]) * 32) for number in (8, 9))
    line = Prefix.parse("10.50.0.1/32")
    shell.shell.set_wireguard_peers(
        [PeerChange(one, allowed_ips=[(True, line)]), PeerChange(two)]
    )
    assert peers(shell) == {one.raw, two.raw}
    host = shell.world.host("alpha")
    shell.node.set_contacts(
        {host.key: ()}, now=boottime(), wall=float(shell.world.began)
    )
    shell.shell.drain()
    ours = PeerChange(PublicKey(host.key), allowed_ips=[(True, line)])
    shell.shell.set_wireguard_peers([PeerChange(two), ours])
    assert peers(shell) == {two.raw, host.key}
    found = {p.public_key.raw: p.allowed_ips for p in shell.driver.status().peers}
    assert found[host.key] == []
    shell.shell.set_wireguard_peers([])
    assert peers(shell) == {host.key}


def test_watchers_hear_until_they_do_not_want_to(shell: Shell) -> None:
    """Each of all, and one may leave while it is told."""
    heard: list[MeshEvent] = []
    numbers: list[int] = []

    def once(event: MeshEvent) -> None:
        heard.append(event)
        shell.shell.unwatch(numbers[0])

    numbers.append(shell.shell.watch(once))
    shell.shell.complain("one", "bad")
    shell.shell.complain("two", "bad")
    assert heard == [HealthChanged("one", "bad")]
    shell.shell.unwatch(99)


def test_complaints_are_warnings_and_their_end_is_not(
    shell: Shell, caplog: pytest.LogCaptureFixture
) -> None:
    """The log of a healthy node has no warnings."""
    with caplog.at_level(logging.INFO):
        shell.shell.complain("thing", "bad")
        shell.shell.complain("thing", "")
    levels = [r.levelno for r in caplog.records if "thing" in r.getMessage()]
    assert levels == [logging.WARNING, logging.INFO]


def test_ping_is_answered_once(shell: Shell) -> None:
    """Also if nobody answers."""
    answers: list[Answer] = []
    shell.shell.ping(bytes(32), timeout=0.0, on_answer=answers.append)
    shell.node.handle_deadline(now=boottime(), wall=float(shell.world.began))
    shell.shell.drain()
    shell.shell.drain()
    assert [answer.seconds for answer in answers] == [None]


def test_addresses_of_the_host_are_followed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With our port; a host that does not tell is no reason to end."""
    port = shell.driver.status().listen_port
    assert shell.node.reach.own_candidates() == (Endpoint("192.0.2.5", port),)

    def fail(without: tuple[str, ...]) -> list[str]:
        raise OSError("no netlink")

    monkeypatch.setattr(mesh_shell, "local_addresses", fail)
    shell.shell.follow_addresses()
    assert shell.node.reach.own_candidates() == (Endpoint("192.0.2.5", port),)


async def test_a_plan_that_the_host_refuses_is_tried_again(
    shell: Shell, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node is not ready before its address is there, and then it is."""
    monkeypatch.setattr("meshnode.node.mesh_shell.PLAN_RETRY", 0.01)
    ready = trio.Event()
    refusals = [HostError("nft was killed")] * (PLAN_ATTEMPTS - 1)
    monkeypatch.setattr(shell.planner, "apply", refusing(shell.planner, refusals))
    nursery.start_soon(shell.shell.pump_plans, ready.set)
    with trio.fail_after(5):
        await ready.wait()
    assert refusals == []
    assert "host" not in shell.node.health


async def test_a_node_whose_first_plan_cannot_be_is_given_up(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the host's reason; nobody is told that it is ready."""
    monkeypatch.setattr("meshnode.node.mesh_shell.PLAN_RETRY", 0.01)
    ready: list[str] = []
    refusals = [HostError("nft was killed")] * PLAN_ATTEMPTS
    monkeypatch.setattr(shell.planner, "apply", refusing(shell.planner, refusals))
    with trio.fail_after(5), pytest.raises(HostError, match="nft was killed"):
        await shell.shell.pump_plans(lambda: ready.append("ready"))
    assert ready == []


async def test_first_plan_makes_it_ready(shell: Shell, nursery: trio.Nursery) -> None:
    """And conflicts are said until they are gone."""
    ready: list[Callable[[], None] | str] = []
    shell.planner.answer = [Conflict(Prefix.parse("10.0.0.0/8"), "it is in the way")]
    nursery.start_soon(shell.shell.pump_plans, lambda: ready.append("ready"))
    with trio.fail_after(5):
        await shell.shell.await_plans()
    assert ready == ["ready"]
    assert shell.shell.is_ready
    assert "it is in the way" in shell.node.health["host"]
    shell.planner.answer = []
    shell.shell._ask_for_plan()
    with trio.fail_after(5):
        await shell.shell.await_plans()
    assert "host" not in shell.node.health
    assert ready == ["ready"]
    assert shell.planner.plans[0] == shell.planner.plans[1]
    nursery.cancel_scope.cancel()


async def test_a_full_tunnel_is_there_when_its_plan_is_carried_out(
    shell: Shell, nursery: trio.Nursery
) -> None:
    """Not when it is asked for, nor when the host refuses it."""
    assert not shell.shell.is_tunnel_as_wanted
    nursery.start_soon(shell.shell.pump_plans, lambda: None)
    with trio.fail_after(5):
        await shell.shell.await_plans()
    assert shell.shell.is_tunnel_as_wanted
    settings = replace(
        shell.node.roads.settings, exits=("paris",), full_tunnel=FullTunnel()
    )
    shell.planner.answer = HostError("nft is missing")
    shell.node.configure(settings, now=boottime(), wall=time.time())
    shell.shell.drain()
    assert not shell.shell.is_tunnel_as_wanted
    with trio.fail_after(5):
        await shell.shell.await_plans()
    assert not shell.shell.is_tunnel_as_wanted
    shell.planner.answer = []
    shell.shell._ask_for_plan()
    with trio.fail_after(5):
        await shell.shell.await_plans()
    assert shell.planner.plans[-1].full_tunnel == FullTunnel()
    assert shell.shell.is_tunnel_as_wanted
    nursery.cancel_scope.cancel()


async def test_who_waits_for_a_plan_waits_for_the_next_one_too(
    shell: Shell, nursery: trio.Nursery
) -> None:
    """A plan that is asked for meanwhile neither ends the wait nor lets it hang."""
    shell.shell._ask_for_plan()
    waited = trio.Event()

    async def wait() -> None:
        await shell.shell.await_plans()
        waited.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    shell.shell._ask_for_plan()
    await trio.testing.wait_all_tasks_blocked()
    assert not waited.is_set()
    nursery.start_soon(shell.shell.pump_plans, lambda: None)
    with trio.fail_after(5):
        await waited.wait()
    nursery.cancel_scope.cancel()


async def test_host_that_refuses_is_complained_of(
    shell: Shell, nursery: trio.Nursery
) -> None:
    """The node goes on: others can still be reached."""
    shell.planner.answer = HostError("nft is missing")
    nursery.start_soon(shell.shell.pump_plans, lambda: None)
    with trio.fail_after(5):
        await shell.shell.await_plans()
    assert shell.node.health["host"] == "nft is missing"
    nursery.cancel_scope.cancel()


async def test_deadlines_wake_the_node(shell: Shell, nursery: trio.Nursery) -> None:
    """Its own timer does, and is armed again for what comes next."""
    nursery.start_soon(shell.shell.pump_deadlines)
    answers: list[Answer] = []
    answered = trio.Event()

    def take(answer: Answer) -> None:
        answers.append(answer)
        answered.set()

    shell.shell.ping(bytes(32), timeout=0.05, on_answer=take)
    with trio.fail_after(5):
        await answered.wait()
    assert answers[0].seconds is None
    nursery.cancel_scope.cancel()


def test_events_of_the_engine_reach_the_node(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by its own verb, with the peer's raw key."""
    key = PublicKey(bytes([5]) * 32)
    told: list[tuple[str, bytes]] = []
    for verb in (
        "endpoint_wanted",
        "handshake_begun",
        "session_started",
        "handshake_given_up",
        "traffic_resumed",
    ):
        monkeypatch.setattr(
            shell.node,
            verb,
            lambda key, *, now, wall, verb=verb: told.append((verb, key)),
        )
    for event in (
        events.EndpointWanted(0, key),
        events.HandshakeBegun(0, key, ()),
        events.HandshakeCompleted(0, key, True),
        events.HandshakeGivenUp(0, key),
        events.PeerTrafficResumed(0, key),
    ):
        shell.shell.handle_event(event)
    assert told == [
        ("endpoint_wanted", key.raw),
        ("handshake_begun", key.raw),
        ("session_started", key.raw),
        ("handshake_given_up", key.raw),
        ("traffic_resumed", key.raw),
    ]


def test_what_the_surroundings_say_reaches_the_node(shell: Shell) -> None:
    """Where routers forward our port from, and where a member is on our link."""
    mapped = Endpoint("203.0.113.9", 51820)
    shell.shell.follow_mapped((mapped,))
    assert mapped in shell.node.reach.own_candidates()
    alpha = shell.world.add("alpha")
    shell.node.publish(alpha.node.own.data, now=boottime(), wall=shell.world.wall)
    near = Endpoint("192.0.2.77", 51820)
    shell.shell.follow_near(alpha.key, (near,))
    found = shell.node.reach.dialler.candidates_of(alpha.key, now=boottime())
    assert found == (near,)
