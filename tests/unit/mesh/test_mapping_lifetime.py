"""How long mappings live, and whether the NAT sends back in what is for itself."""

import math
import random
from collections import Counter

import pytest

from meshnode.mesh.mapping_lifetime import (
    AGAIN,
    EVERY,
    SETTLE,
    SHORTEST,
    UNABLE,
    USUAL,
    MappingLifetime,
)
from meshnode.mesh.nat_view import Helper
from meshnode.mesh.probes import Probes
from meshnode.mesh.punch_sockets import OpenSockets, SearchSockets
from meshnode.types import Datagram, Endpoint, Path, Source

OURS, ONE, OTHER = (bytes([n]) * 32 for n in (9, 1, 2))
HELPER = Endpoint("192.0.2.1", 1)
STRANGER = Endpoint("198.51.100.2", 51820)
PLACE = Endpoint("203.0.113.1", 4444)
MEASURED = 2000.0
"""Seconds in which everything is known."""


class Bench:
    """A host behind a NAT whose mappings live `expiry` seconds, and one helper.

    `losses` are how many of the datagrams and questions to come get lost, `delivers`
    whether what is asked for arrives at all.
    """

    def __init__(
        self, rng: random.Random, expiry: float, *, hairpins: bool = False
    ) -> None:
        self.expiry, self.hairpins = expiry, hairpins
        self.now = 0.0
        self.losses: list[str] = []
        self.delivers = True
        self.place: Endpoint | None = PLACE
        self.outside = PLACE.host
        self.helpers = [Helper(ONE, HELPER)]
        self.sockets = SearchSockets()
        self.sent = Counter[str]()
        self.ours, self.theirs = Probes(rng.randbytes), Probes(rng.randbytes)
        self.ours.know(ONE, self.theirs.key)
        self.theirs.know(OURS, self.ours.key)
        self.lets_in = False
        self.stranger = Probes(rng.randbytes)
        self.ours.know(OTHER, self.stranger.key)
        self.stranger.know(OURS, self.ours.key)
        self.ports = iter(range(50_000, 60_000))
        self.used: dict[int, float] = {}
        self.life = MappingLifetime(
            probes=self.ours,
            sockets=self.sockets,
            send=self.send,
            helpers=lambda: tuple(self.helpers),
            ask=self.ask,
            place=lambda: self.place,
        )

    def is_lost(self, what: str) -> bool:
        """Count what is sent, and lose it if it is its turn."""
        self.sent[what] += 1
        if self.losses and self.losses[0] == what:
            del self.losses[0]
            return True
        return False

    def send(self, datagram: Datagram, now: float) -> None:
        """Answer a ping; turn round what is for the NAT itself."""
        source = datagram.path.source
        assert source is not None
        if datagram.path.remote.host == self.outside:
            if not self.is_lost("echo") and self.hairpins:
                assert self.life.take_echo(datagram.data)
            return
        if self.is_lost("ping"):
            return
        self.used[source.port] = now
        ping = self.theirs.open(datagram.data)
        outer = Endpoint(self.outside, source.port)
        pong = self.theirs.pong(OURS, ping.probe, outer)
        assert self.life.take_pong(self.ours.open(pong), now=now)

    def ask(self, key: bytes, to: Endpoint, now: float) -> None:
        """Send a probe, which arrives if the mapping lives."""
        if key == OTHER:
            if not self.is_lost("stranger") and self.lets_in:
                _, ping = self.stranger.ping(OURS)
                path = Path(STRANGER, Source("10.0.0.2", 0, to.port))
                assert self.life.take_ping(self.ours.open(ping), path, now=now)
            return
        assert key == ONE
        is_alive = self.delivers and now - self.used[to.port] < self.expiry
        if self.is_lost("ask") or not is_alive:
            return
        _, ping = self.theirs.ping(OURS)
        path = Path(HELPER, Source("10.0.0.2", 0, to.port))
        assert self.life.take_ping(self.ours.open(ping), path, now=now)

    def run(self, seconds: float = MEASURED) -> None:
        """Let time pass."""
        end = self.now + seconds
        while (deadline := self.life.next_deadline()) and deadline.at <= end:
            self.now = deadline.at
            self.life.handle_deadline(now=self.now)
            self.obey()
        self.now = end

    def obey(self) -> None:
        """Open the sockets that are asked for."""
        for order in self.sockets.take_orders():
            if isinstance(order, OpenSockets):
                ports = tuple(next(self.ports) for _ in range(order.count))
                assert self.life.sockets_opened(ports, now=self.now)


