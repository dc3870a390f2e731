"""The administrator keeps both sides of a pair in agreement."""

import pytest

from meshnode.crypto.keys import PresharedKey
from meshnode.simulation.world import World


@pytest.fixture
def world():
    """Return three hosts in a chain; the last pair is known to one side only."""
    made = World(1)
    for name in "abc":
        made.add_host(name)
    made.introduce("a", "b", preshared_key=PresharedKey(b"k" * 32), keepalive=7)
    made.introduce("b", "c", mutual=False)
    return made


def status(world, where, who):
    """Return what *where* has configured of *who*."""
    key = world.hosts[who].public_key
    peers = world.hosts[where].engine.status().peers
    return next(peer for peer in peers if peer.public_key == key)


def test_both_sides_are_configured(world):
    """Key, address, keepalive and prefixes."""
    for where, who in ("ab", "ba"):
        peer = status(world, where, who)
        assert peer.preshared_key == PresharedKey(b"k" * 32)
        assert peer.endpoint == world.hosts[who].endpoint
        assert peer.persistent_keepalive == 7
        assert len(peer.allowed_ips) == 2


def test_one_side_may_have_to_wait(world):
    """If it was not told where the other is."""
    administrator = world.administrator
    assert administrator.knows_way("b", "c")
    assert not administrator.knows_way("c", "b")
    administrator.tell_endpoint("c", "b")
    assert administrator.knows_way("c", "b")
    world.hosts["b"].move()
    assert not administrator.knows_way("c", "b")


def test_peers_are_found_from_either_side(world):
    """In the order of introduction."""
    names = [peer.name for peer in world.administrator.peers_of(world.hosts["b"])]
    assert names == ["a", "c"]
    assert world.administrator.pairs == [("a", "b"), ("b", "c")]


def test_prefixes_move_and_return(world):
    """The thief keeps its own."""
    administrator = world.administrator
    administrator.allow("b", "c", "a")
    assert len(status(world, "b", "c").allowed_ips) == 4
    assert status(world, "b", "a").allowed_ips == []
    administrator.allow("b", "a", "a")
    assert len(status(world, "b", "c").allowed_ips) == 2


def test_a_removed_peer_comes_back_with_the_present_key(world):
    """Whatever the preshared key is by then."""
    administrator = world.administrator
    administrator.remove_peer("a", world.hosts["b"].public_key)
    administrator.preshared_keys[frozenset("ab")] = PresharedKey(b"n" * 32)
    administrator.set_preshared_key("b", "a")
    administrator.add_peer("a", "b")
    assert status(world, "a", "b").preshared_key == PresharedKey(b"n" * 32)
    administrator.set_keepalive("a", "b", 3)
    assert status(world, "a", "b").persistent_keepalive == 3
