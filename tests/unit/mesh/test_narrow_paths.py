"""Sizes below the base: found under traffic where a path swallows what is larger."""

import random
from dataclasses import dataclass, field

import pytest

from meshnode.channels import endpoint_of
from meshnode.codec.messages import Message, SizeProbe, SizeProven
from meshnode.codec.wireguard import DATA_OVERHEAD
from meshnode.mesh.narrow_paths import (
    AWAKE,
    CHECK,
    GROW,
    LAZY_LOOK,
    LOOK,
    TRIES,
    WAIT,
    NarrowPaths,
    sizes_for,
)
from meshnode.ports import NEVER
from meshnode.types import Endpoint
from tests.unit.mesh.issuing_parts import FakeTunnels

KEY = bytes([1]) * 32
V4, V6 = Endpoint("192.0.2.1", 1), Endpoint("2001:db8::1", 1)
RELAYED = endpoint_of(7)
BASE = 1420
STEP = 0.05
"""Seconds between two moments of the bench."""


@dataclass
class Path(FakeTunnels):
    """A path that carries inner packets of `limit` bytes and swallows larger ones.

    Answers take `delay` seconds; the share `loss` of them does not come.
    """

    limit: int = BASE
    delay: float = 0.04
    loss: float = 0.0
    packets: int = 0
    total: int = 0
    data_at: float = NEVER
    probes: list[int] = field(default_factory=list)
    answers: list[tuple[float, SizeProven]] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def send_probe(
        self, key: bytes, message: Message, size: int, *, now: float
    ) -> None:
        """Note it, and let it be answered if it fits."""
        assert isinstance(message, SizeProbe)
        assert message.size == size
        self.probes.append(size)
        self.note(size)
        if size <= self.limit and self.rng.random() >= self.loss:
            proven = SizeProven(message.nonce, size)
            self.answers.append((now + self.delay, proven))

    def note(self, size: int) -> None:
        """Count a packet that is sent."""
        self.packets += 1
        self.total += size + DATA_OVERHEAD

    def sent_to(self, key: bytes) -> tuple[int, int]:
        """Return what was sent, probes among it."""
        return self.packets, self.total

    def last_data_sent(self, key: bytes) -> float:
        """Return when a test sent something."""
        return self.data_at


class Bench:
    """One member's path, with a session over it, and the clock."""

    def __init__(self, *, endpoint: Endpoint = V4, limit: int = BASE) -> None:
        self.path = Path(limit=limit)
        self.path.sessions.add(KEY)
        self.path.paths[KEY] = endpoint
        self.now = 100.0
        entropy = random.Random(2).randbytes
        self.narrow = NarrowPaths(self.path, entropy, base=BASE)
        self.narrow.session_started(KEY, now=self.now)

    def run(self, seconds: float, *, packet: int = 0) -> list[int]:
        """Let time pass, with so large packets at 10 a second; return the probes."""
        end = self.now + seconds
        next_at = self.now
        while self.now < end - STEP / 2:
            self.now += STEP
            if packet and self.now >= next_at:
                next_at += 0.1
                self.path.note(packet)
                self.path.data_at = self.now
            self._take_answers()
            deadline = self.narrow.next_deadline()
            if deadline is not None and deadline.at <= self.now:
                self.narrow.handle_deadline(now=self.now)
        probes, self.path.probes = self.path.probes, []
        return probes

    def _take_answers(self) -> None:
        due = [answer for answer in self.path.answers if answer[0] <= self.now]
        for answer in due:
            self.path.answers.remove(answer)
            self.narrow.receive_proven(KEY, answer[1], now=self.now)

    @property
    def size(self) -> int:
        """The size in use."""
        return self.narrow.size_for(KEY)


@pytest.fixture
def bench() -> Bench:
    """A healthy path over IPv4."""
    return Bench()


@pytest.mark.parametrize(
    ("endpoint", "sizes"),
    [
        (V4, (1420, 1328, 1296, 1232, 1216, 944, 512)),
        (V6, (1420, 1408, 1392, 1312, 1280, 1216, 1200, 912, 496)),
        (RELAYED, (1420, 1404, 1392, 1312, 1264, 1200, 1184, 912, 480)),
    ],
)
def test_the_sizes_are_those_of_links(endpoint: Endpoint, sizes: tuple[int]) -> None:
    """Less the headers of the path, and such that padding does not go beyond."""
    found = sizes_for(endpoint, BASE)
    assert found[0] == BASE
    assert all(size % 16 == 0 for size in found[1:])
    if endpoint is not RELAYED:
        assert found == sizes


def test_nothing_is_asked_without_large_packets(bench: Bench) -> None:
    """Nor is anything looked at any more after a while; traffic begins it anew."""
    assert bench.run(AWAKE, packet=80) == []
    assert bench.run(AWAKE + LAZY_LOOK + 1) == []
    assert bench.narrow.next_deadline() is None
    bench.narrow.traffic_resumed(KEY, now=bench.now)
    assert bench.run(2 * LOOK, packet=1400) == [BASE]


def test_probes_are_no_traffic(bench: Bench) -> None:
    """Else one would be the reason for the next."""
    bench.run(5, packet=1400)
    bench.run(CHECK)
    assert bench.run(30) == []


