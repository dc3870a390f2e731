"""Owners that stop answering, and come back."""

import itertools
from dataclasses import dataclass, field

from meshnode.codec.messages import Message, Ping
from meshnode.mesh.health import ASK_AFTER, LINGER, OwnerHealth
from meshnode.mesh.ports import SharedPrefix, TunnelPeer
from meshnode.ports import NEVER
from meshnode.types import Cipher, Endpoint

A, B = b"A" * 32, b"B" * 32


@dataclass
class FakeTunnels:
    """What was sent and heard, a `mesh.ports.Tunnels`; pings count as data sent."""

    received: dict[bytes, float] = field(default_factory=dict)
    sent: dict[bytes, float] = field(default_factory=dict)
    pings: list[tuple[float, bytes, bytes]] = field(default_factory=list)

    def send(self, key: bytes, message: Message, *, now: float) -> None:
        """Note a ping."""
        assert isinstance(message, Ping)
        self.pings.append((now, key, message.nonce))
        self.sent[key] = now

    def last_received(self, key: bytes) -> float:
        """Return when the peer was last heard."""
        return self.received.get(key, NEVER)

    def last_data_sent(self, key: bytes) -> float:
        """Return when it was last sent to."""
        return self.sent.get(key, NEVER)

    def sent_to(self, key: bytes) -> tuple[int, int]:
        """Not used."""
        return 0, 0

    def sessions_of(self, key: bytes) -> tuple[int, ...]:
        """Not used."""
        return ()

    def send_probe(
        self, key: bytes, message: Message, size: int, *, now: float
    ) -> None:
        """Not used."""

    def use_cipher(
        self, key: bytes, session: int, cipher: Cipher, *, now: float
    ) -> None:
        """Not used."""

    def set_peer(self, peer: TunnelPeer, *, now: float) -> None:
        """Not used."""

    def remove_peer(self, key: bytes, *, now: float) -> None:
        """Not used."""

    def share_prefixes(self, shared: tuple[SharedPrefix, ...], *, now: float) -> None:
        """Not used."""

    def set_candidates(
        self, key: bytes, candidates: tuple[Endpoint, ...], *, now: float
    ) -> None:
        """Not used."""

    def drop_waiting(self, key: bytes, *, now: float) -> None:
        """Not used."""

    def path_of(self, key: bytes) -> Endpoint | None:
        """Not used."""
        return None

    def has_session(self, key: bytes) -> bool:
        """Not used."""
        return True


class World:
    """Two owners, a clock, and traffic."""

    def __init__(self) -> None:
        self.tunnels = FakeTunnels()
        self.now = 100.0
        numbers = itertools.count(1)
        self.health = OwnerHealth(
            self.tunnels, lambda size: next(numbers).to_bytes(size, "big")
        )
        self.health.set_owners([A, B], now=self.now)
        self.alive = {A, B}
        self.answered = 0
        self.changes: list[tuple[float, frozenset[bytes]]] = []

    def send(self, key: bytes) -> None:
        """Send data to an owner; if it is alive, it answers in 20 ms."""
        resumed = self.now - self.tunnels.sent.get(key, NEVER) > 15
        self.tunnels.sent[key] = self.now
        if resumed:
            self.health.traffic_resumed(key, now=self.now)
        if key in self.alive:
            self.tunnels.received[key] = self.now + 0.02

    def run(self, seconds: float, *keys: bytes, every: float = 0.25) -> None:
        """Let time pass while data goes to *keys*."""
        end = self.now + seconds
        next_send = self.now if keys else end + 1
        while True:
            deadline = self.health.next_deadline()
            at = min(deadline.at if deadline else end + 1, next_send)
            if at > end:
                break
            self.now = max(self.now, at)
            if at == next_send:
                for key in keys:
                    self.send(key)
                next_send += every
            if deadline and deadline.at <= self.now:
                self.note(self.health.handle_deadline(now=self.now))
            self.answer()
        self.now = end

    def answer(self) -> None:
        """Let the living answer; the engine calls our questions traffic, too."""
        for at, key, nonce in self.tunnels.pings[self.answered :]:
            self.health.traffic_resumed(key, now=at + 0.01)
            if key in self.alive:
                self.tunnels.received[key] = at + 0.02
                self.note(self.health.pong(key, nonce, now=at + 0.02))
        self.answered = len(self.tunnels.pings)

    def note(self, changed: bool) -> None:
        """Remember a change, and that it was said exactly when there was one."""
        before = self.changes[-1][1] if self.changes else frozenset[bytes]()
        assert changed is (self.health.unhealthy != before)
        if changed:
            self.changes.append((self.now, self.health.unhealthy))


