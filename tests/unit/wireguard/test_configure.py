"""Live changes of the configuration, as `wg set` makes them."""

import pytest

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.errors import ConfigError
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    RemoveAllowedIps,
    RemovePeer,
    SetEndpoint,
    SetIdentity,
)
from meshnode.types import Endpoint, Path, Prefix
from meshnode.wireguard import configure
from meshnode.wireguard.config import PeerChange
from tests.unit.wireguard.engines import Node, handshake, make_pair

KEYS = [PrivateKey(bytes([n]) * 32).public_key() for n in range(10, 20)]
ONE, TWO, THREE = (Prefix.parse(f"10.{n}.0.0/16") for n in (1, 2, 3))
WHERE = Endpoint("192.0.2.50", 1000)


@pytest.fixture
def node():
    """Return a node with a key and no peers, up."""
    made = Node(1)
    made.configure(private_key=made.key)
    made.up()
    return made


def slots(node):
    """Return the slot of each configured key."""
    return {peer.public_key: peer.slot for peer in node.engine.state().peers}


def prefixes(node, key):
    """Return the allowed IPs of a peer."""
    peers = node.engine.status().peers
    return next(peer.allowed_ips for peer in peers if peer.public_key == key)


def test_a_new_peer_gets_a_slot_and_the_workers_learn_of_it(node):
    """In order: the peer, where it is, what it owns."""
    node.configure(PeerChange(KEYS[0], endpoint=WHERE, allowed_ips=[(True, ONE)]))
    assert node.commands == [
        AddPeer(0),
        SetEndpoint(0, Path(WHERE)),
        AddAllowedIps(0, (ONE,)),
    ]


def test_slots_rest_before_they_are_used_again(node, monkeypatch):
    """New ones are taken while there are any; then the one that is free the longest."""
    monkeypatch.setattr(configure, "MAX_PEERS", 6)
    node.configure(*(PeerChange(key) for key in KEYS[:4]))
    node.configure(PeerChange(KEYS[2], remove=True))
    node.configure(PeerChange(KEYS[0], remove=True))
    assert node.commands[-1] == RemovePeer(0)
    node.configure(*(PeerChange(key) for key in KEYS[5:9]))
    expected = {KEYS[1]: 1, KEYS[3]: 3, KEYS[5]: 4, KEYS[6]: 5, KEYS[7]: 2, KEYS[8]: 0}
    assert slots(node) == expected


def test_a_slot_carries_no_facts_over(node, monkeypatch):
    """A new peer starts with counts of zero and without prefixes."""
    node.configure(PeerChange(KEYS[0], allowed_ips=[(True, ONE)]))
    node.egress.sent_data(0, 3, 300, node.now)
    assert node.engine.status().peers[0].sent_bytes == 300
    monkeypatch.setattr(configure, "MAX_PEERS", 1)
    node.configure(PeerChange(KEYS[0], remove=True), PeerChange(KEYS[1]))
    assert slots(node) == {KEYS[1]: 0}
    assert node.engine.status().peers[0].sent_bytes == 0
    assert prefixes(node, KEYS[1]) == []


def test_a_prefix_moves_to_who_claims_it(node):
    """The workers are told once; the owner before has it no more."""
    node.configure(
        PeerChange(KEYS[0], allowed_ips=[(True, ONE), (True, TWO)]),
        PeerChange(KEYS[1], allowed_ips=[(True, ONE)]),
    )
    assert prefixes(node, KEYS[0]) == [TWO]
    assert prefixes(node, KEYS[1]) == [ONE]


def test_prefixes_can_be_removed_one_by_one(node):
    """In the order given, and only by their owner."""
    node.configure(PeerChange(KEYS[0], allowed_ips=[(True, ONE), (True, TWO)]))
    node.configure(PeerChange(KEYS[1], allowed_ips=[(False, ONE)]))
    assert prefixes(node, KEYS[0]) == [ONE, TWO]
    node.configure(
        PeerChange(KEYS[0], allowed_ips=[(False, ONE), (True, THREE), (False, THREE)])
    )
    assert prefixes(node, KEYS[0]) == [TWO]
    assert node.commands == [
        RemoveAllowedIps(0, (ONE,)),
        AddAllowedIps(0, (THREE,)),
        RemoveAllowedIps(0, (THREE,)),
    ]


