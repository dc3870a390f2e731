"""Where initiations go: the path, candidates while it is in doubt, and who is asked."""

import pytest

from meshnode.forwarding import (
    AddPeer,
    DropStaged,
    EndpointMoved,
    NeedSession,
    SessionConfirmed,
    SetEndpoint,
    UseSession,
)
from meshnode.types import Endpoint, Path
from meshnode.wireguard.config import PeerChange
from meshnode.wireguard.dialling import MAX_CANDIDATES
from meshnode.wireguard.events import (
    EndpointWanted,
    HandshakeBegun,
    HandshakeCompleted,
    HandshakeGivenUp,
)
from tests.unit.wireguard.engines import Node, advance, handshake, make_pair

PLACES = [Endpoint("203.0.113.1", port) for port in range(1, 20)]
ELSEWHERE = Path(Endpoint("203.0.113.5", 999), None)


@pytest.fixture
def nodes():
    """Two nodes that know each other's place, up."""
    return make_pair()


@pytest.fixture
def lost():
    """A node and its peer, of which it knows nothing but the key, and seeks it."""
    a, b = Node(1), Node(2)
    a.configure(PeerChange(b.public, is_sought=True), private_key=a.key)
    b.configure(PeerChange(a.public), private_key=b.key)
    a.up()
    b.up()
    return a, b


def candidates(node, other, *endpoints):
    """Tell a node where its peer may be, and drain."""
    node.engine.set_candidates(other.public, endpoints, now=node.now)
    node.drain()


def places(node):
    """Return where the datagrams of the last drain went."""
    return [datagram.path.remote for datagram in node.datagrams]


def lose_sessions(node):
    """Let a worker die, and drain: a handshake follows in 40 ms."""
    node.engine.handle_sessions_lost(now=node.now)
    node.drain()


def of(node, kind):
    """Return the events of that type in the last drain."""
    return [event for event in node.events if isinstance(event, kind)]


# --- who is dialled ---


def test_stock_peers_are_dialled_at_their_endpoint_alone(nodes):
    """Without candidates nothing is new, but that the beginning is told."""
    a, b = nodes
    a.report(NeedSession(0))
    assert places(a) == [b.path.remote]
    assert of(a, HandshakeBegun) == [HandshakeBegun(0, b.public, (b.path.remote,))]
    a.expire()
    assert places(a) == [b.path.remote]
    assert of(a, EndpointWanted) == []


def test_copies_go_to_every_candidate_of_an_unproven_path(nodes):
    """The same bytes, to each place once; the path comes first."""
    a, b = nodes
    candidates(a, b, PLACES[0], b.path.remote, PLACES[1], PLACES[0])
    a.report(NeedSession(0))
    assert places(a) == [b.path.remote, PLACES[0], PLACES[1]]
    assert len({datagram.data for datagram in a.datagrams}) == 1
    [begun] = of(a, HandshakeBegun)
    assert list(begun.endpoints) == places(a)
    assert a.engine.traffic_of(b.public).sent_packets == 3


def test_no_more_than_eight_candidates_are_tried(nodes):
    """The first eight different ones."""
    a, b = nodes
    candidates(a, b, PLACES[0], *PLACES)
    a.report(NeedSession(0))
    assert places(a) == [b.path.remote, *PLACES[:MAX_CANDIDATES]]
    assert MAX_CANDIDATES == 8


def test_the_first_answer_settles_the_path(nodes):
    """The path is where the response came from; later attempts go there alone."""
    a, b = nodes
    candidates(a, b, *PLACES[:3])
    advance(0.1, a)
    a.report(NeedSession(0))
    b.receive(a.datagrams[2].data, a.path)
    a.receive(b.datagrams[0].data, Path(PLACES[1]))
    assert SetEndpoint(0, Path(PLACES[1])) in a.commands
    assert a.engine.path_of(b.public) == Path(PLACES[1])
    advance(130, a)
    a.report(NeedSession(0))
    assert places(a) == [PLACES[1]]


def test_the_peer_answers_one_of_the_copies(nodes):
    """All others are old to it: copies cost it no handshake."""
    a, b = nodes
    candidates(a, b, PLACES[0])
    a.report(NeedSession(0))
    first, second = a.datagrams
    b.receive(first.data, a.path)
    assert len(b.datagrams) == 1
    advance(1, b)
    b.receive(second.data, a.path)
    assert b.datagrams == []
    assert b.drops() == {"OLD_TIMESTAMP": 1}


