"""The same device for `wg show`, for the next control process, and for workers."""

import pytest

from meshnode.crypto.keys import PrivateKey
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    SetEndpoint,
    ShareOfPrefix,
    SharePrefix,
)
from meshnode.types import Path, Prefix
from meshnode.wireguard.config import PeerChange, SharedPrefix
from meshnode.wireguard.describe import (
    describe_peer,
    describe_state,
    describe_status,
    describe_table,
)
from tests.unit.wireguard.engines import Node

KEYS = [PrivateKey(bytes([n]) * 32).public_key() for n in (10, 11)]
OWN, SHARED = Prefix.parse("10.1.0.0/16"), Prefix.parse("10.2.0.0/16")


@pytest.fixture
def node():
    """A node with two peers that share a prefix; the first has one of its own."""
    made = Node(1)
    made.configure(
        PeerChange(
            KEYS[0],
            endpoint=made.path.remote,
            allowed_ips=[(True, OWN)],
            persistent_keepalive=7,
        ),
        PeerChange(KEYS[1], is_sought=True),
        private_key=made.key,
        fwmark=9,
    )
    shared = SharedPrefix(SHARED, ((KEYS[1], 1), (KEYS[0], 2)), (KEYS[0], KEYS[1]))
    made.engine.share_prefixes([shared], now=made.now)
    made.drain()
    return made


def test_the_status(node):
    """The shared prefix stands with the peer that is first to carry it."""
    status = describe_status(node.engine._configuration, node.engine._shared.traffic)
    assert (status.private_key, status.fwmark) == (node.key, 9)
    assert [peer.allowed_ips for peer in status.peers] == [[OWN], [SHARED]]
    assert [peer.endpoint for peer in status.peers] == [node.path.remote, None]
    assert [peer.last_handshake for peer in status.peers] == [(0, 0)] * 2


def test_the_state(node):
    """What is shared is decided anew by a later process; all else is there."""
    state = describe_state(node.engine._configuration)
    assert [peer.allowed_ips for peer in state.peers] == [[OWN], []]
    assert [peer.is_sought for peer in state.peers] == [False, True]
    assert [peer.persistent_keepalive for peer in state.peers] == [7, 0]
    configuration = node.engine._configuration
    assert describe_peer(configuration, configuration.peers[1]) == state.peers[1]


def test_the_table(node):
    """Peers first, then what refers to several of them."""
    forward = (ShareOfPrefix(1, 1), ShareOfPrefix(0, 2))
    assert list(describe_table(node.engine._configuration)) == [
        AddPeer(0),
        SetEndpoint(0, Path(node.path.remote)),
        AddAllowedIps(0, (OWN,)),
        AddPeer(1, is_sought=True),
        SetEndpoint(1, None),
        SharePrefix(SHARED, forward, (0, 1)),
    ]
