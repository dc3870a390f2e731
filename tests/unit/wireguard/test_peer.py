"""What one peer commands, sends and waits for, step by step."""

import pytest

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.forwarding import (
    DropStaged,
    EndpointMoved,
    HeldSession,
    InstallSession,
    NeedSession,
    RekeyDue,
    RetireSession,
    SendKeepalive,
    SessionConfirmed,
    SessionsHeld,
    SetEndpoint,
    TrafficResumed,
    UseSession,
)
from meshnode.simulation import inside
from meshnode.types import Cipher, Endpoint, Path
from meshnode.wireguard.config import PeerChange
from meshnode.wireguard.constants import INITIATION_INTERVAL
from meshnode.wireguard.events import HandshakeCompleted, HandshakeGivenUp
from tests.unit.wireguard.engines import Node, advance, handshake, make_pair

ELSEWHERE = Path(Endpoint("203.0.113.5", 999), None)


@pytest.fixture
def nodes():
    """Return two nodes that are peers, up, without a session."""
    return make_pair()


def kinds(commands):
    """Return the types of commands."""
    return [type(command) for command in commands]


def has_event(node, kind):
    """Whether the last drain gave an event of that type."""
    return any(isinstance(event, kind) for event in node.events)


def test_an_initiator_installs_uses_and_confirms(nodes):
    """On the response: install, send under it, and let the other side know."""
    a, b = nodes
    ours, theirs = handshake(a, b)
    assert kinds(a.commands)[-3:] == [InstallSession, UseSession, SendKeepalive]
    assert has_event(a, HandshakeCompleted)
    assert ours.is_initiator
    assert not theirs.is_initiator


def test_a_responder_installs_but_does_not_use(nodes):
    """It may send only after the first packet came under the new session."""
    a, b = nodes
    a.report(NeedSession(0))
    b.receive(a.datagrams[0].data, a.path)
    assert UseSession not in kinds(b.commands)
    assert not has_event(b, HandshakeCompleted)
    index = b.session().local_index
    b.report(SessionConfirmed(0, index))
    assert b.commands == [UseSession(0, index)]
    assert has_event(b, HandshakeCompleted)


def test_both_derive_the_same_keys(nodes):
    """What one sends with, the other receives with."""
    ours, theirs = handshake(*nodes)
    assert ours.send_key == theirs.receive_key
    assert ours.receive_key == theirs.send_key
    assert ours.local_index == theirs.remote_index
    assert ours.remote_index == theirs.local_index
    assert ours.send_key != ours.receive_key


def test_the_oldest_session_is_retired(nodes):
    """With the third session the first goes, on both sides."""
    a, b = nodes
    first, first_there = handshake(a, b)
    for _ in range(2):
        advance(130, a, b)
        handshake(a, b)
    assert RetireSession(0, first.local_index) in a.commands
    assert len(a.engine._configuration.peers[0].keypairs.all()) == 2
    assert first_there.local_index != first.local_index


def test_no_initiation_within_five_seconds_of_the_last(nodes):
    """The request is put off to the end of the limit, plus jitter."""
    a, _ = nodes
    a.report(NeedSession(0))
    assert len(a.datagrams) == 1
    advance(4.9, a)
    a.report(NeedSession(0))
    assert a.datagrams == []
    began = a.now - 4.9
    assert a.expire() == "retransmit handshake"
    assert len(a.datagrams) == 1
    assert 5.0 <= a.now - began < 5.333


def test_a_response_counts_for_the_limit_too(nodes):
    """Who just answered does not ask for 5 s."""
    a, b = nodes
    a.report(NeedSession(0))
    b.receive(a.datagrams[0].data, a.path)
    advance(1, b)
    b.report(NeedSession(0))
    assert b.datagrams == []
    assert b.expire() == "retransmit handshake"
    assert b.datagrams[0].data[0] == 1


def test_a_request_while_asking_waits_for_the_retransmission(nodes):
    """Packets and keepalives that keep step must not set the pace."""
    a, _ = nodes
    a.report(NeedSession(0))
    advance(5.0, a)
    a.report(NeedSession(0))
    assert a.datagrams == []


@pytest.mark.parametrize(("gap", "is_answered"), [(0.019, False), (0.021, True)])
def test_an_initiation_too_soon_after_the_last_is_refused(nodes, gap, is_answered):
    """At most one every 20 ms from one peer, however good."""
    a, b = nodes
    a.report(NeedSession(0))
    b.receive(a.datagrams[0].data, a.path)
    a.expire()
    advance(gap, b)
    b.receive(a.datagrams[0].data, a.path)
    assert bool(b.datagrams) == is_answered
    assert b.drops() == ({} if is_answered else {"INITIATION_FLOOD": 1})