def test_replacing_prefixes_removes_the_others_only(node):
    """What stays is not taken away in between, so no packet is lost."""
    node.configure(PeerChange(KEYS[0], allowed_ips=[(True, ONE), (True, TWO)]))
    node.configure(
        PeerChange(
            KEYS[0],
            replace_allowed_ips=True,
            allowed_ips=[(True, TWO), (True, THREE)],
        )
    )
    assert prefixes(node, KEYS[0]) == [TWO, THREE]
    assert node.commands[0] == RemoveAllowedIps(0, (ONE,))


def test_replacing_peers_removes_those_not_named(node):
    """Who is named again is made anew."""
    node.configure(PeerChange(KEYS[0]), PeerChange(KEYS[1]))
    node.configure(PeerChange(KEYS[2]), replace_peers=True)
    assert list(slots(node)) == [KEYS[2]]


def test_update_only_creates_nobody(node):
    """And removing a stranger is no error."""
    node.configure(PeerChange(KEYS[0], update_only=True, endpoint=WHERE))
    node.configure(PeerChange(KEYS[1], remove=True))
    assert slots(node) == {}
    assert node.commands == []


def test_we_are_no_peer_of_ourselves(node):
    """Silently ignored, as in the kernel."""
    node.configure(PeerChange(node.public, endpoint=WHERE))
    assert slots(node) == {}


def test_a_key_of_a_peer_as_our_own_removes_the_peer(node):
    """Nobody can be both."""
    key = PrivateKey(b"s" * 32)
    node.configure(PeerChange(key.public_key()), PeerChange(KEYS[0]))
    node.configure(private_key=key)
    assert list(slots(node)) == [KEYS[0]]
    assert SetIdentity(key.public_key().raw) in node.commands


def test_the_same_private_key_is_no_change():
    """No session is disturbed by what is already so."""
    a, b = make_pair()
    handshake(a, b)
    a.configure(private_key=a.key)
    assert a.commands == []


def test_a_cleared_private_key_is_told(node):
    """Without a key mac1 cannot be right."""
    node.configure(clear_private_key=True)
    assert node.commands == [SetIdentity(b"")]
    assert node.engine.status().private_key is None


def test_the_same_endpoint_keeps_the_source_that_works():
    """Only another address or port is a change."""
    a, b = make_pair()
    handshake(a, b)
    a.configure(PeerChange(b.public, endpoint=b.path.remote))
    assert a.commands == []
    assert a.engine.state().peers[0].path == b.path
    a.configure(PeerChange(b.public, endpoint=WHERE))
    assert a.commands == [SetEndpoint(0, Path(WHERE))]


def test_a_preshared_key_of_zeros_clears_it(node):
    """It reads back as none."""
    node.configure(PeerChange(KEYS[0], preshared_key=PresharedKey(b"p" * 32)))
    assert node.engine.status().peers[0].preshared_key != PresharedKey.none()
    node.configure(PeerChange(KEYS[0], preshared_key=PresharedKey.none()))
    assert node.engine.status().peers[0].preshared_key == PresharedKey.none()


def test_port_and_mark_are_kept(node):
    """They are the shell's to set on its sockets."""
    node.configure(listen_port=0, fwmark=0xFFFFFFFF)
    status = node.engine.status()
    assert (status.listen_port, status.fwmark) == (0, 0xFFFFFFFF)


def test_too_many_peers_change_nothing(node, monkeypatch):
    """The whole request is checked before any of it is applied."""
    monkeypatch.setattr(configure, "MAX_PEERS", 3)
    node.configure(*(PeerChange(key) for key in KEYS[:3]))
    before = node.engine.state()
    with pytest.raises(ConfigError, match="at most 3 peers") as caught:
        node.configure(
            PeerChange(KEYS[0], endpoint=WHERE), PeerChange(KEYS[4]), fwmark=9
        )
    assert caught.value.errno == 28
    assert node.engine.state() == before
    node.configure(PeerChange(KEYS[0], remove=True), PeerChange(KEYS[4]))
    node.configure(*(PeerChange(key) for key in KEYS[5:8]), replace_peers=True)


def test_a_restored_configuration_knows_its_free_slots(node, monkeypatch):
    """Slots of gone peers are free; nobody is given one in use."""
    monkeypatch.setattr(configure, "MAX_PEERS", 4)
    node.configure(*(PeerChange(key) for key in KEYS[:3]))
    node.configure(PeerChange(KEYS[1], remove=True))
    other = Node(1)
    other.engine.restore(node.engine.state(), now=other.now)
    other.configure(PeerChange(KEYS[4]), PeerChange(KEYS[5]))
    assert slots(other) == {KEYS[0]: 0, KEYS[2]: 2, KEYS[4]: 3, KEYS[5]: 1}
    assert isinstance(next(iter(slots(other))), PublicKey)
