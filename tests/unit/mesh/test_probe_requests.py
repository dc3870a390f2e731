"""Probes that a member asks for."""

import random

import pytest

from meshnode.codec.messages import ProbeMe, ProbeThem
from meshnode.mesh.probe_requests import BURST, ProbeRequests
from meshnode.mesh.probes import Probes
from meshnode.types import Datagram, Endpoint
from tests.unit.mesh.issuing_parts import FakeTunnels

KEY, SERVER, STRANGER = (bytes([n]) * 32 for n in (1, 2, 3))
HOME, TO = Endpoint("203.0.113.1", 9), Endpoint("203.0.113.1", 4444)


class Bench:
    """Requests, and what came of them."""

    def __init__(self, rng: random.Random) -> None:
        self.tunnels = FakeTunnels()
        self.tunnels.paths[KEY] = HOME
        self.asker = Probes(rng.randbytes)
        self.sent: list[Datagram] = []
        ours = Probes(rng.randbytes)
        self.asker.know(SERVER, ours.key)
        self.requests = ProbeRequests(
            tunnels=self.tunnels,
            probes=ours,
            send=lambda datagram, now: self.sent.append(datagram),
            is_member=lambda key: key in (KEY, SERVER),
            serves=lambda key: key == SERVER,
        )


@pytest.fixture
def bench(rng: random.Random) -> Bench:
    """Requests of a member at HOME."""
    return Bench(rng)


def test_a_member_is_probed_at_its_own_address(bench: Bench) -> None:
    """It can open what comes."""
    bench.requests.receive_me(KEY, ProbeMe(bench.asker.key, TO), now=0.0)
    [datagram] = bench.sent
    assert datagram.path.remote == TO
    assert bench.asker.open(datagram.data).key == SERVER


@pytest.mark.parametrize("to", [Endpoint("192.0.2.1", 9), Endpoint("2001:db8::1", 9)])
def test_nobody_else_is(bench: Bench, to: Endpoint) -> None:
    """Nor who is reached nowhere that we know."""
    bench.requests.receive_me(KEY, ProbeMe(bench.asker.key, to), now=0.0)
    bench.requests.receive_me(SERVER, ProbeMe(bench.asker.key, TO), now=0.0)
    assert bench.sent == []


def test_another_member_is_asked_to(bench: Bench) -> None:
    """If it is one, and another."""
    key = bench.asker.key
    for by in (SERVER, STRANGER, KEY):
        bench.requests.receive_me(KEY, ProbeMe(key, TO, by), now=0.0)
    assert bench.tunnels.sent == [(SERVER, ProbeThem(KEY, key, TO))]
    assert bench.sent == []


def test_only_who_serves_may_ask_for_others(bench: Bench) -> None:
    """And only for members."""
    message = ProbeThem(KEY, bench.asker.key, TO)
    bench.requests.receive_them(KEY, message, now=0.0)
    stranger = ProbeThem(STRANGER, bench.asker.key, TO)
    bench.requests.receive_them(SERVER, stranger, now=0.0)
    assert bench.sent == []
    bench.requests.receive_them(SERVER, message, now=0.0)
    assert [datagram.path.remote for datagram in bench.sent] == [TO]


def test_there_is_a_limit(bench: Bench) -> None:
    """For each member."""
    for _ in range(100):
        bench.requests.receive_me(KEY, ProbeMe(bench.asker.key, TO), now=0.0)
    assert len(bench.sent) == BURST