def a_current(node):
    """Return the index of the node's current session."""
    return node.engine._configuration.peers[0].keypairs.current.local_index


def test_an_old_timestamp_is_refused(nodes):
    """The same initiation again, or an older one, changes nothing."""
    a, b = nodes
    a.report(NeedSession(0))
    first = a.datagrams[0].data
    b.receive(first, a.path)
    before = b.engine.state()
    advance(1, b)
    b.receive(first, ELSEWHERE)
    assert b.drops() == {"OLD_TIMESTAMP": 1}
    assert (b.commands, b.datagrams) == ([], [])
    assert b.engine.state() == before


def test_a_removed_peer_that_returns_gets_newer_timestamps():
    """The other side remembers what we sent it before, even with our clock behind."""
    ahead = bytes.fromhex("4000000070000000") + bytes(4)
    a, b = Node(1, mark=ahead), Node(2)
    for node, other in ((a, b), (b, a)):
        peer = PeerChange(other.public, endpoint=other.path.remote)
        node.configure(peer, private_key=node.key)
        node.up()
    a.report(NeedSession(0))
    b.receive(a.datagrams[0].data, a.path)
    a.configure(PeerChange(b.public, remove=True))
    a.configure(PeerChange(b.public, endpoint=b.path.remote))
    advance(1, a, b)
    a.report(NeedSession(1))
    b.receive(a.datagrams[0].data, a.path)
    assert b.drops() == {}
    assert b.datagrams


def test_a_response_is_accepted_once(nodes):
    """Its duplicate finds no handshake that waits for it."""
    a, b = nodes
    a.report(NeedSession(0))
    b.receive(a.datagrams[0].data, a.path)
    response = b.datagrams[0].data
    a.receive(response, b.path)
    assert a.commands
    a.receive(response, ELSEWHERE)
    assert a.commands == []
    assert a.drops() == {"UNKNOWN_INDEX": 1}


def test_a_late_response_to_an_earlier_initiation_is_refused(nodes):
    """Each initiation has its own index; the old one is free."""
    a, b = nodes
    a.report(NeedSession(0))
    b.receive(a.datagrams[0].data, a.path)
    late = b.datagrams[0].data
    a.expire()
    a.receive(late, b.path)
    assert a.drops() == {"UNKNOWN_INDEX": 1}


def _cross(a, b):
    """Let both ask at once, and both answer; return the two responses."""
    a.report(NeedSession(0))
    b.report(NeedSession(0))
    from_a, from_b = a.datagrams[0].data, b.datagrams[0].data
    a.receive(from_b, b.path)
    b.receive(from_a, a.path)
    return a.datagrams[0].data, b.datagrams[0].data


def test_both_handshakes_of_a_crossing_complete(nodes):
    """Each side sends under the pair it began, and can open the other's."""
    a, b = nodes
    answer_a, answer_b = _cross(a, b)
    a.receive(answer_b, b.path)
    b.receive(answer_a, a.path)
    for node in nodes:
        (peer,) = inside.peers(node).values()
        assert peer.keypairs.current.is_initiator
        assert not peer.keypairs.previous.is_initiator
        assert peer.keypairs.next is None
        assert node.engine.next_deadline().reason == "zero key material"


def test_a_confirmed_session_voids_what_we_asked_for(nodes):
    """One answer of a crossing is lost: a late one changes nothing any more."""
    a, b = nodes
    answer_a, late = _cross(a, b)
    b.receive(answer_a, a.path)
    (peer,) = inside.peers(a).values()
    waiting = peer.keypairs.next.local_index
    a.report(SessionConfirmed(0, waiting))
    a.receive(late, b.path)
    assert peer.keypairs.current.local_index == waiting
    assert a.drops() == {"UNKNOWN_INDEX": 1}


def test_giving_up_drops_what_was_staged(nodes):
    """After 19 retries the shell is told, and nothing is tried any more."""
    a, _ = nodes
    a.report(NeedSession(0))
    sent = 1
    while not has_event(a, HandshakeGivenUp):
        assert a.expire() == "retransmit handshake"
        sent += len(a.datagrams)
    assert sent == 20
    assert DropStaged(0) in a.commands
    assert a.engine.next_deadline().reason == "zero key material"


def test_a_new_request_starts_the_count_over(nodes):
    """Giving up counts from the last packet that wanted a session."""
    a, _ = nodes
    a.report(NeedSession(0))
    for _ in range(15):
        a.expire()
    a.report(NeedSession(0))
    for _ in range(15):
        a.expire()
    assert not has_event(a, HandshakeGivenUp)