@pytest.mark.parametrize(
    ("expiry", "lived", "died", "keepalive"),
    [
        (5.0, 0.0, 13.0, SHORTEST),
        (15.0, 13.0, 18.0, 12),
        (20.0, 18.0, 28.0, 16),
        (30.0, 28.0, 55.0, 25),
        (60.0, 55.0, 110.0, 49),
        (120.0, 110.0, None, 85),
        (math.inf, 110.0, None, 85),
    ],
)
def test_keepalives_follow_what_was_proven(
    rng: random.Random, expiry: float, lived: float, died: float | None, keepalive: int
) -> None:
    """Never longer than that, but for the least of all; and few datagrams tell it."""
    bench = Bench(rng, expiry)
    assert bench.life.keepalive == USUAL
    bench.life.follow(now=0.0)
    bench.run()
    assert (bench.life.lived, bench.life.died) == (lived, died)
    assert bench.life.keepalive == keepalive
    assert bench.sent.total() <= 22
    assert bench.sockets.user is None


@pytest.mark.parametrize("lets_in", [True, False])
@pytest.mark.parametrize("losses", [[], ["stranger"], ["ask"]])
def test_a_nat_that_lets_anybody_in_is_found(
    rng: random.Random, *, lets_in: bool, losses: list[str]
) -> None:
    """By a member that was sent nothing; alone a helper cannot tell."""
    alone = Bench(rng, 30.0)
    alone.life.follow(now=0.0)
    alone.run()
    assert alone.life.lets_in is None
    bench = Bench(rng, 30.0)
    bench.helpers.append(Helper(OTHER, STRANGER))
    bench.lets_in, bench.losses = lets_in, list(losses)
    bench.life.follow(now=0.0)
    bench.run()
    assert bench.life.lets_in is lets_in
    assert bench.life.keepalive == alone.life.keepalive


@pytest.mark.parametrize("hairpins", [True, False])
@pytest.mark.parametrize("losses", [[], ["echo"], ["ask"]])
def test_a_nat_that_hairpins_is_found(
    rng: random.Random, *, hairpins: bool, losses: list[str]
) -> None:
    """One lost datagram does not hide it."""
    bench = Bench(rng, 30.0, hairpins=hairpins)
    bench.losses = list(losses)
    bench.life.follow(now=0.0)
    assert bench.life.hairpin is None
    bench.run()
    assert bench.life.hairpin is hairpins
    assert not bench.life.take_echo(b"x" * 116)
    assert not bench.life.take_echo(b"")


@pytest.mark.parametrize(
    "losses",
    [
        ["ask"],
        ["ask", "ask", "ask"],
        ["ping", "ask", "ping"],
        # The whole of one try: it is not believed.
        ["ask", "ask"],
    ],
)
def test_a_loss_is_no_dead_mapping(rng: random.Random, losses: list[str]) -> None:
    """A failure counts if it happens twice."""
    bench = Bench(rng, 30.0)
    bench.life.follow(now=0.0)
    bench.run(SETTLE + 5.0)  # beyond the try without silence
    bench.losses = list(losses)
    bench.run()
    assert bench.losses == []
    assert (bench.life.lived, bench.life.died) == (28.0, 55.0)


def test_where_no_probe_arrives_nothing_is_said(rng: random.Random) -> None:
    """The usual keepalive stays, and it is tried again in an hour."""
    bench = Bench(rng, 60.0)
    bench.delivers = False
    bench.life.follow(now=0.0)
    bench.run(UNABLE)
    assert (bench.life.lived, bench.life.died) == (0.0, None)
    assert (bench.life.keepalive, bench.life.hairpin) == (USUAL, None)
    assert bench.sent == {"ping": 1, "ask": 2, "echo": 2}
    bench.delivers = True
    bench.run(UNABLE)
    assert bench.life.lived == 55.0


def test_without_a_nat_nothing_is_sent(rng: random.Random) -> None:
    """Nor before it is known; nobody is woken for it."""
    bench = Bench(rng, 60.0)
    bench.place = None
    bench.life.look(now=0.0)
    bench.run()
    assert bench.life.next_deadline() is None
    assert bench.sent.total() == 0
    assert bench.life.keepalive == USUAL