def test_nothing_happens_without_traffic() -> None:
    """After a look at new owners no timer runs; nobody is asked."""
    world = World()
    world.run(ASK_AFTER)
    assert world.health.next_deadline() is None
    assert world.health.unhealthy == frozenset()
    assert world.tunnels.pings == []


def test_traffic_that_began_before_it_owned_anything_is_seen() -> None:
    """The engine has told of it already, and does not again while it lasts."""
    world = World()
    world.health.set_owners([], now=world.now)
    world.run(5, A)
    world.health.set_owners([A], now=world.now)
    world.run(3, A)
    world.alive.clear()
    died = world.now
    world.run(6, A)
    [(at, unhealthy)] = world.changes
    assert unhealthy == {A}
    assert at - died < 5


def test_busy_owner_is_never_asked() -> None:
    """Traffic both ways is answer enough."""
    world = World()
    world.run(60, A)
    assert world.tunnels.pings == []
    assert world.health.unhealthy == frozenset()


def test_idle_again_after_traffic() -> None:
    """Some time after the last packet no timer is left; nobody was asked for it."""
    world = World()
    world.run(10, A)
    world.run(LINGER + 3)
    assert world.health.next_deadline() is None
    assert world.tunnels.pings == []


def test_dead_owner_is_left_within_five_seconds() -> None:
    """Three questions, a second apart; the other owner stays healthy."""
    world = World()
    world.run(10, A, B)
    world.alive.discard(A)
    died = world.now
    world.run(10, A, B)
    [(at, unhealthy)] = world.changes
    assert unhealthy == {A}
    assert at - died < 5
    asked = [when for when, key, _ in world.tunnels.pings if key == A and when < at]
    assert len(asked) == 3


def test_owner_dead_before_the_first_packet_is_left_as_fast() -> None:
    """Packets that wait for a session count as traffic."""
    world = World()
    world.alive.clear()
    world.health.traffic_resumed(A, now=world.now)
    started = world.now
    world.run(10)
    assert world.changes[0][1] == {A}
    assert world.changes[0][0] - started < 5


def test_traffic_that_comes_again_soon_is_watched() -> None:
    """The engine tells of nothing then: it still watches the peer itself."""
    world = World()
    world.run(5, A)
    world.run(12)
    world.alive.discard(A)
    began = world.now
    world.tunnels.sent[A] = began
    world.run(6)
    assert world.changes[0][1] == {A}
    assert world.changes[0][0] - began < 5


def test_silent_answerer_is_asked_once_a_second_at_most() -> None:
    """One-way traffic to a living owner costs one question a second."""
    world = World()
    world.run(3, A)
    for _ in range(80):
        world.tunnels.sent[A] = world.now
        world.run(0.25)
    times = [at for at, _, _ in world.tunnels.pings]
    assert 15 <= len(times) <= 21
    assert min(b - a for a, b in itertools.pairwise(times)) >= 1
    assert world.changes == []


def test_owner_that_answers_twice_is_healthy_again() -> None:
    """It is asked every two seconds while there is traffic."""
    world = World()
    world.run(5, A, B)
    world.alive.discard(A)
    world.run(20, A, B)
    world.alive.add(A)
    back = world.now
    world.run(10, B)
    assert [unhealthy for _, unhealthy in world.changes] == [{A}, set()]
    assert 2 <= world.changes[1][0] - back <= 4.1
    times = [at for at, key, _ in world.tunnels.pings if key == A]
    gaps = [b - a for a, b in itertools.pairwise(times[3:])]
    assert all(abs(gap - 2) < 1e-6 for gap in gaps)