def test_a_proven_path_is_in_doubt_after_silence(nodes):
    """The first attempt goes to it alone, the second to all."""
    a, b = nodes
    handshake(a, b)
    candidates(a, b, PLACES[0])
    a.ingress.received_data(0, 1, 100, a.now + 1)
    advance(130, a)
    a.report(NeedSession(0))
    assert places(a) == [b.path.remote]
    a.expire()
    assert places(a) == [b.path.remote, PLACES[0]]


def test_a_change_of_candidates_puts_the_path_in_doubt(nodes):
    """Until something authenticated comes; another order is no change."""
    a, b = nodes
    candidates(a, b, PLACES[0], PLACES[1])
    advance(0.1, a)
    handshake(a, b)
    advance(10, a)
    candidates(a, b, PLACES[1], PLACES[0])
    lose_sessions(a)
    a.expire()
    assert places(a) == [b.path.remote]
    candidates(a, b, PLACES[1], PLACES[2])
    assert places(a) == [PLACES[1], PLACES[2]]


def test_a_configured_endpoint_proves_nothing(nodes):
    """Somebody wrote it down; the candidates are tried too."""
    a, b = nodes
    candidates(a, b, PLACES[0])
    handshake(a, b)
    advance(10, a)
    a.configure(PeerChange(b.public, endpoint=PLACES[5]))
    lose_sessions(a)
    a.expire()
    assert places(a) == [PLACES[5], PLACES[0]]


def test_silence_of_a_session_puts_the_path_in_doubt(nodes):
    """Data went out and nothing came: the peer may be elsewhere."""
    a, b = nodes
    candidates(a, b, PLACES[0])
    handshake(a, b)
    advance(10, a)
    a.egress.sent_data(0, 1, 100, a.now)
    a.engine._refresh(0)
    assert a.expire() == "new handshake after silence"
    assert places(a) == [b.path.remote, PLACES[0]]


def test_candidates_move_no_endpoint(nodes):
    """Only what is authenticated does."""
    a, b = nodes
    candidates(a, b, *PLACES[:3])
    assert a.commands == []
    assert a.engine.path_of(b.public).remote == b.path.remote


# --- candidates that come late ---


def test_a_new_candidate_gets_a_copy_at_once(nodes):
    """The initiation that waits goes there; where it went before, nothing does."""
    a, b = nodes
    a.report(NeedSession(0))
    [first] = a.datagrams
    advance(1, a)
    candidates(a, b, PLACES[0])
    assert places(a) == [PLACES[0]]
    assert a.datagrams[0].data == first.data
    assert of(a, HandshakeBegun) == [HandshakeBegun(0, b.public, (PLACES[0],))]
    candidates(a, b, PLACES[0], PLACES[1])
    assert places(a) == [PLACES[1]]
    candidates(a, b, PLACES[1])
    assert places(a) == []
    # All keep to the one timer.
    assert a.expire() == "retransmit handshake"
    assert 5.0 <= a.now - 100.0 < 5.333
    assert places(a) == [b.path.remote, PLACES[1]]
    assert a.datagrams[0].data != first.data


def test_no_copy_of_an_initiation_that_was_answered(nodes):
    """Not after the response, nor after the peer's own initiation overtook ours."""
    a, b = nodes
    handshake(a, b)
    candidates(a, b, PLACES[0])
    assert places(a) == []
    advance(130, a, b)
    a.report(NeedSession(0))
    b.report(NeedSession(0))
    a.receive(b.datagrams[0].data, b.path)
    advance(0.1, a)
    candidates(a, b, PLACES[1])
    assert places(a) == []


def test_without_need_candidates_begin_nothing(lost):
    """They are kept for when there is traffic."""
    a, b = lost
    candidates(a, b, PLACES[0])
    assert places(a) == []
    a.report(NeedSession(0))
    assert places(a) == [PLACES[0]]


# --- peers nobody has found ---


def test_a_handshake_without_any_place_asks_for_one(lost):
    """Once a second at most, and again at every attempt."""
    a, b = lost
    wanted = [EndpointWanted(0, b.public)]
    a.report(NeedSession(0))
    assert (places(a), a.events) == ([], wanted)
    advance(0.5, a)
    a.report(NeedSession(0))
    assert a.events == []
    advance(0.5, a)
    a.report(NeedSession(0))
    assert a.events == wanted
    assert a.expire() == "retransmit handshake"
    assert a.now >= 105.0
    assert a.events == wanted


