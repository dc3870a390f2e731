"""Who is a neighbour, when it is greeted, and what happens when it is silent."""

import random
from itertools import pairwise

import pytest

from meshnode.crypto.primitives import fingerprint
from meshnode.mesh.neighbours import (
    HELLO_INTERVAL,
    HELLO_TIMEOUT,
    LAST_HELLO_INTERVAL,
    LAST_RETRY,
    MAX_UNANSWERED,
    RETRY_SPACING,
    Neighbours,
)
from tests.mesh_records import key_of

US = key_of(0)


class Scene:
    """A node and members that answer at once, or do not."""

    def __init__(self, members: int, rng: random.Random) -> None:
        self.now = 0.0
        self.neighbours = Neighbours(US, rng.randbytes)
        self.members = [key_of(n) for n in range(1, members + 1)]
        self.dead: set[bytes] = set()
        self.greeted: list[tuple[float, bytes]] = []
        for key in self.members:
            self.neighbours.add(key, now=0.0)

    def run(self, seconds: float) -> list[tuple[float, bytes]]:
        """Let time pass; return who was greeted when."""
        end, self.greeted = self.now + seconds, []
        while True:
            deadline = self.neighbours.next_deadline()
            if deadline is None or deadline.at > end:
                self.now = end
                return self.greeted
            self.now = max(self.now, deadline.at)
            for key in self.neighbours.due(now=self.now):
                self.greeted.append((self.now, key))
                if key not in self.dead:
                    self.neighbours.heard(key, now=self.now)

    def ring(self) -> list[bytes]:
        """Return all members after us on the ring, in order."""
        everybody = sorted([US, *self.members], key=fingerprint)
        at = everybody.index(US)
        return everybody[at + 1 :] + everybody[:at]


def test_the_ring_gives_two_after_us_and_one_before(rng: random.Random) -> None:
    """And the hash of both keys draws two more."""
    scene = Scene(30, rng)
    scene.run(1.0)
    ring = scene.ring()
    drawn = sorted(scene.members, key=lambda key: fingerprint(US + key))
    others = [key for key in drawn if key not in (ring[0], ring[1], ring[-1])]
    assert scene.neighbours.chosen == (ring[0], ring[1], ring[-1], *others[:2])


@pytest.mark.parametrize("members", range(5))
def test_a_small_network_is_all_neighbours(members: int, rng: random.Random) -> None:
    """Each of them once; ourselves never."""
    scene = Scene(members, rng)
    scene.neighbours.add(US, now=0.0)
    scene.run(1.0)
    assert sorted(scene.neighbours.chosen) == sorted(scene.members)


def gaps_of(scene: Scene, key: bytes) -> list[float]:
    """Return the seconds between the last greetings of a neighbour."""
    times = [at for at, greeted in scene.greeted if greeted == key]
    return [b - a for a, b in pairwise(times)]


def test_neighbours_that_agree_are_greeted_less_and_less(rng: random.Random) -> None:
    """Give or take a quarter, not all at once; nobody else is greeted."""
    scene = Scene(30, rng)
    greeted = scene.run(7200.0)
    for neighbour in scene.neighbours.chosen:
        wanted = HELLO_INTERVAL
        for gap in gaps_of(scene, neighbour):
            assert 0.75 * wanted <= gap <= 1.25 * wanted
            wanted = min(2 * wanted, LAST_HELLO_INTERVAL)
        assert wanted == LAST_HELLO_INTERVAL
    assert {key for _, key in greeted} == set(scene.neighbours.chosen)
    assert len({at for at, _ in greeted}) == len(greeted)


@pytest.mark.parametrize("why", ["differs", "changes", "again"])
def test_who_may_know_other_things_is_greeted_soon(
    why: str, rng: random.Random
) -> None:
    """One that differs, or all when something new is pushed or was lost."""
    scene = Scene(30, rng)
    scene.run(7200.0)
    first, *others = scene.neighbours.chosen
    match why:
        case "differs":
            scene.neighbours.differs(first, now=scene.now)
        case "changes":
            scene.neighbours.expect_changes(now=scene.now)
        case "again":
            scene.neighbours.greet_again(now=scene.now)
    soon = {key for _, key in scene.run(1.25 * HELLO_INTERVAL)}
    assert first in soon
    assert (why == "differs") or soon == {first, *others}


