"""Links delay, lose, repeat, damage and cut, by the seed and by nothing else."""

from dataclasses import replace
from random import Random

import pytest

from meshnode.codec.wireguard import Initiation
from meshnode.simulation.links import Link, Network, corrupt, damage
from meshnode.simulation.nat import Drop, Nat
from meshnode.simulation.nat_kinds import NatBehaviour
from meshnode.simulation.trace import Flight, Mark
from meshnode.types import Endpoint

A, B = Endpoint("198.18.0.1", 1), Endpoint("198.18.1.1", 1)
B6 = Endpoint("2001:db8::1", 1)


def flight(data=b"x" * 100, *, to=B):
    """Return a datagram from a to b."""
    return Flight("a", "b", data, A, to, 0.0, "a")


def network(seed=1, **link):
    """Return a network whose links are all like this."""
    return Network(Random(seed), Link(**link))


def fates(net, count=1000, **kwargs):
    """Return what becomes of many datagrams."""
    return [
        arrival for _ in range(count) for arrival in net.carry(flight(**kwargs), 5.0)
    ]


def test_a_plain_link_only_delays():
    """By exactly its latency."""
    (arrival,) = network(latency=0.25).carry(flight(), 5.0)
    assert (arrival.at, arrival.mark) == (5.25, Mark.NONE)


def test_jitter_stays_in_its_range():
    """And varies."""
    times = [a.at for a in fates(network(latency=0.1, jitter=0.2))]
    assert 5.1 <= min(times) < 5.11
    assert 5.29 < max(times) < 5.3


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_loss_takes_its_share(share):
    """Within the accuracy of a thousand draws."""
    lost = [a for a in fates(network(loss=share)) if a.at is None]
    assert all(a.mark is Mark.LOST for a in lost)
    assert len(lost) == pytest.approx(1000 * share, abs=60)


def test_duplicates_are_marked():
    """The second copy comes by its own delay."""
    arrivals = network(duplicate=1.0, jitter=0.1).carry(flight(), 0.0)
    assert [a.mark for a in arrivals] == [Mark.NONE, Mark.DUPLICATE]
    assert arrivals[0].at != arrivals[1].at


def test_reordering_overtakes():
    """Some datagrams arrive after those sent later."""
    net = network(reorder=0.5, reorder_delay=1.0)
    times = [net.carry(flight(), sent / 100)[0].at for sent in range(100)]
    assert times != sorted(times)


def test_corruption_loses_the_origin():
    """Damaged bytes are nobody's."""
    for arrival in fates(network(corrupt=1.0), 100):
        assert arrival.mark is Mark.CORRUPT
        assert arrival.flight.origin is None
        assert arrival.flight.data != flight().data


def test_an_initiation_damaged_in_mac2_is_still_one():
    """Nobody looks at mac2 without load, so it keeps its origin."""
    message = Initiation(1, b"e" * 32, b"s" * 48, b"t" * 28).serialise()
    random = Random(7)
    spoilt = [corrupt(flight(message), random) for _ in range(2000)]
    kept = [one for one in spoilt if one.origin == "a"]
    assert kept
    assert all(one.data[:-16] == message[:-16] for one in kept)
    assert all(one.data[:-16] != message[:-16] for one in spoilt if one.origin is None)


def test_damage_always_changes_something():
    """Empty data too."""
    random = Random(3)
    for data in (b"", b"a", b"ab" * 50):
        assert all(damage(data, random) != data for _ in range(200))


@pytest.mark.parametrize(
    ("size", "to", "passes"),
    [(1472, B, True), (1473, B, False), (1452, B6, True), (1453, B6, False)],
)
def test_the_mtu_counts_the_headers(size, to, passes):
    """28 bytes over IPv4, 48 over IPv6; what is longer vanishes."""
    (arrival,) = network(mtu=1500).carry(flight(bytes(size), to=to), 0.0)
    assert (arrival.at is not None) == passes