def test_a_retransmission_forgets_the_source_address(nodes):
    """Our address may be the fault: let the kernel choose again."""
    a, b = nodes
    handshake(a, b)
    assert a.engine.state().peers[0].path == b.path
    advance(130, a)
    a.report(RekeyDue(0, a_current(a), received=False))
    a.expire()
    assert SetEndpoint(0, Path(b.path.remote)) in a.commands


def test_the_endpoint_follows_authenticated_messages_only(nodes):
    """An initiation and a response move it; what fails does not."""
    a, b = nodes
    a.report(NeedSession(0))
    damaged = bytearray(a.datagrams[0].data)
    damaged[50] ^= 1
    b.receive(bytes(damaged), ELSEWHERE)
    assert b.commands == []
    b.receive(a.datagrams[0].data, ELSEWHERE)
    assert SetEndpoint(0, ELSEWHERE) in b.commands
    response = bytearray(b.datagrams[0].data)
    response[50] ^= 1
    a.receive(bytes(response), ELSEWHERE)
    assert a.commands == []


def test_a_report_of_a_move_is_followed(nodes):
    """Data came from elsewhere: from now on we send there, and remember it."""
    a, b = nodes
    handshake(a, b)
    a.report(EndpointMoved(0, ELSEWHERE))
    assert a.commands == [SetEndpoint(0, ELSEWHERE)]
    assert a.engine.state().peers[0].path == ELSEWHERE
    a.report(EndpointMoved(0, ELSEWHERE))
    assert a.commands == []


def test_a_request_that_crossed_the_session_is_ignored(nodes):
    """The report was written before the new session arrived at egress."""
    a, b = nodes
    handshake(a, b)
    a.report(NeedSession(0))
    assert a.datagrams == []
    advance(6, a)
    a.report(NeedSession(0))
    assert len(a.datagrams) == 1


def test_only_the_current_session_can_be_due(nodes):
    """A report about an older session comes too late to matter."""
    a, b = nodes
    ours, _ = handshake(a, b)
    advance(130, a)
    a.report(RekeyDue(0, ours.local_index ^ 1, received=True))
    assert a.datagrams == []
    a.report(RekeyDue(0, ours.local_index, received=True))
    assert len(a.datagrams) == 1


def test_a_cookie_is_kept_and_nothing_sent(nodes):
    """The next retransmission carries it as mac2."""
    a, b = nodes
    a.report(NeedSession(0))
    assert a.datagrams[0].data[-16:] == bytes(16)
    b.receive(a.datagrams[0].data, a.path, queued=128)
    cookie = b.datagrams[0].data
    assert len(cookie) == 64
    a.receive(cookie, ELSEWHERE)
    assert (a.datagrams, a.commands) == ([], [])
    a.expire()
    assert a.datagrams[0].data[-16:] != bytes(16)
    b.receive(a.datagrams[0].data, a.path, queued=128)
    assert len(b.datagrams[0].data) == 92


def test_silence_leads_to_a_handshake(nodes):
    """Fifteen seconds after data that nothing answered."""
    a, b = nodes
    handshake(a, b)
    advance(10, a)
    assert a.egress.sent_data(0, 1, 100, a.now)
    a.report(TrafficResumed(0))
    began = a.now
    assert a.expire() == "new handshake after silence"
    assert 15.0 <= a.now - began < 15.333
    assert len(a.datagrams) == 1


def test_while_watched_traffic_need_not_be_reported(nodes):
    """And when nothing waits any more, it is again."""
    a, b = nodes
    handshake(a, b)
    advance(10, a)
    assert a.egress.sent_data(0, 1, 100, a.now)
    a.report(TrafficResumed(0))
    advance(1, a)
    a.ingress.received_keepalive(0, 32, a.now)
    assert not a.egress.sent_data(0, 1, 100, a.now)
    a.ingress.received_keepalive(0, 32, a.now)
    a.expire()
    assert a.egress.sent_data(0, 1, 100, a.now)


def test_received_data_is_acknowledged(nodes):
    """By an empty packet, 10 s later."""
    a, b = nodes
    handshake(a, b)
    advance(20, a)
    a.ingress.received_data(0, 1, 100, a.now)
    a.report(TrafficResumed(0))
    began = a.now
    assert a.expire() == "send keepalive"
    assert a.now - began == pytest.approx(10.0)
    assert a.commands == [SendKeepalive(0)]


