"""The engine as its shell sees it: inputs, outputs, state, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.crypto.keys import PrivateKey
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    ControlReceived,
    EndpointMoved,
    HeldSession,
    NeedSession,
    RekeyDue,
    SendControl,
    SendProbe,
    SessionConfirmed,
    SessionsHeld,
    SetCipher,
    SetEndpoint,
    SetIdentity,
    SetLink,
    TrafficResumed,
    UseSession,
)
from meshnode.ports import Traffic
from meshnode.types import Cipher, Endpoint, Path, Prefix
from meshnode.wireguard.config import PeerChange
from meshnode.wireguard.events import (
    ConfigurationChanged,
    ControlFrame,
    PathChanged,
    PeerStateChanged,
    PeerTrafficResumed,
    TimestampsReserved,
)
from tests.unit.wireguard.engines import WALL, Node, advance, handshake, make_pair

NOBODY = Path(Endpoint("203.0.113.5", 999))


@pytest.fixture
def nodes():
    """Return two nodes that are peers, up, without a session."""
    return make_pair()


def initiation(nodes):
    """Return an initiation from the first node to the second."""
    nodes[0].report(NeedSession(0))
    return nodes[0].datagrams[0].data


def test_the_mark_is_reported_before_the_datagram(nodes):
    """And again and again until it is said to be saved."""
    a, _ = nodes
    a.engine.handle_report(NeedSession(0), now=a.now)
    first = a.engine.next_event()
    assert isinstance(first, TimestampsReserved)
    assert a.engine.next_event() == first
    a.engine.mark_saved(first.mark)
    assert a.engine.next_event() != first
    assert len(a.engine.datagrams_to_send()) == 1


def test_timestamps_stay_above_a_mark_found_late(nodes):
    """A mark kept for our key, raised after the start."""
    a, b = nodes
    far = bytes.fromhex("4000000090000000") + bytes(4)
    a.engine.raise_timestamp_mark(far)
    b.receive(initiation(nodes), a.path)
    assert b.engine.state().peers[0].latest_timestamp > far


def test_queued_output_makes_the_deadline_now(nodes):
    """Until it is drained; then the deadline is that of the timers."""
    a, _ = nodes
    a.engine.handle_report(NeedSession(0), now=a.now)
    assert a.engine.next_deadline().reason == "queued output"
    assert a.engine.next_deadline().at == a.now
    a.drain()
    assert a.engine.next_deadline().reason == "retransmit handshake"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: b"", "BAD_LENGTH"),
        (lambda d: d[:-1], "BAD_LENGTH"),
        (lambda d: d + b"\0", "BAD_LENGTH"),
        (lambda d: b"\x09" + d[1:], "BAD_TYPE"),
        (lambda d: d[:1] + b"\x01" + d[2:], "BAD_TYPE"),
        (lambda d: d[:4] + b"\xff\xff\xff\xff" + d[8:], "BAD_MAC1"),
        (lambda d: d[:116] + bytes(16) + d[132:], "BAD_MAC1"),
    ],
)
def test_bad_datagrams_are_counted_and_change_nothing(nodes, spoil, reason):
    """No exception, no output, no state: just a count by reason."""
    _, b = nodes
    data = spoil(initiation(nodes))
    before = b.engine.state()
    b.receive(data, NOBODY)
    assert b.drops() == {reason: 1}
    assert (b.commands, b.datagrams, b.events) == ([], [], [])
    assert b.engine.state() == before


def test_mac2_is_not_looked_at_without_load(nodes):
    """Any sixteen bytes will do."""
    a, b = nodes
    data = initiation(nodes)[:-16] + b"\xaa" * 16
    b.receive(data, a.path)
    assert len(b.datagrams) == 1


def test_under_load_strangers_get_a_cookie(nodes):
    """A reply of 64 bytes, and the message is dropped; a second later it is not."""
    a, b = nodes
    data = initiation(nodes)
    b.receive(data, a.path, queued=128)
    assert [len(d.data) for d in b.datagrams] == [64]
    assert b.datagrams[0].path == a.path
    assert b.drops() == {"BAD_MAC2": 1}
    advance(0.99, b)
    b.receive(data, a.path)
    assert b.drops() == {"BAD_MAC2": 2}
    advance(1.0, b)
    b.receive(data, a.path)
    assert [len(d.data) for d in b.datagrams] == [92]


def test_under_load_proven_senders_are_limited(nodes):
    """Five at once and twenty a second, however valid their cookie."""
    a, b = nodes
    b.receive(initiation(nodes), a.path, queued=128)
    a.receive(b.datagrams[0].data, b.path)
    a.expire()
    advance(6, b)
    proven = a.datagrams[0].data
    for _ in range(6):
        b.receive(proven, a.path, queued=128)
    assert b.drops()["RATE_LIMITED"] == 1
    assert b.drops()["OLD_TIMESTAMP"] == 4


def test_a_bad_mac1_gets_no_cookie(nodes):
    """Nothing is sent to who does not know our key, load or not."""
    a, b = nodes
    data = bytearray(initiation(nodes))
    data[20] ^= 1
    b.receive(bytes(data), a.path, queued=1000)
    assert b.datagrams == []


def test_an_unknown_initiator_is_refused(nodes):
    """It has a valid mac1 and a valid handshake, but is no peer."""
    a, b = nodes
    b.configure(PeerChange(a.public, remove=True))
    b.receive(initiation(nodes), a.path)
    assert b.drops() == {"UNKNOWN_PEER": 1}
    assert b.datagrams == []


def test_without_a_key_nothing_is_answered(nodes):
    """And without a link neither."""
    a, b = nodes
    data = initiation(nodes)
    b.engine.set_link(mtu=1420, up=False, now=b.now)
    b.receive(data, a.path)
    assert b.drops() == {"DEVICE_DOWN": 1}
    b.configure(clear_private_key=True)
    b.receive(data, a.path)
    assert b.drops()["NO_IDENTITY"] == 1


def test_a_data_index_takes_no_response(nodes):
    """An index that stands for a session is not one that waits for a response."""
    a, b = nodes
    data = initiation(nodes)
    b.receive(data, a.path)
    response = b.datagrams[0].data
    a.receive(response, b.path)
    a.receive(response, b.path)
    assert a.drops() == {"UNKNOWN_INDEX": 1}


def test_a_cookie_nobody_asked_for_is_refused(nodes):
    """For an unknown index, and for a handshake that sent nothing since."""
    a, b = nodes
    b.receive(initiation(nodes), a.path, queued=128)
    cookie = b.datagrams[0].data
    a.receive(cookie, b.path)
    a.receive(cookie, b.path)
    assert a.drops() == {"UNSOLICITED_COOKIE": 1}
    a.receive(cookie[:4] + b"\0\0\0\0" + cookie[8:], b.path)
    assert a.drops()["UNKNOWN_INDEX"] == 1
    a.expire()
    a.receive(cookie[:4] + a.datagrams[0].data[4:8] + cookie[8:], b.path)
    assert a.drops()["BAD_COOKIE"] == 1


@pytest.mark.parametrize(
    "report",
    [
        NeedSession(5),
        TrafficResumed(5),
        EndpointMoved(5, NOBODY),
        SessionConfirmed(5, 1),
        RekeyDue(5, 1, received=True),
        ControlReceived(5, b"\x01"),
        SessionsHeld(
            (HeldSession(5, 1, 7, 0.0, True, True, Cipher.CHACHA20_POLY1305),),
            last=True,
        ),
    ],
)
def test_reports_about_a_peer_that_is_gone_are_ignored(nodes, report):
    """They were written before its removal arrived."""
    a, _ = nodes
    a.report(report)
    assert (a.commands, a.datagrams, a.events) == ([], [], [])


@given(data=st.binary(max_size=200), kind=st.sampled_from([1, 2, 3, 4, 7]))
def test_any_bytes_raise_nothing(data, kind):
    """Whatever arrives, the engine stays quiet and unchanged."""
    node = Node(1)
    node.configure(PeerChange(Node(2).public), private_key=node.key)
    node.up()
    before = node.engine.state()
    for prefix in (b"", bytes((kind, 0, 0, 0))):
        node.receive((prefix + data)[:200], NOBODY, queued=1000)
        assert (node.commands, node.datagrams) == ([], [])
    assert node.engine.state() == before


def test_the_program_is_the_whole_table(nodes):
    """Identity, link, and each peer with its path and prefixes."""
    a, b = nodes
    prefix = Prefix.parse("10.0.0.2/32")
    assert list(a.engine.program()) == [
        SetIdentity(a.public.raw),
        SetLink(1420, True),
        AddPeer(0),
        SetEndpoint(0, Path(b.path.remote)),
        AddAllowedIps(0, (prefix,)),
    ]


def test_a_restored_engine_is_the_same(nodes):
    """What `state` returned is what `state` returns, and nothing is queued."""
    a, b = nodes
    handshake(a, b)
    b.configure(PeerChange(a.public, persistent_keepalive=30), fwmark=7, listen_port=9)
    state = b.engine.state()
    other = Node(2)
    other.engine.restore(state, now=other.now)
    other.drain()
    assert other.engine.state() == state
    assert (other.commands, other.datagrams, other.events) == ([], [], [])
    assert other.engine.peer_state(0) == state.peers[0]
    assert other.engine.peer_state(1) is None


def test_a_restored_engine_refuses_old_initiations(nodes):
    """The greatest timestamp is part of the state."""
    a, b = nodes
    data = initiation(nodes)
    b.receive(data, a.path)
    other = Node(2)
    other.engine.restore(b.engine.state(), now=other.now)
    other.up()
    other.receive(data, a.path)
    assert other.drops() == {"OLD_TIMESTAMP": 1}


def test_an_adopted_session_renews_as_before(nodes):
    """The sessions the workers hold are enough to go on."""
    a, b = nodes
    ours, _ = handshake(a, b)
    other = Node(1)
    other.engine.restore(a.engine.state(), now=other.now)
    held = HeldSession(
        0, ours.local_index, 7, ours.born_at, True, True, Cipher.CHACHA20_POLY1305
    )
    other.report(SessionsHeld((held,), last=True))
    other.up()
    other.report(RekeyDue(0, ours.local_index, received=False))
    assert len(other.datagrams) == 1


def test_the_status_is_what_wg_shows(nodes):
    """Port, mark, endpoint, bytes and the time of the handshake."""
    a, b = nodes
    a.configure(listen_port=4711, fwmark=3)
    handshake(a, b)
    status = a.engine.status()
    assert (status.listen_port, status.fwmark) == (4711, 3)
    assert status.private_key == a.key
    (peer,) = status.peers
    assert peer.endpoint == b.path.remote
    assert (peer.sent_bytes, peer.received_bytes) == (148, 92)
    assert peer.last_handshake[0] == int(WALL)
    assert peer.allowed_ips == [Prefix.parse("10.0.0.2/32")]
    a.engine.set_listen_port(1234)
    assert a.engine.status().listen_port == 1234


def test_a_peer_that_never_spoke_has_no_handshake_time(nodes):
    """Zero seconds stand for never."""
    assert nodes[0].engine.status().peers[0].last_handshake == (0, 0)


def test_what_must_be_persisted_is_announced(nodes):
    """A configuration, and the state of a peer."""
    a, b = nodes
    a.configure(fwmark=1)
    assert a.events == [ConfigurationChanged()]
    b.receive(initiation(nodes), a.path)
    assert PeerStateChanged(0) in b.events


def test_a_bigger_mtu_does_not_restart_the_link(nodes):
    """Only up and down do."""
    a, b = nodes
    handshake(a, b)
    a.engine.set_link(mtu=9000, up=True, now=a.now)
    a.drain()
    assert a.commands == [SetLink(9000, True)]


def test_a_changed_key_changes_the_mac1_we_accept(nodes):
    """Messages for the key before are refused as not made for us."""
    a, b = nodes
    data = initiation(nodes)
    b.configure(private_key=PrivateKey(b"n" * 32))
    b.receive(data, a.path)
    assert b.drops() == {"BAD_MAC1": 1}


def test_the_data_plane_learns_the_order_of_things(nodes):
    """A session is used only after it was installed."""
    a, b = nodes
    handshake(a, b)
    names = [type(command).__name__ for command in a.commands]
    assert names.index("InstallSession") < names.index("UseSession")
    assert isinstance(a.commands[-2], UseSession)


# --- what a mesh asks for ---

FRAME = b"\x01\x03\x00\x92\x06\x07"
STRANGER = PrivateKey(b"s" * 32).public_key()


def test_control_frames_pass_in_both_directions(nodes):
    """A command out, an event in, and a peer that is gone is nobody."""
    a, b = nodes
    a.engine.send_control(b.public, FRAME, now=a.now)
    a.engine.send_control(STRANGER, FRAME, now=a.now)
    a.drain()
    assert a.commands == [SendControl(0, FRAME)]
    a.report(ControlReceived(0, FRAME + bytes(10)))
    assert a.events == [ControlFrame(0, b.public, FRAME + bytes(10))]
    a.report(ControlReceived(5, FRAME))
    assert a.events == []


@pytest.mark.parametrize("frame", [b"", b"\x02", b"\x01" * 1204])
def test_what_is_no_control_frame_is_refused(nodes, frame):
    """Before it could be taken for a packet, or for no command at all."""
    a, b = nodes
    with pytest.raises(ValueError, match="control frame"):
        a.engine.send_control(b.public, frame, now=a.now)
    a.engine.send_control(b.public, b"\x01" * 1203, now=a.now)


def test_probes_are_commands_and_what_was_cut_off_is_told(nodes):
    """A peer that is gone is nobody; sizes that cannot be are refused."""
    a, b = nodes
    a.engine.send_probe(b.public, FRAME, 8920, now=a.now)
    a.engine.send_probe(STRANGER, FRAME, 8920, now=a.now)
    a.drain()
    assert a.commands == [SendProbe(0, FRAME, 8920)]
    for frame, size in (
        (b"", 8920),
        (b"\1" * 257, 8920),
        (FRAME, 255),
        (FRAME, 65_456),
    ):
        with pytest.raises(ValueError, match=r"not a"):
            a.engine.send_probe(b.public, frame, size, now=a.now)
    a.report(ControlReceived(0, FRAME, 8914))
    assert a.events == [ControlFrame(0, b.public, FRAME, 8914)]


def test_padding_is_limited_whatever_the_device_takes(nodes):
    """The data plane is told of the smaller MTU, whenever it is told."""
    a, _ = nodes
    a.engine.limit_padding(1420)
    for mtu, told in ((8920, 1420), (1400, 1400)):
        a.engine.set_link(mtu=mtu, up=True, now=a.now)
        a.drain()
        assert a.commands == [SetLink(told, True)]
        assert SetLink(told, True) in list(a.engine.program())


def test_another_path_is_told(nodes):
    """Once, to whoever knows things about paths."""
    a, b = nodes
    path = Path(Endpoint("192.0.2.77", 7))
    a.report(EndpointMoved(0, path))
    assert a.events.count(PathChanged(0, b.public)) == 1
    a.report(EndpointMoved(0, path))
    assert a.events == []


def test_traffic_that_resumes_is_told(nodes):
    """To whoever watches over paths."""
    a, b = nodes
    a.report(TrafficResumed(0))
    assert a.events == [PeerTrafficResumed(0, b.public)]


def test_questions_about_a_peer(nodes):
    """Where it is, what passed, whether there is a session young enough."""
    a, b = nodes
    assert not a.engine.has_session(b.public, now=a.now)
    handshake(a, b)
    assert a.engine.has_session(b.public, now=a.now + 179)
    assert not a.engine.has_session(b.public, now=a.now + 180)
    assert a.engine.path_of(b.public) == b.path
    assert a.engine.traffic_of(b.public).received_bytes == 92


def test_questions_about_nobody(nodes):
    """Neither raise nor change anything."""
    a, _ = nodes
    assert a.engine.path_of(STRANGER) is None
    assert a.engine.traffic_of(STRANGER) == Traffic()
    assert not a.engine.has_session(STRANGER, now=a.now)
    a.engine.set_candidates(STRANGER, [Endpoint("192.0.2.9", 9)], now=a.now)
    a.engine.drop_waiting(STRANGER, now=a.now)
    a.drain()
    assert (a.commands, a.datagrams, a.events) == ([], [], [])


def test_a_sought_peer_is_sought_after_a_restart(nodes):
    """It is part of the state that outlives a control process."""
    a, b = nodes
    a.configure(PeerChange(b.public, is_sought=True))
    later = Node(1, now=a.now)
    later.engine.restore(a.engine.state(), now=later.now)
    assert later.engine.state() == a.engine.state()
    assert AddPeer(0, is_sought=True) in list(later.engine.program())
    assert a.engine.peer_state(0).is_sought


def test_an_introduction_is_no_message_of_ours(nodes):
    """Without a mesh, type 7 is an unknown type."""
    a, b = nodes
    a.receive((7).to_bytes(4, "little") + bytes(200), b.path)
    assert a.drops() == {"BAD_TYPE": 1}


AES = Cipher.AES_256_GCM


def test_a_cipher_is_used_in_the_session_that_the_peer_names(nodes):
    """By its own index; again, unknown, or of nobody, it is nothing."""
    a, b = nodes
    assert a.engine.sessions_of(b.public) == ()
    ours, theirs = handshake(a, b)
    assert a.engine.sessions_of(b.public) == (ours.local_index,)
    assert b.engine.sessions_of(a.public) == (theirs.local_index,)
    assert a.engine.status().peers[0].cipher is Cipher.CHACHA20_POLY1305
    for index in (theirs.local_index, theirs.local_index, ours.local_index):
        a.engine.use_cipher(b.public, index, AES, now=a.now)
    a.engine.use_cipher(a.public, theirs.local_index, AES, now=a.now)
    assert a.engine.commands_to_forward() == [SetCipher(0, ours.local_index, AES)]
    assert a.engine.status().peers[0].cipher is AES
    assert a.engine.sessions_of(a.public) == ()


def test_the_next_session_begins_anew(nodes):
    """And what is said late of the one before changes that one only."""
    a, b = nodes
    handshake(a, b)
    _, theirs = first = handshake_again(a, b)
    ours, theirs_now = handshake_again(a, b)
    assert a.engine.status().peers[0].cipher is Cipher.CHACHA20_POLY1305
    a.engine.use_cipher(b.public, theirs.local_index, AES, now=a.now)
    (command,) = a.engine.commands_to_forward()
    assert command == SetCipher(0, first[0].local_index, AES)
    assert a.engine.status().peers[0].cipher is Cipher.CHACHA20_POLY1305
    a.engine.use_cipher(b.public, theirs_now.local_index, AES, now=a.now)
    (command,) = a.engine.commands_to_forward()
    assert command == SetCipher(0, ours.local_index, AES)


def test_sessions_that_crossed_are_both_named(nodes):
    """Each side sends under the one that it began, and receives under both."""
    a, b = nodes
    a.report(NeedSession(0))
    b.report(NeedSession(0))
    asked_a, asked_b = a.datagrams[0].data, b.datagrams[0].data
    a.receive(asked_b, b.path)
    b.receive(asked_a, a.path)
    answer_a, answer_b = a.datagrams[0].data, b.datagrams[0].data
    answered_a, answered_b = a.session(), b.session()
    a.receive(answer_b, b.path)
    b.receive(answer_a, a.path)
    began_a, began_b = a.session(), b.session()
    assert began_a.remote_index == answered_b.local_index
    for node, other, began, answered in (
        (a, b, began_b, answered_a),
        (b, a, began_a, answered_b),
    ):
        told = node.engine.sessions_of(other.public)
        assert answered.local_index in told
        assert began.remote_index in told
        for index in told:
            other.engine.use_cipher(node.public, index, AES, now=other.now)
        assert other.engine.status().peers[0].cipher is AES


def handshake_again(a, b):
    """Let time pass until another handshake may be, and make it."""
    advance(10.0, a, b)
    return handshake(a, b)


def test_ciphers_outlive_control(nodes):
    """The workers say what they send under."""
    a, b = nodes
    ours, theirs = handshake(a, b)
    held = HeldSession(
        *(0, ours.local_index, theirs.local_index, ours.born_at, True, True, AES)
    )
    other = Node(1)
    other.engine.restore(a.engine.state(), now=other.now)
    other.report(SessionsHeld((held,), last=True))
    assert other.engine.status().peers[0].cipher is AES
    chacha = Cipher.CHACHA20_POLY1305
    other.engine.use_cipher(b.public, theirs.local_index, chacha, now=other.now)
    assert other.engine.commands_to_forward() == [
        SetCipher(0, ours.local_index, chacha)
    ]