def test_one_answer_of_two_is_not_enough() -> None:
    """A link that drops every other packet does not flap."""
    world = World()
    world.run(5, A, B)
    world.alive.discard(A)
    world.run(6, A, B)
    for _ in range(10):
        world.alive ^= {A}
        world.run(2, B)
    assert [unhealthy for _, unhealthy in world.changes] == [{A}]


def test_unhealthy_owner_is_let_alone_without_traffic() -> None:
    """Nobody is asked for ever; the next packet to anybody asks again."""
    world = World()
    world.run(5, A, B)
    world.alive.discard(A)
    world.run(6, A, B)
    world.run(LINGER + 5)
    assert world.health.next_deadline() is None
    assert world.health.unhealthy == {A}
    world.alive.add(A)
    world.run(8, B)
    assert world.health.unhealthy == frozenset()


def test_held_up_process_blames_nobody() -> None:
    """After a stall each overdue question is asked, and only then counted."""
    world = World()
    world.run(5, A)
    world.tunnels.sent[A] = world.now
    world.now += 60
    world.health.handle_deadline(now=world.now)
    world.answer()
    world.run(10, A)
    assert world.changes == []


def test_answer_to_another_question_is_nothing() -> None:
    """Only the last nonce counts, once, and only from who was asked."""
    world = World()
    world.run(5, A, B)
    world.alive.clear()
    world.run(10, A, B)
    assert world.health.unhealthy == {A, B}
    [nonce] = [nonce for _, key, nonce in world.tunnels.pings if key == A][-1:]
    assert not world.health.pong(A, b"x" * 8, now=world.now)
    assert not world.health.pong(A, b"", now=world.now)
    assert not world.health.pong(B, nonce, now=world.now)
    for _ in range(3):
        assert not world.health.pong(A, nonce, now=world.now)
    assert world.health.unhealthy == {A, B}


def test_former_owner_is_forgotten() -> None:
    """Who owns nothing shared has no health, and no timer."""
    world = World()
    world.run(5, A, B)
    world.alive.clear()
    world.run(10, A, B)
    world.health.set_owners([B], now=world.now)
    assert world.health.unhealthy == {B}
    world.health.traffic_resumed(A, now=world.now)
    world.health.set_owners([], now=world.now)
    assert world.health.next_deadline() is None
    assert not world.health.pong(A, b"x" * 8, now=world.now)


def test_standby_is_asked_while_another_carries() -> None:
    """Every two seconds, though nothing goes to it; its death is seen, and its life."""
    world = World()
    world.health.set_owners([A, B], standby=[A], now=world.now)
    world.run(20, B)
    asked = [at for at, key, _ in world.tunnels.pings if key == A]
    assert 8 <= len(asked) <= 11
    assert world.changes == []
    world.alive.discard(A)
    died = world.now
    world.run(12, B)
    assert [(at - died < 10, ill) for at, ill in world.changes] == [(True, {A})]
    world.alive.add(A)
    world.run(8, B)
    assert world.health.unhealthy == frozenset()


def test_standby_is_let_alone_without_traffic() -> None:
    """And asked again when there is some."""
    world = World()
    world.health.set_owners([A, B], standby=[A], now=world.now)
    world.run(5, B)
    world.run(LINGER + 10)
    assert world.health.next_deadline() is None
    count = len(world.tunnels.pings)
    world.run(10, B)
    assert len([key for _, key, _ in world.tunnels.pings[count:] if key == A]) >= 4


def test_owner_that_comes_to_stand_by_is_asked() -> None:
    """From then on, and no more when it carries again."""
    world = World()
    world.run(LINGER + 10)
    assert world.health.next_deadline() is None
    world.health.set_owners([A, B], standby=[A], now=world.now)
    world.run(10, B)
    assert [key for _, key, _ in world.tunnels.pings].count(A) >= 4
    world.health.set_owners([A, B], now=world.now)
    count = len(world.tunnels.pings)
    world.run(20, A, B)
    assert len(world.tunnels.pings) == count
