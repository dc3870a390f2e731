"""Pings and their answers."""

import random

import pytest

from meshnode.codec.probes import Probe, ProbeKind
from meshnode.mesh.probes import Probes
from meshnode.mesh.punch_pings import MAX_OUTSTANDING, PunchPings
from meshnode.types import Datagram, Endpoint, Path, Source

KEY = b"k" * 32
THERE = Endpoint("192.0.2.1", 1)


@pytest.fixture(name="sent")
def _sent() -> list[Datagram]:
    return []


@pytest.fixture(name="pings")
def _pings(rng: random.Random, sent: list[Datagram]) -> PunchPings:
    probes = Probes(rng.randbytes)
    probes.know(KEY, Probes(rng.randbytes).key)
    return PunchPings(probes, lambda datagram, now: sent.append(datagram))


def pong(number: int) -> Probe:
    """Return the answer to the ping with that number."""
    return Probe(ProbeKind.PONG, number, THERE)


def test_an_answer_counts_once_and_by_the_path_of_its_ping(
    pings: PunchPings, sent: list[Datagram]
) -> None:
    """A search tells its sockets apart by their ports."""
    by_socket = Path(THERE, Source("0.0.0.0", 0, 40_000))
    pings.ping(KEY, Path(THERE), hops=3, now=1.0)
    pings.ping(KEY, by_socket, hops=0, now=2.0)
    assert [(one.path, one.hops) for one in sent] == [(Path(THERE), 3), (by_socket, 0)]
    assert (Path(THERE).port, by_socket.port) == (0, 40_000)
    came_by = Path(THERE, Source("192.168.1.2"))
    assert pings.answered(KEY, pong(1), came_by) == 1.0
    assert pings.answered(KEY, pong(1), came_by) is None
    assert pings.answered(KEY, pong(2), came_by) is None
    assert pings.answered(KEY, pong(9), came_by) is None


def test_the_oldest_is_given_up(pings: PunchPings) -> None:
    """So nobody fills our memory by not answering."""
    for _ in range(MAX_OUTSTANDING + 1):
        pings.ping(KEY, Path(THERE), hops=0, now=1.0)
    assert pings.answered(KEY, pong(1), Path(THERE)) is None
    assert pings.answered(KEY, pong(2), Path(THERE)) == 1.0
