"""Sizes of packets to one member: proven by answers, and given up without them."""

import random
from dataclasses import dataclass, field

import pytest

from meshnode.codec.messages import LargestSize, Message, SizeProbe, SizeProven
from meshnode.mesh.path_size import LADDER, PAUSE, PERIOD, TRIES, PathSizes
from meshnode.ports import NEVER
from meshnode.types import Endpoint
from tests.unit.mesh.issuing_parts import FakeTunnels

KEY, OTHER = bytes([1]) * 32, bytes([2]) * 32
HERE, THERE = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 1)
BASE, WIDE = 1420, 8920
NEXT = 8396
"""The next size below: 8,400 less what padding would add to it."""


@dataclass
class Tunnels(FakeTunnels):
    """Notes the probes; `data_at` is when data was last sent."""

    probes: list[tuple[bytes, SizeProbe]] = field(default_factory=list)
    data_at: float = NEVER

    def send_probe(
        self, key: bytes, message: Message, size: int, *, now: float
    ) -> None:
        """Note it."""
        assert isinstance(message, SizeProbe)
        assert message.size == size
        self.probes.append((key, message))

    def last_data_sent(self, key: bytes) -> float:
        """Return what a test put there."""
        return self.data_at

    def take_probes(self) -> list[SizeProbe]:
        """Return and forget the probes."""
        probes, self.probes = self.probes, []
        return [probe for _, probe in probes]


class Bench:
    """One node's sizes over tunnels with a session with KEY, and its clock."""

    def __init__(self, *, largest: int = WIDE) -> None:
        self.tunnels = Tunnels()
        self.tunnels.sessions |= {KEY, OTHER}
        self.tunnels.paths |= {KEY: HERE, OTHER: HERE}
        self.now = 100.0
        entropy = random.Random(1).randbytes
        self.sizes = PathSizes(self.tunnels, entropy, base=BASE, largest=largest)

    def start(self, theirs: int = WIDE) -> None:
        """Begin a session in which the member says what it takes."""
        self.sizes.session_started(KEY, now=self.now)
        self.sizes.receive_largest(KEY, LargestSize(theirs), now=self.now)

    def run(self, seconds: float = 0.0) -> list[SizeProbe]:
        """Let time pass; return the probes sent in it."""
        end = self.now + seconds
        while True:
            deadline = self.sizes.next_deadline()
            if deadline is None or deadline.at > end:
                break
            self.now = max(self.now, deadline.at)
            self.sizes.handle_deadline(now=self.now)
        self.now = end
        return self.tunnels.take_probes()

    def answer(self, probe: SizeProbe, key: bytes = KEY) -> None:
        """Let the answer to *probe* come in, from the member with *key*."""
        proven = SizeProven(probe.nonce, probe.size)
        self.sizes.receive_proven(key, proven, now=self.now)

    def prove(self) -> None:
        """Begin a session, and have the largest size in use."""
        self.start()
        self.answer(self.run()[-1])
        assert self.size == WIDE
        assert self.sizes.take_change()

    def talk(self, seconds: float) -> list[SizeProbe]:
        """Send data each second; return the probes."""
        probes = []
        for _ in range(int(seconds)):
            self.tunnels.data_at = self.now
            probes += self.run(1.0)
        return probes

    @property
    def size(self) -> int:
        """The size in use."""
        return self.sizes.size_for(KEY)


@pytest.fixture
def bench() -> Bench:
    """Sizes before any session."""
    return Bench()


def test_a_size_is_in_use_when_its_probe_was_answered(bench: Bench) -> None:
    """Not before, and then nothing more is asked at once."""
    bench.start()
    assert bench.tunnels.drain() == [(KEY, LargestSize(WIDE))]
    [probe] = bench.run()
    assert (probe.size, bench.size, bench.sizes.take_change()) == (WIDE, BASE, False)
    bench.answer(probe)
    assert bench.size == WIDE
    assert bench.sizes.proven() == {KEY: WIDE}
    assert (bench.sizes.take_change(), bench.sizes.take_change()) == (True, False)
    assert bench.run(PERIOD - 1) == []


