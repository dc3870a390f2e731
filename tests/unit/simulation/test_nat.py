"""What a NAT lets pass, moment by moment; tests/e2e/test_nats.py asks each kind."""

from dataclasses import replace
from random import Random

import pytest

from meshnode.simulation.nat import Drop, Nat, Packet
from meshnode.simulation.nat_kinds import Allocation, NatBehaviour, Scope
from meshnode.types import Endpoint

OUTSIDE = "203.0.113.9"
DESK, SOFA = Endpoint("192.168.1.2", 4000), Endpoint("192.168.1.3", 4000)
ONE, TWO = Endpoint("198.51.100.1", 7001), Endpoint("198.51.100.2", 7001)
CONE = NatBehaviour(expiry=10.0)


def nat(behaviour=CONE, **changes):
    """Return a NAT that behaves like *behaviour*, but for *changes*."""
    return Nat(replace(behaviour, **changes), OUTSIDE, Random(1))


def out(box, source=DESK, to=ONE, *, now=0.0, ttl=64):
    """Send from inside."""
    return box.outbound(Packet(source, to, b"x", ttl), now=now)


def into(box, to, source=ONE, *, now=0.0, ttl=64):
    """Send from outside."""
    return box.inbound(Packet(source, to, b"x", ttl), now=now)


def test_there_and_back():
    """Only the inner endpoint is rewritten, and each way costs one of the TTL."""
    box = nat()
    sent = out(box)
    assert sent == Packet(Endpoint(OUTSIDE, 4000), ONE, b"x", 63)
    assert into(box, sent.source) == Packet(ONE, DESK, b"x", 63)
    assert list(box.mappings(0.0)) == [(DESK, 4000)]


def test_a_ttl_of_one_ends_here_and_maps_nothing():
    """Inward it must not be spent either."""
    box = nat()
    assert out(box, ttl=1) is Drop.TTL
    assert into(box, Endpoint(OUTSIDE, 4000)) is Drop.NO_MAPPING
    sent = out(box, ttl=2)
    assert sent.ttl == 1
    assert into(box, sent.source, ttl=1) is Drop.TTL


def test_a_mapping_ends_when_it_was_idle_for_its_time():
    """To the moment."""
    box = nat()
    outer = out(box).source
    assert into(box, outer, now=9.5) == Packet(ONE, DESK, b"x", 63)
    assert into(box, outer, now=19.5) is Drop.NO_MAPPING
    assert list(box.mappings(19.5)) == []


@pytest.mark.parametrize("refreshed", [True, False])
def test_what_comes_in_keeps_a_mapping_only_where_it_may(refreshed):
    """RFC 4787, REQ-6: inbound refresh may be left out, as it lets others keep it."""
    box = nat(refreshed_by_inbound=refreshed)
    outer = out(box).source
    assert not isinstance(into(box, outer, now=9.0), Drop)
    assert isinstance(into(box, outer, now=11.0), Drop) != refreshed


def test_filters_forget_one_peer_while_the_mapping_lives():
    """Each has a time of its own."""
    box = nat()
    outer = out(box, to=ONE).source
    assert out(box, to=TWO, now=8.0).source == outer
    assert into(box, outer, ONE, now=12.0) is Drop.FILTERED
    assert into(box, outer, TWO, now=12.0).destination == DESK


def test_sweeping_changes_nothing_but_memory():
    """What is alive is kept, with its peers."""
    box = nat()
    for second in range(0, 100, 2):
        remote = Endpoint("198.51.100.7", 1000 + second)
        outer = out(box, to=remote, now=float(second)).source
        assert into(box, outer, remote, now=second + 1.0).destination == DESK
    assert outer.port == 4000
    assert list(box.mappings(100.0)) == [(DESK, 4000)]
    assert list(box.mappings(200.0)) == []


