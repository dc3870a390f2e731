"""TLS between simulated hosts: who is connected, when, and what passes."""

import pytest

from meshnode.simulation.detours import LOOPBACK, TlsDetours
from meshnode.simulation.grid_world import ONE_WAY
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_world import MeshWorld
from meshnode.types import Endpoint, Path


class _Told:
    """What a node was told of its detours."""

    def __init__(self, world):
        self.moments = []
        self._world = world

    def __call__(self, key, endpoint):
        self.moments.append((self._world.now, key, endpoint))


@pytest.fixture
def world():
    """A founder, and a host that is no member: its node does not interfere."""
    made = MeshWorld(1, link=Link(latency=ONE_WAY))
    made.found("r")
    made.build_host("a")
    return made


def test_who_is_wanted_is_connected_after_three_round_trips(world):
    """Behind a port of the loopback address; afterwards datagrams pass."""
    told, key = _Told(world), world.homes["r"].key
    detours = TlsDetours(world.hosts["a"], told)
    detours.follow({key: (world.hosts["r"].addresses[4],)})
    began = world.now
    world.run(1.0)
    ((at, who, endpoint),) = told.moments
    assert (who, endpoint.host) == (key, LOOPBACK)
    assert at - began == pytest.approx(6 * ONE_WAY)
    assert detours.dialled == {key}
    arrived = []
    world.hosts["r"].receive = arrived.append
    world.hosts["a"].send(b"hello", Path(endpoint))
    world.hosts["a"].send(b"world", Path(endpoint))
    world.run(1.0)
    assert [flight.data for flight in arrived] == [b"hello", b"world"]
    assert {flight.source.host for flight in arrived} == {LOOPBACK}


def test_the_wrong_member_is_not_taken(world):
    """The proof fails, or nobody answers: after a while the node is told."""
    told = _Told(world)
    detours = TlsDetours(world.hosts["a"], told)
    detours.follow({b"k" * 32: (world.hosts["r"].addresses[4], "192.0.2.1")})
    world.run(2.0)
    assert [moment[1:] for moment in told.moments] == [(b"k" * 32, None)]
    assert detours.dialled == set()


def test_a_partition_cuts_tls_too(world):
    """What is on its way goes nowhere, and nobody is connected anew."""
    told, key = _Told(world), world.homes["r"].key
    detours = TlsDetours(world.hosts["a"], told)
    detours.follow({key: (world.hosts["r"].addresses[4],)})
    world.run(1.0)
    arrived = []
    world.hosts["r"].receive = arrived.append
    world.network.partition(["a"], ["r"])
    world.hosts["a"].send(b"hello", Path(told.moments[0][2]))
    world.run(1.0)
    assert arrived == []
    detours.follow({})
    detours.follow({key: (world.hosts["r"].addresses[4],)})
    world.run(2.0)
    assert told.moments[-1][2] is None


def test_who_is_not_wanted_any_more_is_hung_up_on(world):
    """What is sent there then goes nowhere."""
    told, key = _Told(world), world.homes["r"].key
    detours = TlsDetours(world.hosts["a"], told)
    detours.follow({key: (world.hosts["r"].addresses[4],)})
    world.run(1.0)
    endpoint = told.moments[0][2]
    detours.follow({})
    world.run(1.0)
    assert told.moments[-1][1:] == (key, None)
    arrived = []
    world.hosts["r"].receive = arrived.append
    world.hosts["a"].send(b"hello", Path(Endpoint(LOOPBACK, endpoint.port)))
    world.run(1.0)
    assert arrived == []