def test_it_begins_as_soon_as_a_place_is_known(lost):
    """Nothing was sent yet, so nothing is waited for; the packets go with it."""
    a, b = lost
    a.report(NeedSession(0))
    advance(0.2, a, b)
    candidates(a, b, PLACES[0], PLACES[1], b.path.remote)
    assert places(a) == [PLACES[0], PLACES[1], b.path.remote]
    b.receive(a.datagrams[2].data, a.path)
    a.receive(b.datagrams[0].data, b.path)
    assert of(a, HandshakeCompleted)
    assert UseSession(0, a.session().local_index) in a.commands
    assert a.engine.path_of(b.public) == b.path


def test_a_sought_peer_that_does_not_answer_is_asked_after(lost):
    """What is known of its place may be old."""
    a, b = lost
    candidates(a, b, PLACES[0])
    a.report(NeedSession(0))
    assert of(a, EndpointWanted) == []
    a.expire()
    assert places(a) == [PLACES[0]]
    assert of(a, EndpointWanted) == [EndpointWanted(0, b.public)]


def test_a_peer_that_nobody_finds_is_given_up(lost):
    """After 90 s, as one that does not answer; the next packet begins anew."""
    a, b = lost
    a.report(NeedSession(0))
    while not of(a, HandshakeGivenUp):
        a.expire()
        assert a.now < 220
    assert a.now >= 190
    assert DropStaged(0) in a.commands
    assert a.engine.next_deadline().reason == "zero key material"
    advance(10, a)
    a.report(NeedSession(0))
    assert a.events == [EndpointWanted(0, b.public)]


def test_what_waits_can_be_dropped_before(lost):
    """Who looks for it knows better; no timer is left."""
    a, b = lost
    a.report(NeedSession(0))
    a.engine.drop_waiting(b.public, now=a.now)
    a.drain()
    assert a.commands == [DropStaged(0)]
    assert a.engine.next_deadline() is None
    candidates(a, b, PLACES[0])
    assert places(a) == []
    advance(2, a)
    a.report(NeedSession(0))
    assert places(a) == [PLACES[0]]


def test_a_keepalive_seeks_a_peer(lost):
    """A sought peer with a persistent keepalive is looked for without traffic."""
    a, b = lost
    a.configure(PeerChange(b.public, persistent_keepalive=20))
    assert of(a, EndpointWanted) == [EndpointWanted(0, b.public)]


def test_a_keepalive_does_not_seek_a_stock_peer():
    """A peer without endpoint waits to be spoken to, as ever."""
    a, b = Node(1), Node(2)
    a.configure(PeerChange(b.public), private_key=a.key)
    a.up()
    a.configure(PeerChange(b.public, persistent_keepalive=20))
    assert of(a, EndpointWanted) == []
    assert a.engine.next_deadline() is None


def test_being_sought_is_told_to_the_workers_once(nodes):
    """When it changes; None changes nothing."""
    a, b = nodes
    a.configure(PeerChange(b.public, is_sought=False))
    assert a.commands == []
    a.configure(PeerChange(b.public, is_sought=True))
    assert a.commands == [AddPeer(0, is_sought=True)]
    a.configure(PeerChange(b.public))
    a.configure(PeerChange(b.public, is_sought=True))
    assert a.commands == []
    assert AddPeer(0, is_sought=True) in list(a.engine.program())
    a.configure(PeerChange(b.public, is_sought=False))
    assert a.commands == [AddPeer(0, is_sought=False)]


def test_while_the_link_is_down_nobody_is_dialled(lost):
    """Nor asked after."""
    a, b = lost
    a.engine.set_link(mtu=1420, up=False, now=a.now)
    a.drain()
    a.report(NeedSession(0))
    candidates(a, b, PLACES[0])
    assert (a.datagrams, a.events) == ([], [])


def test_roaming_proves_the_path(nodes):
    """Data that came from elsewhere settles it as a response does."""
    a, b = nodes
    ours, _ = handshake(a, b)
    advance(5, a)
    candidates(a, b, PLACES[0])
    advance(5, a)
    a.ingress.received_data(0, 1, 100, a.now)
    a.report(EndpointMoved(0, ELSEWHERE))
    a.report(SessionConfirmed(0, ours.local_index))
    advance(120, a)
    a.report(NeedSession(0))
    assert places(a) == [ELSEWHERE.remote]


def test_a_lost_worker_is_no_reason_for_doubt(lost):
    """The peer did not fail to answer; nobody needs to look for it."""
    a, b = lost
    candidates(a, b, b.path.remote, PLACES[0])
    advance(0.1, a)
    handshake(a, b)
    advance(10, a)
    lose_sessions(a)
    a.expire()
    assert places(a) == [b.path.remote]
    assert of(a, EndpointWanted) == []