def test_sizes_are_tried_downwards_three_times_each(bench: Bench) -> None:
    """With a pause between two; when none is left, nothing is asked any more."""
    bench.start()
    probes = bench.run(60)
    assert [probe.size for probe in probes] == [
        size for size in (WIDE, NEXT, 3992, 1996) for _ in range(TRIES)
    ]
    assert len({probe.nonce for probe in probes}) == 4
    assert (bench.size, bench.sizes.take_change()) == (BASE, False)
    assert bench.sizes.next_deadline() is None


def test_an_answer_may_come_late_and_twice(bench: Bench) -> None:
    """To the first of three tries; not to a size that was given up."""
    bench.start()
    given_up, *_ = bench.run()
    first, _ = bench.run(TRIES * PAUSE + PAUSE)[-2:]
    bench.answer(given_up)
    assert bench.size == BASE
    bench.answer(first)
    assert bench.size == NEXT
    bench.sizes.take_change()
    bench.answer(first)
    bench.answer(given_up)
    assert (bench.size, bench.sizes.take_change()) == (NEXT, False)


def test_only_the_member_asked_can_prove(bench: Bench) -> None:
    """By the right nonce, for the size asked about."""
    bench.start()
    bench.sizes.session_started(OTHER, now=bench.now)
    [probe] = bench.run()
    bench.answer(probe, OTHER)
    bench.answer(SizeProbe(bytes(8), WIDE))
    bench.answer(SizeProbe(b"", WIDE))
    bench.answer(SizeProbe(probe.nonce, 65_455))
    bench.answer(probe, bytes(32))
    assert bench.sizes.proven() == {}
    bench.answer(probe)
    assert bench.sizes.proven() == {KEY: WIDE}


@pytest.mark.parametrize(
    ("ours", "theirs", "first"),
    [
        (WIDE, 4000, 3992),
        (4000, WIDE, 3992),
        (65_455, 65_455, 65_448),
        (WIDE, 1500, 1500),
        (WIDE, BASE, None),
        (WIDE, 1280, None),
    ],
)
def test_nobody_is_asked_for_more_than_both_take(
    ours: int, theirs: int, first: int | None
) -> None:
    """And padding never makes a packet larger than what was asked about."""
    bench = Bench(largest=ours)
    bench.start(theirs)
    probes = bench.run()
    assert [probe.size for probe in probes] == ([] if first is None else [first])
    assert all(probe.size % BASE % 16 == 0 for probe in probes)


def test_who_has_no_wider_underlay_says_and_answers_nothing() -> None:
    """Nor does it ask, whatever the others say."""
    bench = Bench(largest=BASE)
    bench.start()
    bench.sizes.receive_probe(KEY, SizeProbe(bytes(8), WIDE), now=bench.now)
    assert bench.run(60) == []
    assert bench.tunnels.drain() == []


def test_what_is_said_twice_in_a_session_counts_once(bench: Bench) -> None:
    """So nobody can make us ask again and again."""
    bench.prove()
    for size in (4000, WIDE, 2000):
        bench.sizes.receive_largest(KEY, LargestSize(size), now=bench.now)
    assert bench.run(1) == []
    assert bench.size == WIDE


def test_who_takes_less_from_now_on_is_sent_less(bench: Bench) -> None:
    """It restarted with another underlay, and says so in its first session."""
    bench.prove()
    bench.start(4000)
    assert bench.size == BASE
    probe = bench.run()[-1]
    assert probe.size == 3992
    bench.answer(probe)
    assert bench.size == 3992


def test_a_probe_is_answered_by_its_nonce_and_size(bench: Bench) -> None:
    """If we take that much; also of who said nothing yet."""
    for size in (BASE, BASE + 1, WIDE, WIDE + 1):
        probe = SizeProbe(size.to_bytes(8, "big"), size)
        bench.sizes.receive_probe(KEY, probe, now=bench.now)
    assert bench.tunnels.drain() == [
        (KEY, SizeProven(size.to_bytes(8, "big"), size)) for size in (BASE + 1, WIDE)
    ]


def test_another_endpoint_is_another_path(bench: Bench) -> None:
    """The base at once; the largest is asked for after a pause."""
    bench.prove()
    bench.sizes.path_changed(KEY, now=bench.now)
    assert bench.size == WIDE
    bench.tunnels.paths[KEY] = THERE
    bench.sizes.path_changed(KEY, now=bench.now)
    assert (bench.size, bench.sizes.take_change()) == (BASE, True)
    assert bench.run(PAUSE / 2) == []
    bench.answer(bench.run(PAUSE / 2)[-1])
    assert bench.size == WIDE