def test_a_preserving_nat_gives_the_neighbour_another_port():
    """For all peers, even where it would not be needed."""
    box = nat(allocation=Allocation.PRESERVING)
    assert out(box, DESK, ONE).source.port == 4000
    other = out(box, SOFA, TWO).source.port
    assert other != 4000
    assert out(box, SOFA, ONE).source.port == other


def test_an_overloading_nat_lets_both_have_it():
    """Until they speak to the same peer; answers go to whom they are for."""
    box = nat()
    outer = out(box, DESK, ONE).source
    assert out(box, SOFA, TWO).source == outer
    assert into(box, outer, ONE).destination == DESK
    assert into(box, outer, TWO).destination == SOFA
    assert out(box, SOFA, ONE).source != outer


def test_poison_moves_the_answer_and_heals_by_silence():
    """Each further datagram of the peer renews it, so trying again does not help."""
    box = nat(poisonable=True)
    outer = Endpoint(OUTSIDE, 4000)
    assert into(box, outer, TWO, ttl=1) is Drop.NO_MAPPING  # it ends here: it counts
    assert out(box, to=ONE).source == outer
    moved = out(box, to=TWO).source
    assert moved != outer
    for second in range(1, 30):
        assert into(box, outer, TWO, now=float(second)) is Drop.POISONED
        assert out(box, to=TWO, now=float(second)).source == moved
        assert out(box, to=ONE, now=float(second)).source == outer  # it was there
    assert out(box, to=TWO, now=50.0).source == outer


def test_a_poisoned_flow_stays_out_of_a_full_cone():
    """Its first packet was for the router, so all are."""
    box = nat(filtering=Scope.ENDPOINT_INDEPENDENT, poisonable=True)
    assert into(box, Endpoint(OUTSIDE, 4000), TWO) is Drop.NO_MAPPING
    outer = out(box, to=ONE).source
    assert into(box, outer, TWO) is Drop.POISONED
    assert into(box, outer, Endpoint(TWO.host, 9)).destination == DESK


def test_hairpins_show_the_outer_endpoint_and_are_filtered():
    """RFC 4787, REQ-9: external source address and port."""
    keeping = {"allocation": Allocation.PRESERVING, "hairpin": True}
    cone = nat(filtering=Scope.ENDPOINT_INDEPENDENT, **keeping)
    outer = out(cone).source
    turned = cone.hairpin(Packet(SOFA, outer, b"x"), now=0.0)
    assert turned.destination == DESK
    assert turned.source.host == OUTSIDE
    assert turned.ttl == 63
    assert cone.hairpin(Packet(SOFA, outer, b"x", 1), now=0.0) is Drop.TTL
    strict = nat(**keeping)
    outer = out(strict).source
    assert strict.hairpin(Packet(SOFA, outer, b"x"), now=0.0) is Drop.FILTERED
    assert nat().hairpin(Packet(SOFA, outer, b"x"), now=0.0) is Drop.NO_HAIRPIN


def test_blocked_means_both_ways():
    """And the way back in too."""
    box = nat(blocks_udp=True, hairpin=True)
    outer = Endpoint(OUTSIDE, 4000)
    assert out(box) is Drop.BLOCKED
    assert into(box, outer) is Drop.BLOCKED
    assert box.hairpin(Packet(SOFA, outer, b"x"), now=0.0) is Drop.BLOCKED


def test_no_port_is_left_when_all_of_a_block_are_used():
    """Until one expires."""
    box = nat(
        mapping=Scope.ADDRESS_AND_PORT_DEPENDENT,
        allocation=Allocation.RANDOM,
        block=4,
    )
    for port in range(4):
        out(box, to=Endpoint(ONE.host, port + 1))
    assert out(box, to=TWO) is Drop.NO_PORT
    assert not isinstance(out(box, to=TWO, now=10.0), Drop)


def test_rebinding_forgets_mappings_and_poison():
    """As if it had been switched on anew."""
    box = nat(poisonable=True)
    outer = out(box).source
    into(box, outer, TWO)
    box.rebind()
    assert list(box.mappings(0.0)) == []
    assert out(box, to=TWO).source == outer
