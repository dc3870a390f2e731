"""Exits that fail and come back, in virtual time: who is used when, and how often.

The real choice over the real questions; only the network between is made up.
"""

import random
from dataclasses import dataclass, field

import pytest

from meshnode.mesh.exits import STEADY, ExitChoice
from meshnode.mesh.health import OwnerHealth
from tests.unit.mesh.test_health import FakeTunnels

NAMES = ("paris", "berlin")
KEYS = {name: name.encode().ljust(32) for name in NAMES}
PARIS, BERLIN = KEYS.values()
ROUND_TRIP = 0.04
EVERY = 0.2
"""Seconds between two packets of the user."""


@dataclass
class Journey:
    """A user under steady traffic; `used` has every change with its time."""

    rng: random.Random
    now: float = 1000.0
    alive: set[bytes] = field(default_factory=lambda: set(KEYS.values()))
    used: list[tuple[float, bytes]] = field(default_factory=list)
    lost: float = 0.0

    def __post_init__(self) -> None:
        self.tunnels = FakeTunnels()
        self.health = OwnerHealth(self.tunnels, self.rng.randbytes)
        self.choice = ExitChoice()
        self.answered = 0
        self.refresh()

    def refresh(self) -> None:
        """Do what a node does when its routes are stale."""
        before = self.choice.chosen
        chosen = self.choice.choose(NAMES, KEYS, self.health.unhealthy, now=self.now)
        standby = self.choice.standby
        self.health.set_owners([chosen, *standby], standby=standby, now=self.now)
        if chosen != before:
            self.used.append((self.now, chosen))
            self.health.traffic_resumed(chosen, now=self.now)

    def run(self, seconds: float) -> None:
        """Let time pass, with a packet every `EVERY` seconds to the exit in use."""
        end = self.now + seconds
        while self.now < end:
            self.now += EVERY
            key = self.choice.chosen
            self.tunnels.sent[key] = self.now
            if key in self.alive:
                self.tunnels.received[key] = self.now + ROUND_TRIP
            else:
                self.lost += EVERY
            self.step()

    def step(self) -> None:
        """Ask and answer what is due."""
        deadline = self.health.next_deadline()
        stale = False
        if deadline is not None and deadline.at <= self.now:
            stale = self.health.handle_deadline(now=self.now)
        for at, key, nonce in self.tunnels.pings[self.answered :]:
            if key in self.alive:
                self.tunnels.received[key] = at + ROUND_TRIP
                stale |= self.health.pong(key, nonce, now=at + ROUND_TRIP)
        self.answered = len(self.tunnels.pings)
        proven = self.choice.next_deadline()
        if stale or (proven is not None and proven.at <= self.now):
            self.refresh()


def test_failover_takes_seconds_and_the_way_back_its_time(rng: random.Random) -> None:
    """One failure is two changes: away at once, and back to what has proven itself."""
    journey = Journey(rng)
    journey.run(60)
    journey.alive.discard(PARIS)
    died = journey.now
    journey.run(60)
    assert journey.used[-1][1] == BERLIN
    assert journey.used[-1][0] - died < 5
    journey.alive.add(PARIS)
    came = journey.now
    journey.run(60)
    assert [key for _, key in journey.used] == [PARIS, BERLIN, PARIS]
    assert STEADY <= journey.used[-1][0] - came < STEADY + 6
    journey.run(600)
    assert len(journey.used) == 3


@pytest.mark.parametrize("period", [10, 45, 90])
def test_a_flapping_exit_is_left_alone(rng: random.Random, period: int) -> None:
    """Up and down for two hours: the changes become rare, and little is lost."""
    journey = Journey(rng)
    for _ in range(7200 // (2 * period)):
        journey.run(period)
        journey.alive ^= {PARIS}
        journey.run(period)
        journey.alive ^= {PARIS}
    changes = len(journey.used)
    print(f"period {period} s: {changes} changes, {journey.lost:.0f} s lost")
    assert changes <= 2 * 7
    assert journey.lost < 60
    second_hour = [at for at, _ in journey.used if at > 1000 + 3600]
    assert len(second_hour) <= 4


def test_a_dead_standby_is_never_returned_to(rng: random.Random) -> None:
    """It answers for a while and dies before its time is over: nothing is lost."""
    journey = Journey(rng)
    journey.alive.discard(PARIS)
    journey.run(20)
    lost = journey.lost
    for _ in range(20):
        journey.alive.add(PARIS)
        journey.run(15)
        journey.alive.discard(PARIS)
        journey.run(25)
    assert [key for _, key in journey.used] == [PARIS, BERLIN]
    assert journey.lost == lost


def test_when_all_are_dead_the_first_that_answers_is_used(rng: random.Random) -> None:
    """Whichever; nothing has to be done for it."""
    journey = Journey(rng)
    journey.run(10)
    journey.alive.clear()
    journey.run(30)
    assert not journey.choice.is_healthy
    journey.alive.add(BERLIN)
    journey.run(10)
    assert journey.choice.chosen == BERLIN
    assert journey.choice.is_healthy
