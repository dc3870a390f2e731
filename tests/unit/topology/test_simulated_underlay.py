"""The simulated underlay: realms, NATs, TTL and what can be done to them."""

import pytest

from meshnode.simulation.nat_kinds import NatKind
from meshnode.simulation.trace import Mark
from meshnode.simulation.world import World
from meshnode.types import Endpoint
from topology.nat_pairs import pair
from topology.processes import LabError
from topology.simulated_underlay import SimulatedUnderlay

PORT = 4000


class Homes:
    """A world of two homes and a hub, where hosts only send and receive."""

    def __init__(self, one=NatKind.FULL_CONE, other=NatKind.PORT_RESTRICTED):
        self.world = World(3)
        self.underlay = SimulatedUnderlay(self.world, pair(one, other))
        self.got = []
        for name in ("hub", "a", "b"):
            host = self.world.build_host(name)
            host.visitors[PORT] = lambda flight, name=name: self.got.append(
                (name, flight.source)
            )
            self.underlay.settle_in(host)

    def send(self, sender, to, *, ttl=64):
        """Send a datagram, wait, and return who got it, from whom."""
        self.got.clear()
        host = self.world.hosts[sender]
        source = Endpoint(host.addresses[4], PORT)
        self.world.transmit(host, b"x", source, to, ttl=ttl)
        self.world.run(0.2)
        return list(self.got)

    def address(self, name):
        """Return the endpoint of a host in its own realm."""
        return Endpoint(self.world.hosts[name].addresses[4], PORT)


def outer(homes, router):
    """Return a NAT's outer endpoint for a port that is kept."""
    return Endpoint(homes.underlay.router(router).outside, PORT)


def test_hosts_meet_through_their_nats():
    """The cone lets in the other, which then is answered."""
    homes = Homes()
    hub, a = homes.address("hub"), outer(homes, "box-a")
    assert homes.send("a", hub) == [("hub", a)]
    assert homes.send("b", a) == [("a", outer(homes, "box-b"))]
    assert homes.send("a", outer(homes, "box-b")) == [("b", a)]
    assert homes.send("hub", outer(homes, "box-b")) == []


def test_a_datagram_takes_the_time_of_its_whole_way():
    """Two legs for the hub's LAN and the home's."""
    homes = Homes()
    start = homes.world.now
    homes.send("a", homes.address("hub"))
    (row,) = [row for row in homes.world.trace.rows if row.receiver == "hub"]
    assert row.at - start == pytest.approx(0.02)
    assert (row.sender, row.mark) == ("box-a", Mark.NONE)


def test_private_addresses_mean_nothing_outside():
    """Nor in another home."""
    homes = Homes()
    assert homes.send("hub", homes.address("a")) == []
    assert homes.send("b", homes.address("a")) == []
    assert homes.world.trace.rows[-1].mark is Mark.NO_SUCH_ADDRESS


def test_ttl_ends_where_the_routers_are():
    """One for the NAT, two for the internet, one for the other NAT."""
    homes = Homes(NatKind.PORT_RESTRICTED, NatKind.FULL_CONE)
    homes.send("b", homes.address("hub"))
    b = outer(homes, "box-b")
    for ttl in (1, 2, 3, 4):
        assert homes.send("a", b, ttl=ttl) == []
    assert homes.send("a", b, ttl=5) == [("b", outer(homes, "box-a"))]
    reasons = {row.mark for row in homes.world.trace.rows if row.receiver}
    assert {Mark.TTL, Mark.REFUSED} <= reasons
    assert homes.world.trace.notes("box-a", "drops: its TTL ran out")


def test_rebinding_forgets():
    """What came in does no more."""
    homes = Homes()
    homes.send("a", homes.address("hub"))
    assert homes.send("hub", outer(homes, "box-a"))
    homes.underlay.router("box-a").rebind()
    assert homes.send("hub", outer(homes, "box-a")) == []


def test_blackholes_are_one_way_cuts_both():
    """Either heals."""
    homes = Homes()
    homes.send("a", homes.address("hub"))
    homes.underlay.blackhole("hub", "box-a")
    assert homes.send("hub", outer(homes, "box-a")) == []
    assert homes.send("a", homes.address("hub"))
    homes.underlay.heal("box-a", other="hub")
    assert homes.send("hub", outer(homes, "box-a"))
    homes.underlay.cut("box-a", lan="internet")
    assert homes.send("a", homes.address("hub")) == []
    homes.underlay.heal("box-a", lan="internet")
    assert homes.send("a", homes.address("hub"))


def test_reaching_asks_for_the_way_out():
    """One reaches a server from behind a NAT, never a host behind one."""
    homes = Homes()
    reaches = homes.underlay.is_reachable
    assert reaches("a", "hub")
    assert not reaches("hub", "a")
    assert not reaches("a", "b")
    homes.underlay.cut("a", other="box-a")
    assert not reaches("a", "hub")


def test_an_open_router_is_no_station():
    """Its hosts have public addresses, one router further away."""
    homes = Homes(NatKind.OPEN, NatKind.BLOCKED)
    assert homes.send("hub", homes.address("a")) == [("a", homes.address("hub"))]
    assert homes.send("hub", homes.address("a"), ttl=3) == []
    assert homes.send("b", homes.address("hub")) == []
    with pytest.raises(LabError, match="box-a has no NAT"):
        homes.underlay.router("box-a")


def test_runs_of_one_seed_are_the_same():
    """The NATs' ports too."""

    def digest():
        homes = Homes(NatKind.SYMMETRIC, NatKind.SYMMETRIC_BLOCK)
        for name in ("a", "b"):
            homes.send(name, homes.address("hub"))
        return homes.world.trace.digest

    assert digest() == digest()
