"""Measuring relays, and keeping in touch with the nearest."""

import random

from meshnode.codec.messages import Ping, Pong
from meshnode.codec.records import RelayHint
from meshnode.mesh.relay_homes import BURDEN, HOMES, MAX_MEASURED, HomeRelays
from tests.unit.mesh.relay_parts import ChannelTunnels

US, A, B, C = (bytes((n,)) * 32 for n in range(4))


class Field:
    """Relays at some distance, in milliseconds; None for one that does not answer."""

    def __init__(self, **distances: int | None) -> None:
        self.distances = dict(zip((A, B, C), distances.values(), strict=False))
        self.relays = [US, *self.distances]
        self.tunnels = ChannelTunnels()
        self.asked = 0
        self.homes = HomeRelays(
            US,
            tunnels=self.tunnels,
            relays=lambda: self.relays,
            entropy=random.Random(1).randbytes,
        )
        self.now = 0.0
        self.homes.measure_soon(now=0.0)

    def run(self, until: float) -> None:
        """Let time pass, and relays answer."""
        while (deadline := self.homes.next_deadline()) and deadline.at <= until:
            self.now = max(self.now, deadline.at)
            self.homes.handle_deadline(now=self.now)
            for key, ping in self.tunnels.taken():
                assert isinstance(ping, Ping)
                self.asked += 1
                trip = self.distances.get(key)
                if trip is not None:
                    at = self.now + trip / 1000
                    self.homes.receive_pong(key, Pong(ping.nonce, None), now=at)


def test_the_two_nearest_are_homes_and_told() -> None:
    """In the order of their round trips."""
    field = Field(a=30, b=10, c=20)
    field.run(5.0)
    assert field.homes.homes == (B, C)
    assert len(field.homes.homes) == HOMES
    hints = (RelayHint(B, 10), RelayHint(C, 20), RelayHint(A, 30))
    assert field.homes.best() == hints
    assert field.homes.burdens(now=5.0) == {}


def test_who_does_not_answer_is_no_home_until_it_does() -> None:
    """It is asked again soon at the beginning."""
    field = Field(a=10, b=None)
    field.run(4.0)
    assert field.homes.homes == (A,)
    assert field.homes.burdens(now=4.0) == {B: BURDEN}
    field.distances[B] = 5
    field.run(20.0)
    assert field.homes.homes == (B, A)
    assert field.homes.burdens(now=20.0) == {}
    field.distances[B] = None
    field.run(500.0)
    assert field.homes.homes == (A,)


def test_an_hour_costs_few_questions() -> None:
    """Homes are asked every five minutes, others every twenty."""
    field = Field(a=30, b=10, c=20)
    field.run(60.0)
    before = field.asked
    field.run(3660.0)
    assert 20 <= field.asked - before <= 48


def test_small_changes_are_not_told() -> None:
    """A record is published for every one that is."""
    field = Field(a=100)
    field.run(5.0)
    assert field.homes.best() == (RelayHint(A, 100),)
    field.distances[A] = 110
    field.run(4000.0)
    assert field.homes.best() == (RelayHint(A, 100),)
    field.distances[A] = 200
    field.run(8000.0)
    (hint,) = field.homes.best()
    assert hint.milliseconds > 125


def test_a_relay_that_is_none_any_more_is_forgotten() -> None:
    """Or that is no member, at once."""
    field = Field(a=30, b=10)
    field.run(5.0)
    field.homes.forget(B)
    assert field.homes.homes == (A,)
    field.relays = [US]
    field.run(1000.0)
    assert field.homes.homes == ()
    assert field.homes.best() == ()
    assert field.homes.next_deadline() is None


def test_of_many_relays_some_are_measured() -> None:
    """Always the same ones."""
    field = Field()
    field.relays = [bytes((n,)) * 32 for n in range(100)]
    field.run(1.0)
    assert field.asked == MAX_MEASURED


def test_answers_nobody_waits_for_do_not_count() -> None:
    """Nor those of others."""
    field = Field(a=None)
    field.run(0.5)
    assert not field.homes.receive_pong(A, Pong(bytes(8), None), now=0.5)
    assert not field.homes.receive_pong(B, Pong(bytes(8), None), now=0.5)
    assert field.homes.measured == {}
    field.homes.note_busy(C, now=1.0)
    assert C in field.homes.burdens(now=2.0)
    assert C not in field.homes.burdens(now=100.0)
