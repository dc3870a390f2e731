"""Who takes a message, and what follows: as members see it."""

import random

import pytest

from meshnode.codec.messages import (
    Message,
    Ping,
    Pong,
    ProbeKey,
    RelayAccept,
    RelayClose,
    RelayReason,
    SizeProbe,
    SizeProven,
)
from meshnode.types import Endpoint, Path
from tests.unit.mesh.node_parts import Computer, World

NONCE = b"8 bytes."
PLACE = Endpoint("192.0.2.9", 40000)


@pytest.fixture
def world(rng: random.Random) -> World:
    """A founder."""
    return World(rng)


@pytest.fixture
def alpha(world: World) -> Computer:
    """A member."""
    return world.add("alpha")


def test_a_ping_is_answered_with_where_it_came_from(
    world: World, alpha: Computer
) -> None:
    """Of a data plane that does not say so, where the member is spoken to."""
    world.founder.wires.paths[alpha.key] = PLACE
    assert world.say(alpha, world.founder, Ping(NONCE)) == [Pong(NONCE, PLACE)]


def test_a_ping_that_came_by_a_path_is_answered_by_it(
    world: World, alpha: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the answer proves that path."""
    sent: list[tuple[bytes, Message, Path]] = []
    founder = world.founder
    monkeypatch.setattr(
        founder.wires,
        "send_by",
        lambda key, message, path, *, now: sent.append((key, message, path)),
    )
    path = Path(PLACE)
    founder.node.receive_message(
        alpha.key, Ping(NONCE), path=path, now=world.now, wall=world.wall
    )
    assert (alpha.key, Pong(NONCE, PLACE), path) in sent


def test_a_pong_that_nobody_asked_for_tells_us_nothing(
    world: World, alpha: Computer
) -> None:
    """A member must not make us say that we are somewhere."""
    before = world.founder.node.reach.own_candidates()
    assert world.say(alpha, world.founder, Pong(NONCE, PLACE)) == []
    assert world.founder.node.reach.own_candidates() == before


def test_a_probe_key_is_answered_once(world: World, alpha: Computer) -> None:
    """And only if that is asked for."""
    node = world.founder.node
    answers = world.say(alpha, world.founder, ProbeKey(b"p" * 32, True))
    assert answers == [ProbeKey(node.probes.key, False)]
    assert node.probes.can_reach(alpha.key)
    assert world.say(alpha, world.founder, ProbeKey(b"q" * 32, False)) == []


@pytest.mark.parametrize(("more", "is_taken"), [(-256, True), (0, True), (99, False)])
def test_up_to_the_base_every_size_has_its_answer(
    world: World, alpha: Computer, more: int, is_taken: bool
) -> None:
    """Larger ones are for who uses larger packets, which we do not."""
    size = world.founder.node.narrow.base + more
    answers = world.say(alpha, world.founder, SizeProbe(NONCE, size))
    assert answers == ([SizeProven(NONCE, size)] if is_taken else [])


def test_messages_about_channels_go_to_the_relay(world: World, alpha: Computer) -> None:
    """It knows no such channel, and says so; a closed one is no news."""
    answers = world.say(alpha, world.founder, RelayAccept(77, 5))
    assert answers == [RelayClose(5, RelayReason.CLOSED)]
    closed = RelayClose(77, RelayReason.CLOSED)
    assert world.say(alpha, world.founder, closed) == []


def test_a_stranger_is_not_answered(world: World) -> None:
    """Whatever it asks."""
    stranger = world.host("stranger")
    for message in (Ping(NONCE), ProbeKey(b"p" * 32, True), SizeProbe(NONCE, 1280)):
        assert world.say(stranger, world.founder, message) == []
    assert not world.founder.node.probes.can_reach(stranger.key)