def test_three_unanswered_hellos_two_seconds_apart_give_way(rng: random.Random) -> None:
    """The next on the ring takes the place."""
    scene = Scene(30, rng)
    ring = scene.ring()
    scene.dead = {ring[0]}
    greeted = scene.run(8.0)
    times = [at for at, key in greeted if key == ring[0]]
    assert len(times) >= MAX_UNANSWERED
    assert [b - a for a, b in pairwise(times[:3])] == [pytest.approx(HELLO_TIMEOUT)] * 2
    assert ring[0] in scene.neighbours.silent
    assert scene.neighbours.chosen[:2] == (ring[1], ring[2])


def test_one_lost_answer_changes_nothing(rng: random.Random) -> None:
    """The second Hello is answered, and then it is 20 s again."""
    scene = Scene(30, rng)
    first = scene.ring()[0]
    scene.dead = {first}
    scene.run(1.0)
    scene.dead = set()
    greeted = [at for at, key in scene.run(30.0) if key == first]
    assert first in scene.neighbours.chosen
    assert greeted[1] - greeted[0] >= 0.75 * HELLO_INTERVAL


def test_a_silent_member_is_asked_less_and_less(rng: random.Random) -> None:
    """From about 5 s to about 120 s."""
    scene = Scene(1, rng)
    scene.dead = set(scene.members)
    times = [at for at, _ in scene.run(3600.0)][MAX_UNANSWERED:]
    gaps = [b - a for a, b in pairwise(times)]
    assert 0.75 * 10 <= gaps[0] <= 1.25 * 10
    assert all(gap <= 1.25 * LAST_RETRY + 0.1 for gap in gaps)
    assert all(gap >= 0.75 * LAST_RETRY for gap in gaps[5:])


def test_a_dead_network_is_asked_once_in_two_seconds(rng: random.Random) -> None:
    """However many do not answer, and whoever is next in line."""
    scene = Scene(400, rng)
    scene.dead = set(scene.members)
    greeted = scene.run(660.0)
    firsts = sorted({key: at for at, key in reversed(greeted)}.values())
    firsts = [at for at in firsts if at > 60.0]
    greeted = [one for one in greeted if one[0] > 60.0]
    gaps = [b - a for a, b in pairwise(firsts)]
    # Three Hellos to a new one, one to a silent one: 1.5 a second at the most.
    assert len(greeted) <= 600 / RETRY_SPACING * MAX_UNANSWERED
    assert all(gap >= RETRY_SPACING - 1e-6 for gap in gaps)


def test_a_silent_member_that_is_heard_is_a_neighbour_again(rng: random.Random) -> None:
    """At once, in its old place, and greeted soon."""
    scene = Scene(30, rng)
    first = scene.ring()[0]
    scene.dead = {first}
    scene.run(300.0)
    scene.dead = set()
    scene.neighbours.heard(first, now=scene.now)
    greeted = scene.run(1.0)
    assert scene.neighbours.chosen[0] == first
    assert first in [key for _, key in greeted]
    assert first not in scene.neighbours.silent


def test_who_is_removed_is_no_neighbour(rng: random.Random) -> None:
    """Silent or not; it is never greeted again."""
    scene = Scene(10, rng)
    ring = scene.ring()
    scene.dead = {ring[0]}
    scene.run(60.0)
    for key in ring[:2]:
        scene.neighbours.remove(key, now=scene.now)
    scene.neighbours.remove(US, now=scene.now)
    greeted = scene.run(600.0)
    assert not {key for _, key in greeted} & set(ring[:2])
    assert scene.neighbours.chosen[:2] == (ring[2], ring[3])


def test_alone_there_is_nothing_to_do(rng: random.Random) -> None:
    """No deadline, no greeting."""
    scene = Scene(0, rng)
    assert scene.neighbours.next_deadline() is None
    assert scene.run(100.0) == []