def test_another_nat_is_measured_anew(rng: random.Random) -> None:
    """With the usual keepalive meanwhile; the same one is not."""
    bench = Bench(rng, 120.0)
    bench.life.follow(now=0.0)
    bench.run()
    asked = bench.sent.total()
    bench.life.follow(now=bench.now)
    bench.run()
    assert (bench.sent.total(), bench.life.keepalive) == (asked, 85)
    bench.place, bench.expiry = Endpoint(PLACE.host, 5555), 20.0
    bench.life.follow(now=bench.now)
    assert (bench.life.keepalive, bench.life.hairpin) == (USUAL, None)
    bench.run()
    assert bench.life.keepalive == 16


def test_it_is_measured_once_a_day(rng: random.Random) -> None:
    """Keepalives are no longer meanwhile than was proven before."""
    bench = Bench(rng, 20.0)
    bench.life.follow(now=0.0)
    bench.run()
    asked = bench.sent.total()
    bench.run(EVERY - MEASURED)
    assert bench.sent.total() == asked
    longest = 0
    for _ in range(40):
        bench.run(10.0)
        longest = max(longest, bench.life.keepalive)
    assert longest == 16
    bench.run()
    assert bench.sent.total() == 2 * asked


def test_others_search_during_the_silence(rng: random.Random) -> None:
    """Their sockets are closed without ours, and ours without theirs."""
    bench = Bench(rng, 120.0)
    bench.life.follow(now=0.0)
    bench.run(SETTLE + 10.0)
    assert bench.sockets.user is None
    assert bench.sockets.ask(64, OTHER)
    bench.sockets.take_orders()
    bench.sockets.choose(OTHER, 0)
    (closing,) = bench.sockets.take_orders()
    assert closing == type(closing)(aside=50_001)
    assert bench.sockets.ask(64, OTHER)
    bench.sockets.take_orders()
    bench.run()  # a search that does not end
    assert bench.life.lived == 28.0
    assert bench.sockets.user == OTHER
    assert bench.sockets.take_orders() == []
    bench.sockets.choose(OTHER, 0)
    assert bench.sockets.take_orders() == [type(closing)()]
    bench.run()
    assert bench.life.lived == 110.0


def test_it_waits_for_somebody_to_ask(rng: random.Random) -> None:
    """And for sockets, and for an answer from where our NAT is."""
    bench = Bench(rng, 60.0)
    helper = bench.helpers.pop()
    bench.life.follow(now=0.0)
    bench.run()
    assert bench.sent.total() == 0
    bench.helpers = [helper]
    bench.outside = "203.0.113.2"
    bench.run(2 * AGAIN)
    assert bench.sent.keys() == {"ping"}
    bench.outside = PLACE.host
    bench.life.look(now=bench.now)
    bench.run(SETTLE - 1.0)
    bench.life.handle_deadline(now=bench.now + 1.0)
    assert bench.life.sockets_opened((), now=bench.now)
    assert bench.sockets.user is None
    assert not bench.life.sockets_opened((7,), now=bench.now)
    bench.sockets.take_orders()
    bench.run()
    assert bench.life.lived == 55.0


def test_only_the_helper_is_believed(rng: random.Random) -> None:
    """Others' probes to the socket are taken, and say nothing."""
    bench = Bench(rng, 5.0)
    bench.life.follow(now=0.0)
    bench.run(SETTLE + 10.0)
    stranger = Probes(rng.randbytes)
    stranger.know(OURS, bench.ours.key)
    bench.ours.know(OTHER, stranger.key)
    _, ping = stranger.ping(OURS)
    opened = bench.ours.open(ping)
    elsewhere = Path(HELPER, Source("10.0.0.2", 0, 51820))
    assert not bench.life.take_ping(opened, elsewhere, now=bench.now)
    assert not bench.life.take_ping(opened, Path(HELPER), now=bench.now)
    here = Path(HELPER, Source("10.0.0.2", 0, 50_001))
    assert bench.life.take_ping(opened, here, now=bench.now)
    pong = stranger.pong(OURS, opened.probe, PLACE)
    assert not bench.life.take_pong(bench.ours.open(pong), now=bench.now)
    bench.run()
    assert bench.life.lived == 0.0
