"""Prefixes of several peers: differences, limits, and who is left."""

import pytest

from meshnode.crypto.keys import PrivateKey
from meshnode.errors import ConfigError
from meshnode.forwarding import (
    AddAllowedIps,
    RemovePeer,
    ShareOfPrefix,
    SharePrefix,
    UnsharePrefix,
)
from meshnode.types import Prefix
from meshnode.wireguard.config import PeerChange, SharedPrefix
from meshnode.wireguard.events import ConfigurationChanged
from tests.unit.wireguard.engines import Node

KEYS = [PrivateKey(bytes([n]) * 32).public_key() for n in range(10, 40)]
ONE, TWO, THREE = (Prefix.parse(f"10.{n}.0.0/16") for n in (1, 2, 3))


@pytest.fixture
def node():
    """A node with four peers in slots 0 to 3."""
    made = Node(1)
    made.configure(*(PeerChange(key) for key in KEYS[:4]), private_key=made.key)
    made.up()
    return made


def shared(prefix, *numbers, accept=None):
    """Share a prefix among the peers of those numbers, with weights 1, 2, 3."""
    forward = tuple((KEYS[n], weight) for weight, n in enumerate(numbers, 1))
    accepted = numbers if accept is None else accept
    return SharedPrefix(prefix, forward, tuple(KEYS[n] for n in accepted))


def command(prefix, *slots, accept=None):
    """Return the command that shares a prefix among those slots."""
    forward = tuple(ShareOfPrefix(slot, w) for w, slot in enumerate(slots, 1))
    return SharePrefix(prefix, forward, tuple(slots if accept is None else accept))


def share(node, *items):
    """Share exactly these and drain; return the commands."""
    node.engine.share_prefixes(items, now=node.now)
    node.drain()
    return node.commands


def prefixes(node):
    """Return what `wg show` lists, by number of the peer."""
    peers = {p.public_key: p.allowed_ips for p in node.engine.status().peers}
    return {n: peers[key] for n, key in enumerate(KEYS) if peers.get(key)}


def test_only_differences_are_told(node):
    """New ones, changed ones, and those that are shared no more."""
    assert share(node, shared(ONE, 0, 1), shared(TWO, 1, 2)) == [
        command(ONE, 0, 1),
        command(TWO, 1, 2),
    ]
    assert share(node, shared(TWO, 1, 2), shared(ONE, 0, 1)) == []
    assert share(node, shared(TWO, 2, 1), shared(THREE, 3)) == [
        UnsharePrefix(ONE),
        command(TWO, 2, 1),
        command(THREE, 3),
    ]
    assert share(node) == [UnsharePrefix(TWO), UnsharePrefix(THREE)]
    assert node.engine.next_deadline() is None


def test_shares_are_part_of_the_program(node):
    """After the peers they refer to."""
    share(node, shared(ONE, 0, 1, accept=(0, 1, 3)))
    assert list(node.engine.program())[-1] == command(ONE, 0, 1, accept=(0, 1, 3))


def test_a_shared_prefix_is_shown_with_its_first_carrier(node):
    """`wg` knows one owner of a prefix, so it is listed once."""
    node.configure(PeerChange(KEYS[1], allowed_ips=[(True, THREE)]))
    share(node, shared(ONE, 1, 0), shared(TWO, 2, 1))
    assert prefixes(node) == {1: [THREE, ONE], 2: [TWO]}


def test_sharing_takes_a_prefix_from_its_owner(node):
    """And that outlives us: the owner's configuration has changed."""
    node.configure(PeerChange(KEYS[3], allowed_ips=[(True, ONE), (True, TWO)]))
    assert share(node, shared(ONE, 0, 1)) == [command(ONE, 0, 1)]
    assert ConfigurationChanged() in node.events
    assert prefixes(node) == {0: [ONE], 3: [TWO]}
    assert [p.allowed_ips for p in node.engine.state().peers] == [[], [], [], [TWO]]
    share(node, shared(ONE, 1, 0))
    assert node.events == []


def test_configuring_takes_a_shared_prefix_back(node):
    """Whoever was given it last has it, until it is shared again."""
    share(node, shared(ONE, 0, 1))
    node.configure(PeerChange(KEYS[2], allowed_ips=[(True, ONE)]))
    assert node.commands == [AddAllowedIps(2, (ONE,))]
    assert prefixes(node) == {2: [ONE]}
    assert share(node, shared(ONE, 0, 1)) == [command(ONE, 0, 1)]
    assert share(node) == [UnsharePrefix(ONE)]


def test_a_prefix_that_was_taken_back_is_not_unshared(node):
    """The command would come too late and mean another."""
    share(node, shared(ONE, 0, 1))
    node.configure(PeerChange(KEYS[2], allowed_ips=[(True, ONE)]))
    assert share(node) == []
    assert prefixes(node) == {2: [ONE]}


def test_removing_a_shared_prefix_from_one_peer_does_nothing(node):
    """It is not that peer's to lose."""
    share(node, shared(ONE, 0, 1))
    node.configure(PeerChange(KEYS[0], allowed_ips=[(False, ONE)]))
    node.configure(PeerChange(KEYS[0], replace_allowed_ips=True))
    assert prefixes(node) == {0: [ONE]}


def test_a_peer_that_goes_leaves_its_shares(node):
    """The workers know it from the peer's removal; the last carrier ends the share."""
    share(node, shared(ONE, 0, 1, accept=(0, 1, 2)), shared(TWO, 0, accept=(0, 1)))
    node.configure(PeerChange(KEYS[0], remove=True))
    assert RemovePeer(0) in node.commands
    left = SharePrefix(ONE, (ShareOfPrefix(1, 2),), (1, 2))
    assert list(node.engine.program())[-1] == left
    assert prefixes(node) == {1: [ONE]}
    # Added again it is another peer, and has to be named again.
    node.configure(PeerChange(KEYS[0]))
    assert share(node, shared(ONE, 0, 1)) == [command(ONE, 4, 1)]


def test_who_is_no_peer_is_left_out(node):
    """A prefix that nobody would carry is not shared, or no more."""
    assert share(node, shared(ONE, 0, 9, accept=(9, 1)), shared(TWO, 8, 9)) == [
        SharePrefix(ONE, (ShareOfPrefix(0, 1),), (1,))
    ]
    assert share(node, shared(ONE, 9)) == [UnsharePrefix(ONE)]


@pytest.mark.parametrize(
    "bad",
    [
        SharedPrefix(ONE, tuple((key, 1) for key in KEYS[:17]), ()),
        SharedPrefix(ONE, ((KEYS[0], 1),), tuple(KEYS[:17])),
        SharedPrefix(ONE, ((KEYS[0], 0),), ()),
        SharedPrefix(ONE, ((KEYS[0], 256),), ()),
        shared(TWO, 1),
    ],
)
def test_what_the_workers_could_not_take_is_refused_whole(node, bad):
    """Too many owners, weights out of range, a prefix twice: nothing changes."""
    share(node, shared(THREE, 0, 1))
    with pytest.raises(ConfigError):
        node.engine.share_prefixes([shared(TWO, 0), bad], now=node.now)
    node.drain()
    assert node.commands == []
    assert prefixes(node) == {0: [THREE]}