def test_an_answer_proves_nothing_about_a_later_path(bench: Bench) -> None:
    """Even if nobody has told us of the move yet."""
    bench.start()
    [probe] = bench.run()
    bench.tunnels.paths[KEY] = THERE
    bench.answer(probe)
    assert bench.size == BASE
    bench.sizes.path_changed(KEY, now=bench.now)
    bench.answer(probe)
    assert bench.size == BASE


def test_a_new_session_proves_the_size_anew(bench: Bench) -> None:
    """It stays in use while it is asked about, and goes if nobody answers."""
    bench.prove()
    bench.run(10)
    bench.start()
    [probe] = bench.run()
    assert (probe.size, bench.size) == (WIDE, WIDE)
    bench.answer(probe)
    assert bench.run(10) == []
    bench.sizes.session_started(KEY, now=bench.now)
    probes = bench.run(TRIES * PAUSE)
    assert [probe.size for probe in probes] == [WIDE] * TRIES + [NEXT]
    assert bench.size == BASE
    bench.answer(probes[-1])
    assert bench.size == NEXT


def test_a_size_in_use_is_asked_again_while_there_is_traffic(bench: Bench) -> None:
    """Every 30 seconds; three unanswered in a row, and the base is in use."""
    bench.prove()
    [probe] = bench.talk(PERIOD)
    bench.answer(probe)
    probes = bench.talk(PERIOD - 2)
    assert (probes, bench.size) == ([], WIDE)
    probes = bench.talk(TRIES * PAUSE + 2)
    assert [probe.size for probe in probes][:TRIES] == [WIDE] * TRIES
    assert (bench.size, bench.sizes.take_change()) == (BASE, True)


def test_without_traffic_nothing_is_asked(bench: Bench) -> None:
    """Answers of ours are no traffic: else two would keep each other awake."""
    bench.prove()
    for _ in range(10):
        probe = SizeProbe(bytes(8), WIDE)
        bench.sizes.receive_probe(KEY, probe, now=bench.now)
        bench.tunnels.data_at = bench.now + 0.01
        assert bench.run(PERIOD) == []
    assert bench.size == WIDE


def test_the_end_of_a_session_ends_it(bench: Bench) -> None:
    """A quiet peer costs nothing any more, and what was proven is void."""
    bench.prove()
    bench.tunnels.sessions.clear()
    bench.run(PERIOD)
    assert (bench.size, bench.sizes.take_change()) == (BASE, True)
    assert bench.sizes.next_deadline() is None


def test_who_is_gone_is_forgotten(bench: Bench) -> None:
    """With the deadline; what still arrives of it changes nothing."""
    bench.prove()
    bench.start()
    probe = bench.run()[-1]
    bench.sizes.forget(KEY)
    bench.sizes.forget(KEY)
    bench.answer(probe)
    bench.sizes.path_changed(KEY, now=bench.now)
    bench.sizes.receive_largest(KEY, LargestSize(WIDE), now=bench.now)
    assert (bench.size, bench.sizes.next_deadline()) == (BASE, None)


def test_the_period_is_an_argument() -> None:
    """Whoever cannot wait looks more often."""
    tunnels = Tunnels(sessions={KEY}, paths={KEY: HERE})
    sizes = PathSizes(
        tunnels, random.Random(1).randbytes, base=BASE, largest=WIDE, period=2.0
    )
    sizes.session_started(KEY, now=0.0)
    sizes.receive_largest(KEY, LargestSize(WIDE), now=0.0)
    sizes.handle_deadline(now=0.0)
    [probe] = tunnels.take_probes()
    sizes.receive_proven(KEY, SizeProven(probe.nonce, probe.size), now=0.0)
    deadline = sizes.next_deadline()
    assert deadline is not None
    assert deadline.at == 2.0


def test_the_ladder_goes_down() -> None:
    """To something above the base."""
    assert sorted(LADDER, reverse=True) == list(LADDER)
    assert min(LADDER) > BASE
