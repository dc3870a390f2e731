"""Counting the hops to beyond our own NATs."""

import random

import pytest

from meshnode.mesh.hop_calibration import FALLBACK, MOST, HopCalibration
from meshnode.mesh.nat_view import Helper
from meshnode.mesh.probes import Opened, Probes
from meshnode.mesh.punch_sockets import CloseSockets, OpenSockets, SearchSockets
from meshnode.types import Datagram, Endpoint, Path, Source

OURS, ONE, OTHER = (bytes([n]) * 32 for n in (9, 1, 2))
OUTER = Endpoint("203.0.113.1", 4444)
PORT = 50000


class Bench:
    """A host behind *nats* NATs that let in whom it has sent to, and two helpers."""

    def __init__(self, rng: random.Random, nats: int, count: int = 2) -> None:
        self.nats = nats
        self.is_open = False
        self.asks = 0
        self.pongs: list[bytes] = []
        self.sockets = SearchSockets()
        self.ours = Probes(rng.randbytes)
        self.theirs = {key: Probes(rng.randbytes) for key in (ONE, OTHER)}
        for key, probes in self.theirs.items():
            probes.know(OURS, self.ours.key)
            self.ours.know(key, probes.key)
        helpers = (
            Helper(ONE, Endpoint("192.0.2.1", 1)),
            Helper(OTHER, Endpoint("192.0.2.2", 1)),
        )
        self.hops = HopCalibration(
            probes=self.ours,
            sockets=self.sockets,
            send=self.send,
            helpers=lambda: helpers[:count],
            ask=self.ask,
        )

    def send(self, datagram: Datagram, now: float) -> None:
        """Open the NATs to the second helper, or be answered by the first."""
        if datagram.path.remote.host == "192.0.2.2":
            self.is_open |= datagram.hops > self.nats
            return
        ping = self.theirs[ONE].open(datagram.data)
        self.pongs.append(self.theirs[ONE].pong(OURS, ping.probe, OUTER))

    def ask(self, key: bytes, to: Endpoint, by: bytes, now: float) -> None:
        """Send the probe, which arrives if the NATs are open."""
        self.asks += 1
        assert (key, to, by) == (ONE, OUTER, OTHER)
        _, ping = self.theirs[OTHER].ping(OURS)
        opened = self.ours.open(ping)
        if self.is_open or not self.nats:
            self.arrive(opened, now)

    def arrive(self, opened: Opened, now: float) -> None:
        """Bring a probe to the socket."""
        path = Path(Endpoint("192.0.2.2", 1), Source("10.0.0.2", 0, PORT))
        self.hops.take_ping(opened, path, now=now)

    def run(self) -> None:
        """Count to the end."""
        self.hops.begin(now=0.0)
        if OpenSockets(1) in self.sockets.take_orders():
            assert self.hops.sockets_opened((PORT,), now=0.0)
        for pong in self.pongs:
            assert self.hops.take_pong(self.ours.open(pong))
        while deadline := self.hops.next_deadline():
            self.hops.handle_deadline(now=deadline.at)


@pytest.mark.parametrize("nats", [1, 2, 3])
def test_the_hops_are_one_more_than_our_nats(rng: random.Random, nats: int) -> None:
    """No more: an opener must not arrive."""
    bench = Bench(rng, nats)
    bench.run()
    assert bench.hops.hops == nats + 1
    assert bench.sockets.take_orders() == [CloseSockets()]


def test_who_lets_all_in_needs_no_opener(rng: random.Random) -> None:
    """The first probe arrives before anything was sent."""
    bench = Bench(rng, 0)
    bench.run()
    assert bench.asks == 1
    assert bench.hops.hops == FALLBACK


def test_without_a_second_helper_nothing_is_counted(rng: random.Random) -> None:
    """No socket is opened for it."""
    bench = Bench(rng, 2, count=1)
    bench.run()
    assert bench.hops.hops == FALLBACK
    assert bench.sockets.take_orders() == []


def test_it_is_given_up(rng: random.Random) -> None:
    """If no probe arrives with the most hops, or nobody answers."""
    bench = Bench(rng, 99)
    bench.run()
    assert bench.asks == MOST + 1
    assert bench.hops.hops == FALLBACK
    assert bench.sockets.user is None
    bench.hops.begin(now=0.0)
    assert bench.hops.sockets_opened((), now=0.0)
    bench.hops.handle_deadline(now=10.0)
    assert bench.hops.next_deadline() is None
    assert not bench.hops.sockets_opened((1,), now=0.0)
