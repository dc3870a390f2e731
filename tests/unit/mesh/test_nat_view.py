"""Looking at the NAT by members that see us."""

import random

import pytest

from meshnode.codec.probes import ProbeKind
from meshnode.codec.records import Mapping, NatHint
from meshnode.mesh.nat_judgement import SAMPLES
from meshnode.mesh.nat_view import AGAIN_IN, LOOK_EVERY, Helper, NatView
from meshnode.mesh.probes import Probes
from meshnode.mesh.punch_sockets import OpenSockets, SearchSockets
from meshnode.types import Datagram, Endpoint

OURS = b"o" * 32
OUTSIDE = "203.0.113.1"


class Bench:
    """Our view, and three helpers that answer as a NAT makes them; `ports` are next."""

    def __init__(self, rng: random.Random) -> None:
        self.now = 0.0
        self.ports: list[int] = []
        self.near: list[bytes] = []
        self.sockets = SearchSockets()
        self.probes = Probes(rng.randbytes)
        self.asked: list[bytes] = []
        self.helpers = [
            Helper(bytes([n]) * 32, Endpoint("192.0.2.1", n)) for n in (1, 2, 3)
        ]
        self.theirs = {one.key: Probes(rng.randbytes) for one in self.helpers}
        self.sent: list[Datagram] = []
        self.view = NatView(
            probes=self.probes,
            sockets=self.sockets,
            send=lambda datagram, now: self.sent.append(datagram),
            helpers=lambda: tuple(self.helpers),
            ask_key=self.meet,
            port=lambda: 51820,
            is_local=lambda seen: seen.host == "192.168.1.2",
        )

    def meet(self, key: bytes, now: float) -> None:
        """Let a helper and us know each other's probe keys."""
        self.asked.append(key)
        self.probes.know(key, self.theirs[key].key)
        self.theirs[key].know(OURS, self.probes.key)

    def run(self, seconds: float) -> bool:
        """Let time pass; return whether the view changed."""
        has_changed, end = False, self.now + seconds
        while (deadline := self.view.next_deadline()) and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            has_changed |= self.view.handle_deadline(now=self.now)
            self.obey()
        self.now = end
        return has_changed

    def obey(self) -> None:
        """Open the sockets that are asked for, and let answers come."""
        for order in self.sockets.take_orders():
            if isinstance(order, OpenSockets):
                ports = tuple(range(50000, 50000 + order.count))
                assert self.view.sockets_opened(ports, now=self.now)
        self.answer()

    def answer(self) -> None:
        """Answer what was sent, each ping as if from the next port."""
        sent, self.sent = self.sent, []
        for datagram in sent:
            if not self.ports:
                continue
            remote = datagram.path.remote
            key = next(one.key for one in self.helpers if one.endpoint == remote)
            host = "192.168.1.2" if key in self.near else OUTSIDE
            seen = Endpoint(host, self.ports.pop(0))
            ping = self.theirs[key].open(datagram.data)
            assert ping.probe.kind is ProbeKind.PING
            pong = self.theirs[key].pong(OURS, ping.probe, seen)
            assert self.view.take_pong(self.probes.open(pong))


@pytest.fixture
def bench(rng: random.Random) -> Bench:
    """A view that has seen nothing."""
    return Bench(rng)


def test_one_port_for_all(bench: Bench) -> None:
    """No other sockets are needed; we look again after a while."""
    bench.ports = [51820] * 3
    bench.view.look(now=0.0)
    assert bench.run(3.0)
    assert bench.view.hint == NatHint(Mapping.ENDPOINT_INDEPENDENT)
    assert bench.view.seen == Endpoint(OUTSIDE, 51820)
    facts = bench.view.facts()
    assert (facts.preserves_port, facts.answers, facts.samples) == (True, 3, 0)
    deadline = bench.view.next_deadline()
    assert deadline is not None
    assert deadline.at > LOOK_EVERY
    bench.ports = [51820] * 3
    assert not bench.run(LOOK_EVERY + 3)
    assert len(bench.asked) == 6


def test_a_nat_is_told_from_others_by_what_is_stable(bench: Bench) -> None:
    """Its address, and our port if that is the same for all; without one, nothing."""
    assert bench.view.place is None
    bench.ports = [51820] * 3
    bench.view.look(now=0.0)
    bench.run(3.0)
    assert bench.view.place == Endpoint(OUTSIDE, 51820)
    bench.ports = [2000, 2001, 2002]
    bench.view.look(now=bench.now)
    bench.run(3.0)
    assert bench.view.place == Endpoint(OUTSIDE, 0)
    bench.near = [helper.key for helper in bench.helpers]
    bench.ports = [51820] * 3
    bench.view.look(now=bench.now)
    bench.run(3.0)
    assert bench.view.hint == NatHint(Mapping.ENDPOINT_INDEPENDENT)
    assert bench.view.place is None


def test_another_port_for_each_and_a_block(bench: Bench, rng: random.Random) -> None:
    """16 sockets tell it, and are closed."""
    samples = rng.sample(range(20480, 21504), SAMPLES)
    bench.ports = [20500, 21500, 20600, *samples]
    bench.view.look(now=0.0)
    assert bench.run(5.0)
    assert bench.view.hint.mapping is Mapping.ENDPOINT_DEPENDENT
    assert bench.view.hint.first_port < min(samples)
    assert bench.view.facts().samples == SAMPLES
    assert bench.sockets.user is None
    assert bench.sockets.ask(1, OURS)


def test_a_sequence_needs_no_samples(bench: Bench) -> None:
    """Our pings are in order."""
    bench.ports = [2000, 2001, 2002]
    bench.view.look(now=0.0)
    bench.run(3.0)
    assert bench.view.hint == NatHint(Mapping.ENDPOINT_DEPENDENT, 2003, 2022)


