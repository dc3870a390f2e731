"""The world of gossiping nodes: mailboxes, time, trouble."""

import random

import pytest

from meshnode.codec.messages import Ping
from meshnode.simulation.gossip import (
    INITIATOR_BYTES,
    GossipWorld,
    copied,
    steady,
    troubled,
)


def test_a_populated_world_is_of_one_mind() -> None:
    """Everybody knows everybody, those that run nothing too."""
    world = GossipWorld(1)
    nodes = world.populate(4, stock=2)
    assert len(nodes) == 4
    assert {len(node.membership) for node in nodes} == {6}
    assert len(world.roots()) == 1
    assert all(len(node.neighbours.chosen) == 0 for node in nodes)
    world.run(5.0)
    assert all(len(node.neighbours.chosen) == 3 for node in nodes)


def test_a_copy_shares_what_is_in_it_but_not_itself() -> None:
    """A change of one set is none of the other."""
    world = GossipWorld(1)
    one, other = world.populate(2)
    root = other.records.tree.root
    one.publish(world.population.word(world.people[one.key]))
    assert one.records.tree.root != root
    assert other.records.tree.root == root
    assert list(copied(one.records)) == list(one.records)


def test_messages_arrive_later_and_are_counted_when_sent() -> None:
    """As whole IP packets: a ping is 14 bytes in a frame, so 32 in a packet of 92.

    The first to somebody counts with the handshake that it needs.
    """
    world = GossipWorld(1)
    one, other = world.populate(2)
    for handshake in (INITIATOR_BYTES, 0):
        began = one.meter.bytes
        one.send(other.key, Ping(bytes(8)), now=0.0)
        assert one.meter.bytes - began == handshake + 16 + 60
    assert not world.run_until(lambda: False, within=0.009)
    steps = []
    world.on_step = lambda node: steps.append((node.key, world.now))
    world.run(0.2)
    assert other.key in [key for key, _ in steps]
    assert world.now == pytest.approx(0.209)


def test_a_partition_stops_what_is_under_way_too() -> None:
    """And healing lets everything pass again."""
    world = GossipWorld(1)
    one, other = world.populate(2)
    world.run(30.0)
    one.publish(world.population.word(world.people[one.key]))
    world.partition(frozenset([one.key]))
    world.run(300.0)
    assert len(world.roots()) == 2
    world.heal()
    assert world.run_until(lambda: len(world.roots()) == 1, within=200.0)
    assert other.records.tree.root == one.records.tree.root


def test_the_seed_decides_everything() -> None:
    """Two runs send the same messages; another seed sends others."""

    def play(seed: int) -> list[tuple[int, int]]:
        world = GossipWorld(seed, fate=troubled)
        nodes = world.populate(8)
        world.run(100.0)
        return [(n.meter.messages, n.meter.bytes) for n in nodes]

    assert play(1) == play(1)
    assert play(1) != play(2)


def test_a_restarted_node_keeps_its_records_alone() -> None:
    """It greets its neighbours anew."""
    world = GossipWorld(1)
    nodes = world.populate(4)
    world.run(30.0)
    root, sync = nodes[0].records.tree.root, nodes[0].sync
    nodes[0].restart(1_700_000_030.0)
    assert nodes[0].sync is not sync
    assert nodes[0].records.tree.root == root
    assert nodes[0].neighbours.chosen == ()


def test_fates() -> None:
    """A steady network loses nothing; a troubled one a tenth, and doubles a tenth."""
    rng = random.Random(1)
    assert all(len(steady(rng)) == 1 for _ in range(100))
    copies = [len(troubled(rng)) for _ in range(10_000)]
    assert 900 <= copies.count(0) <= 1100
    assert 900 <= copies.count(2) <= 1100


def test_strangers_are_not_heard() -> None:
    """A message from who is no member takes no effect."""
    world = GossipWorld(1)
    (node,) = world.populate(1)
    sent = node.meter.messages
    node.receive(b"stranger", Ping(bytes(8)))
    assert node.meter.messages == sent