def test_persistent_keepalives_handshake_first(nodes):
    """Without a session the keepalive is an initiation; with one, an empty packet."""
    a, b = nodes
    a.configure(PeerChange(b.public, persistent_keepalive=25))
    assert len(a.datagrams) == 1
    b.receive(a.datagrams[0].data, a.path)
    a.receive(b.datagrams[0].data, b.path)
    a.configure(PeerChange(b.public, persistent_keepalive=0))
    a.configure(PeerChange(b.public, persistent_keepalive=10))
    assert a.commands == [SendKeepalive(0)]
    a.configure(PeerChange(b.public, persistent_keepalive=10))
    assert a.commands == []


def test_going_down_forgets_everything(nodes):
    """Sessions, handshake and timers; the peer itself stays."""
    a, b = nodes
    ours, _ = handshake(a, b)
    a.engine.set_link(mtu=1420, up=False, now=a.now)
    a.drain()
    assert RetireSession(0, ours.local_index) in a.commands
    assert DropStaged(0) in a.commands
    assert a.engine.next_deadline() is None
    a.report(NeedSession(0))
    assert a.datagrams == []
    a.up()
    a.report(NeedSession(0))
    assert len(a.datagrams) == 1


def test_a_new_identity_stops_sending_and_hands_over(nodes):
    """The current session still receives; the next packet needs a handshake."""
    a, b = nodes
    ours, _ = handshake(a, b)
    a.configure(private_key=PrivateKey(b"k" * 32))
    assert UseSession(0, 0) in a.commands
    assert RetireSession(0, ours.local_index) not in a.commands
    a.report(NeedSession(0))
    assert len(a.datagrams) == 1


def test_lost_sessions_are_made_anew_at_once(nodes):
    """A worker died: no traffic and no 5 s are waited for.

    Only what the peer's limit of one initiation in 20 ms demands: one of ours may
    have reached it a moment ago.
    """
    a, b = nodes
    ours, _ = handshake(a, b)
    lost_at = a.now
    a.engine.handle_sessions_lost(now=lost_at)
    a.drain()
    assert RetireSession(0, ours.local_index) in a.commands
    assert a.datagrams == []
    a.expire()
    assert INITIATION_INTERVAL <= a.now - lost_at <= 0.1
    assert len(a.datagrams) == 1


def test_without_a_session_nothing_is_lost(nodes):
    """A dead worker is no reason to speak to strangers."""
    a, _ = nodes
    a.engine.handle_sessions_lost(now=a.now)
    a.drain()
    assert a.datagrams == []


@pytest.mark.parametrize(("in_use", "is_initiator"), [(True, True), (False, False)])
def test_adopted_sessions_are_forgotten_in_time(in_use, is_initiator):
    """Whatever was held is retired 540 s after its birth, confirmed or not."""
    a, _ = make_pair()
    held = HeldSession(
        0, 77, 7, a.now - 40.0, is_initiator, in_use, Cipher.CHACHA20_POLY1305
    )
    born_at = a.now - 40.0
    a.report(SessionsHeld((held,), last=True))
    assert a.expire() == "zero key material"
    assert a.now == born_at + 540.0
    assert a.commands == [RetireSession(0, 77)]


def test_an_adopted_session_can_be_confirmed():
    """The waiting session of the control process before becomes current."""
    a, _ = make_pair()
    a.report(
        SessionsHeld(
            (HeldSession(0, 77, 7, a.now, False, False, Cipher.CHACHA20_POLY1305),),
            last=True,
        )
    )
    a.report(SessionConfirmed(0, 77))
    assert a.commands == [UseSession(0, 77)]


LOW_ORDER = PublicKey(bytes(32))


def test_a_peer_of_low_order_gets_nothing():
    """It may be configured; no packet is ever sent to it."""
    node = Node(1)
    peer = PeerChange(LOW_ORDER, endpoint=Endpoint("192.0.2.7", 1))
    node.configure(peer, private_key=node.key)
    node.up()
    node.report(NeedSession(0))
    assert node.datagrams == []
    assert node.drops() == {}


def test_a_preshared_key_works_from_the_next_handshake(nodes):
    """Set on both sides it is used; set on one side nothing is agreed."""
    a, b = nodes
    key = PresharedKey(b"p" * 32)
    a.configure(PeerChange(b.public, preshared_key=key))
    a.report(NeedSession(0))
    b.receive(a.datagrams[0].data, a.path)
    a.receive(b.datagrams[0].data, b.path)
    assert a.drops() == {"BAD_HANDSHAKE": 1}
    b.configure(PeerChange(a.public, preshared_key=key))
    a.expire()
    advance(6, b)
    b.receive(a.datagrams[0].data, a.path)
    a.receive(b.datagrams[0].data, b.path)
    assert has_event(a, HandshakeCompleted)