def test_one_direction_can_be_cut():
    """The other goes on."""
    net = network()
    net.set_link("a", "b", Link(blackhole=True))
    assert net.carry(flight(), 0.0)[0].mark is Mark.UNREACHABLE
    back = Flight("b", "a", b"x", B, A, 0.0, "b")
    assert net.carry(back, 0.0)[0].at is not None
    net.connect("a", "b", Link(blackhole=True))
    assert net.carry(back, 0.0)[0].at is None


def test_a_partition_lets_groups_talk_and_heals():
    """Inside a group, not across, until healed."""
    net = network()
    net.partition("a", "bc")
    assert net.carry(flight(), 0.0)[0].at is None
    net.partition("ab", "c")
    assert net.carry(flight(), 0.0)[0].at is not None
    net.partition("a")
    net.heal(Link(latency=9.0))
    assert net.carry(flight(), 0.0)[0].at == 9.0


def test_a_filter_drops_until_it_ends():
    """Tests decide single fates by it."""
    net = network()
    end = net.drop_if(lambda one: len(one.data) == 100)
    assert net.carry(flight(), 0.0)[0].mark is Mark.DROPPED
    assert net.carry(flight(b"y"), 0.0)[0].at is not None
    end()
    assert net.carry(flight(), 0.0)[0].at is not None


def test_addresses_have_one_owner_at_a_time():
    """They can be taken away."""
    net = network()
    net.give_address(B.host, "b")
    assert net.owner(B) == "b"
    net.take_address(B.host, "b")
    assert net.owner(B) is None


def test_routers_on_the_way_lower_the_ttl():
    """What has no more than they are is lost."""
    net = network(hops=3)
    (arrival,) = net.carry(replace(flight(), ttl=4), 0.0)
    assert arrival.flight.ttl == 1
    assert net.carry(replace(flight(), ttl=3), 0.0)[0].mark is Mark.TTL


def test_realms_have_addresses_of_their_own():
    """A NAT is in the realm that it is behind, its hosts are in its own."""
    net = network()
    net.add_nat("box", Nat(NatBehaviour(), B.host, Random(1)))
    net.settle("a", "box")
    net.give_address(A.host, "a")
    assert (net.owner(A), net.owner(A, "box")) == (None, "a")
    assert (net.owner(B), net.realm("box"), net.realm("a")) == ("box", "", "box")
    # What nobody inside has goes out by the NAT; outside nobody can help.
    assert net.towards(B, "box") == "box"
    assert net.towards(A, "box") == "a"
    assert net.towards(A, "") is None
    net.take_address(A.host, "a")
    assert net.owner(A, "box") is None


def test_a_nat_passes_flights_on_to_the_next_station():
    """With its own address outward, to the inner host inward, or says why not."""
    net = network()
    net.add_nat("box", Nat(NatBehaviour(), B.host, Random(1)))
    net.settle("a", "box")
    net.give_address(A.host, "a")
    far = Endpoint("203.0.113.1", 9)
    net.give_address(far.host, "far")
    sent = Flight("a", "box", b"x", A, far, 0.0, "a")
    passed = net.translate(sent, 1.0)
    outer = Endpoint(B.host, A.port)
    assert passed == replace(
        sent, sender="box", receiver="far", source=outer, ttl=sent.ttl - 1
    )
    back = Flight("far", "box", b"y", far, outer, 1.0, "far")
    assert net.translate(back, 1.1).receiver == "a"
    assert net.translate(replace(back, source=A), 1.1) is Drop.FILTERED
    assert net.translate(replace(sent, destination=outer), 1.1) is Drop.NO_HAIRPIN
    net.take_address(A.host, "a")
    assert net.translate(back, 1.2).receiver == "?"


def test_the_same_seed_gives_the_same_fates():
    """And another seed others."""
    link = {"loss": 0.5, "jitter": 0.1, "corrupt": 0.2}
    assert fates(network(1, **link), 50) == fates(network(1, **link), 50)
    assert fates(network(1, **link), 50) != fates(network(2, **link), 50)