def test_a_healthy_path_is_asked_about_the_base_only(bench: Bench) -> None:
    """Once a second under traffic, and it stays in use."""
    probes = bench.run(30, packet=1400)
    assert set(probes) == {BASE}
    assert len(probes) <= 30 / CHECK
    assert (bench.size, bench.narrow.take_change()) == (BASE, False)
    assert bench.narrow.narrowed() == {}


@pytest.mark.parametrize("outer", [1280, 1300, 1360, 1492])
@pytest.mark.parametrize("endpoint", [V4, V6, RELAYED], ids=["v4", "v6", "relayed"])
def test_a_black_hole_is_survived(outer: int, endpoint: Endpoint) -> None:
    """In less than three seconds, whatever else comes back; and it grows again."""
    bench = Bench(endpoint=endpoint)
    bench.run(10, packet=1400)
    overhead = {V4: 60, V6: 80, RELAYED: 88}[endpoint]
    bench.path.limit = outer - overhead
    began = bench.now
    while bench.size > bench.path.limit:
        bench.run(STEP, packet=1400)
        assert bench.now < began + 3.0
    if bench.size < BASE:
        assert bench.narrow.take_change()
        assert bench.narrow.narrowed() == {KEY: bench.size}
    assert bench.size == max(
        size for size in sizes_for(endpoint, BASE) if size <= bench.path.limit
    )
    bench.path.limit = BASE
    bench.run(GROW + 2 * CHECK, packet=1100)
    assert bench.size == BASE


def test_a_path_that_is_cut_is_not_narrow(bench: Bench) -> None:
    """Nothing is answered, so nothing is known; and it is asked less and less."""
    bench.run(5, packet=1400)
    bench.path.limit = 0
    probes = bench.run(60, packet=1400)
    assert bench.size == BASE
    assert probes.count(BASE) <= 10 * TRIES
    bench.path.limit = 1250
    bench.run(10, packet=1400)
    assert bench.size == 1232


def test_answers_that_take_long_are_waited_for(bench: Bench) -> None:
    """A round trip of 0.6 s looks like a black hole once, and no more."""
    bench.path.delay = 0.6
    bench.run(10, packet=1400)
    probes = bench.run(20, packet=1400)
    assert set(probes) == {BASE}
    assert (bench.size, bench.narrow.take_change()) == (BASE, False)


def test_loss_is_no_black_hole(bench: Bench) -> None:
    """Of one in ten, at most a few questions of hundreds go wrong, for a while."""
    bench.path.loss = 0.1
    narrow = 0
    for _ in range(600):
        bench.run(1, packet=1400)
        narrow += bench.size < BASE
    assert narrow < 60


def test_another_endpoint_begins_with_the_base(bench: Bench) -> None:
    """And late answers about the one before count for nothing."""
    bench.path.limit = 1250
    bench.run(5, packet=1400)
    assert bench.size == 1232
    bench.path.paths[KEY] = V6
    bench.narrow.path_changed(KEY, now=bench.now)
    assert bench.size == BASE
    bench.run(5, packet=1400)
    assert bench.size == 1216


def test_only_the_right_nonce_counts(bench: Bench) -> None:
    """For the size that was asked about."""
    bench.path.limit = 1250
    bench.run(5, packet=1400)
    for size in (BASE, 1328, 1232):
        for nonce in (b"", bytes(8)):
            proven = SizeProven(nonce, size)
            bench.narrow.receive_proven(KEY, proven, now=bench.now)
            bench.narrow.receive_proven(bytes(32), proven, now=bench.now)
    assert bench.size == 1232


def test_a_probe_is_answered_by_its_nonce_and_size(bench: Bench) -> None:
    """By something far smaller."""
    probe = SizeProbe(bytes(range(8)), 1232)
    bench.narrow.receive_probe(KEY, probe, now=bench.now)
    assert bench.path.drain() == [(KEY, SizeProven(bytes(range(8)), 1232))]


def test_who_is_gone_is_forgotten(bench: Bench) -> None:
    """With the deadline, and what was narrow is not any more."""
    bench.path.limit = 1250
    bench.run(5, packet=1400)
    bench.narrow.take_change()
    bench.narrow.forget(KEY)
    bench.narrow.forget(KEY)
    assert bench.narrow.next_deadline() is None
    assert (bench.size, bench.narrow.take_change()) == (BASE, True)
    bench.narrow.traffic_resumed(KEY, now=bench.now)
    assert bench.narrow.next_deadline() is None


def test_a_session_that_ends_lets_it_sleep(bench: Bench) -> None:
    """Until the next; what is known of the path stays."""
    bench.path.limit = 1250
    bench.run(5, packet=1400)
    bench.path.sessions.clear()
    bench.run(2, packet=1400)
    assert bench.narrow.next_deadline() is None
    bench.path.sessions.add(KEY)
    bench.narrow.session_started(KEY, now=bench.now)
    assert bench.size == 1232
    assert bench.run(2 * CHECK, packet=1400)


def test_waiting_is_short() -> None:
    """A question that ends in a smaller size takes less than TCP's fourth retry."""
    assert LOOK + CHECK + TRIES * WAIT < 3.0