def test_without_answers_we_look_again_soon(bench: Bench) -> None:
    """Nothing is claimed meanwhile."""
    bench.view.look(now=0.0)
    assert not bench.run(5.0)
    assert bench.view.hint == NatHint()
    assert not bench.view.facts().preserves_port
    bench.ports = [7] * 3
    assert bench.run(AGAIN_IN)


def test_a_helper_that_comes_meanwhile_is_asked_at_once(bench: Bench) -> None:
    """One alone tells no mapping."""
    late = bench.helpers.pop()
    del bench.helpers[1:]
    bench.ports = [7]
    bench.view.look(now=0.0)
    bench.run(0.6)
    bench.helpers.append(late)
    bench.view.note_helper(now=bench.now)
    bench.run(0.5)
    assert not bench.view.is_sure
    bench.ports = [7] * 2
    bench.run(1.2)
    assert bench.view.hint == NatHint(Mapping.ENDPOINT_INDEPENDENT)
    bench.view.note_helper(now=bench.now)
    asked = len(bench.asked)
    bench.run(5.0)
    assert len(bench.asked) == asked


def test_too_few_answers_say_nothing_against_what_is_known(bench: Bench) -> None:
    """Unless they come from elsewhere."""
    bench.ports = [51820] * 3
    bench.view.look(now=0.0)
    bench.run(3.0)
    bench.ports = [51820]
    bench.view.look(now=bench.now)
    bench.run(3.0)
    assert bench.view.hint == NatHint(Mapping.ENDPOINT_INDEPENDENT)


def test_samples_that_could_not_be_taken_are_taken_soon(bench: Bench) -> None:
    """Another search had the sockets."""
    assert bench.sockets.ask(1, OURS)
    bench.sockets.take_orders()
    bench.ports = [20500, 40000, 30600]
    bench.view.look(now=0.0)
    bench.run(3.0)
    assert bench.view.facts().samples == 0
    bench.sockets.choose(OURS, 0)
    bench.ports = [20500, 40000, 30600, *range(1, 1 + SAMPLES)]
    bench.run(AGAIN_IN + 3.0)
    assert bench.view.facts().samples == SAMPLES


def test_without_anybody_to_ask_there_is_nothing_to_do(bench: Bench) -> None:
    """And no deadline."""
    bench.helpers = []
    bench.view.look(now=0.0)
    bench.run(1.0)
    assert bench.view.next_deadline() is None


def test_who_sees_us_elsewhere_makes_us_look(bench: Bench) -> None:
    """But only if that means something."""
    bench.ports = [7] * 3
    bench.view.look(now=0.0)
    bench.run(3.0)
    bench.view.note_seen(Endpoint(OUTSIDE, 7), now=bench.now)
    bench.view.note_seen(Endpoint("2001:db8::1", 7), now=bench.now)
    assert not bench.run(1.0)
    bench.ports = [8] * 3
    bench.view.note_seen(Endpoint(OUTSIDE, 8), now=bench.now)
    assert not bench.run(3.0)  # another port, and no other NAT
    assert bench.view.seen == Endpoint(OUTSIDE, 8)


def test_sockets_and_answers_of_others_are_not_ours(
    bench: Bench, rng: random.Random
) -> None:
    """A pong that nobody asked for is left to others."""
    assert not bench.view.sockets_opened((1, 2), now=0.0)
    helper = bench.helpers[0].key
    bench.meet(helper, 0.0)
    _, ping = bench.probes.ping(helper)
    opened = bench.theirs[helper].open(ping)
    pong = bench.theirs[helper].pong(OURS, opened.probe, Endpoint(OUTSIDE, 9))
    assert not bench.view.take_pong(bench.probes.open(pong))


def test_who_is_on_our_side_of_the_nat_does_not_count(bench: Bench) -> None:
    """Unless there is nobody else."""
    bench.near = [bench.helpers[0].key]
    bench.ports = [51820, 4444, 4444]
    bench.view.look(now=0.0)
    bench.run(3.0)
    assert bench.view.hint == NatHint(Mapping.ENDPOINT_INDEPENDENT)
    assert bench.view.seen == Endpoint(OUTSIDE, 4444)


def test_a_nat_that_counts_is_asked_where_it_has_got_to(bench: Bench) -> None:
    """Right before others are told; the record keeps what was seen at first."""
    bench.ports = [2000, 2001, 2002]
    bench.view.look(now=0.0)
    bench.run(3.0)
    assert not bench.view.is_counting
    bench.ports = [2050]
    assert bench.view.recount(now=bench.now)
    assert bench.view.recount(now=bench.now)
    assert bench.view.is_counting
    bench.obey()
    assert not bench.view.is_counting
    assert bench.view.latest == NatHint(Mapping.ENDPOINT_DEPENDENT, 2051, 2070)
    assert bench.view.hint == NatHint(Mapping.ENDPOINT_DEPENDENT, 2003, 2022)
    assert bench.sockets.ask(1, OURS)


def test_counting_is_not_waited_for_for_long(bench: Bench) -> None:
    """Without an answer what was known has to do; other NATs are not asked."""
    bench.ports = [2000, 2001, 2002]
    bench.view.look(now=0.0)
    bench.run(3.0)
    assert bench.view.recount(now=bench.now)
    bench.obey()
    bench.run(1.0)
    assert not bench.view.is_counting
    assert bench.view.latest == bench.view.hint
    bench.ports = [7] * 3
    bench.view.look(now=bench.now)
    bench.run(3.0)
    assert not bench.view.recount(now=bench.now)
