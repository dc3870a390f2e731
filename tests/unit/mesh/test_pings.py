"""A user's question is asked until it is answered or given up, and bounded."""

import random

import pytest

from meshnode.codec.messages import Ping, Pong
from meshnode.mesh.pings import ASK_AGAIN, MAX_OPEN, Answer, Pings
from meshnode.types import Endpoint
from tests.unit.mesh.issuing_parts import FakeTunnels

KEY, OTHER = bytes(32), bytes([1]) * 32
PLACE = Endpoint("192.0.2.1", 51820)


@pytest.fixture
def tunnels() -> FakeTunnels:
    """Tunnels that take notes."""
    return FakeTunnels()


@pytest.fixture
def pings(tunnels: FakeTunnels, rng: random.Random) -> Pings:
    """No questions yet."""
    return Pings(tunnels, rng.randbytes)


def nonces(tunnels: FakeTunnels) -> list[bytes]:
    """Return the nonces that were sent."""
    return [m.nonce for _, m in tunnels.drain() if isinstance(m, Ping)]


def test_answer_has_round_trip_and_path(pings: Pings, tunnels: FakeTunnels) -> None:
    """Measured from the question that it answers."""
    tunnels.paths[KEY] = PLACE
    number = pings.ask(KEY, timeout=5.0, now=10.0)
    pings.handle_deadline(now=10.0 + ASK_AGAIN)
    first, second = nonces(tunnels)
    assert first != second
    assert pings.receive(KEY, Pong(second, None), now=11.25)
    assert pings.next_deadline() is not None
    assert pings.answers() == [Answer(number, KEY, 0.25, PLACE)]
    assert pings.answers() == []
    assert pings.next_deadline() is None


def test_late_answer_to_an_earlier_question_counts(
    pings: Pings, tunnels: FakeTunnels
) -> None:
    """It took that long."""
    pings.ask(KEY, timeout=5.0, now=10.0)
    pings.handle_deadline(now=11.0)
    assert pings.receive(KEY, Pong(nonces(tunnels)[0], None), now=11.5)
    assert [answer.seconds for answer in pings.answers()] == [1.5]


def test_answer_of_another_is_none(pings: Pings, tunnels: FakeTunnels) -> None:
    """Nor is one with another nonce, nor the same twice."""
    pings.ask(KEY, timeout=5.0, now=10.0)
    (nonce,) = nonces(tunnels)
    assert not pings.receive(OTHER, Pong(nonce, None), now=10.1)
    assert not pings.receive(KEY, Pong(bytes(8), None), now=10.1)
    assert pings.answers() == []
    assert pings.receive(KEY, Pong(nonce, None), now=10.1)
    assert not pings.receive(KEY, Pong(nonce, None), now=10.2)


def test_question_is_given_up_in_time(pings: Pings, tunnels: FakeTunnels) -> None:
    """And asked every second until then."""
    number = pings.ask(KEY, timeout=2.5, now=10.0)
    while deadline := pings.next_deadline():
        if deadline.at == float("-inf"):
            break
        pings.handle_deadline(now=deadline.at)
    assert pings.answers() == [Answer(number, KEY, None, None)]
    assert len(nonces(tunnels)) == 3


def test_open_questions_are_bounded(pings: Pings) -> None:
    """The oldest is given up for a further one."""
    for _ in range(MAX_OPEN):
        pings.ask(KEY, timeout=5.0, now=10.0)
    assert pings.answers() == []
    pings.ask(KEY, timeout=5.0, now=10.0)
    assert [answer.number for answer in pings.answers()] == [1]
