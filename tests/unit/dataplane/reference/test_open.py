"""The receiving half: the order of the checks, roaming, facts and inner rules."""

import random

import pytest

from meshnode.crypto.transport import Arena
from meshnode.dataplane.interface import MAX_WAITING_FRAMES
from meshnode.dataplane.reference import open as opening
from meshnode.dataplane.reference.open import FRAMES_PER_SECOND, OpenHalf
from meshnode.dataplane.traffic import IngressRecorder
from meshnode.errors import DropReason
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    Command,
    ControlReceived,
    EndpointMoved,
    InstallSession,
    PreferSession,
    RekeyDue,
    RemovePeer,
    Report,
    RetireSession,
    SessionConfirmed,
    SetEndpoint,
    SetIdentity,
    SetLink,
    ShareOfPrefix,
    SharePrefix,
    TrafficResumed,
    UnsharePrefix,
)
from meshnode.types import Cipher, Datagram, Endpoint, Path, Prefix, Source
from meshnode.wireguard.constants import REJECT_AFTER_MESSAGES
from tests.inner_packets import ip_packet, tcp_packet
from tests.unit.dataplane.reference.halves import (
    BORN_AT,
    INDEX,
    MTU,
    OTHER_PATH,
    PATH,
    SLOT,
    needs_aes,
    program,
    seal_data,
    session,
    start_session,
    traffic_memory,
)
from tests.unit.dataplane.test_gate import OURS, introduction, message

NOW = BORN_AT + 1
CONFIRMED = SessionConfirmed(SLOT, INDEX)
RESUMED = TrafficResumed(SLOT)
PACKET = ip_packet(4, 99, bytes(80))


class Ingress:
    """A receiving half with its memory, driven as the simulation does."""

    def __init__(self) -> None:
        table, self.view = traffic_memory()
        self.half = OpenHalf(1, IngressRecorder(table))
        self.apply(*program())
        self.half.reports()

    def apply(self, *commands: Command) -> None:
        """Obey commands."""
        for command in commands:
            self.half.apply(command, now=NOW)

    def receive(self, *datagrams: bytes, path: Path = PATH, now: float = NOW) -> None:
        """Take datagrams one by one."""
        for datagram in datagrams:
            self.half.receive(datagram, path, now=now)

    def receive_burst(self, data: bytes, segment_size: int) -> None:
        """Take datagrams in one buffer, as the kernel coalesces them."""
        arena = Arena(65535)
        arena.data[: len(data)] = data
        self.half.receive_burst(arena, len(data), segment_size, PATH, now=NOW)

    def delivered(self) -> list[bytes]:
        """Return the inner packets since the last call."""
        return self.half.packets_to_deliver()

    def reports(self) -> list[Report]:
        """Return the reports since the last call."""
        return self.half.reports()

    def dropped(self) -> dict[DropReason, int]:
        """Return the drop counters that are not 0."""
        return {reason: count for reason, count in self.half.drops.items() if count}

    def assert_undisturbed(self, reason: DropReason, count: int = 1) -> None:
        """All was dropped for one reason, and nothing else happened at all."""
        assert self.dropped() == {reason: count}
        assert self.delivered() == []
        assert self.half.handshakes() == []
        assert self.reports() == []
        assert self.view.read(SLOT).received_packets == 0


@pytest.fixture
def ingress() -> Ingress:
    """A half with one session."""
    made = Ingress()
    made.apply(*start_session(session()))
    return made


# --- the way through ---


def test_a_session_announced_but_not_yet_read_is_not_unknown() -> None:
    """Commands that wait are obeyed before a datagram is dropped for want of one."""
    ingress = Ingress()
    ingress.half.catch_up = lambda: ingress.apply(*start_session(session()))
    ingress.receive(seal_data(PACKET, 0))
    assert ingress.delivered() == [PACKET]
    assert ingress.dropped() == {}


def test_a_packet_comes_out_without_its_padding(ingress: Ingress) -> None:
    """Delivered, counted, confirmed, and control hears of the first one."""
    datagram = seal_data(PACKET + bytes(12), 0)
    ingress.receive(datagram)
    assert ingress.delivered() == [PACKET]
    assert ingress.delivered() == []
    assert ingress.reports() == [CONFIRMED, RESUMED]
    facts = ingress.view.read(SLOT)
    assert (facts.received_packets, facts.received_bytes) == (1, len(datagram))
    assert facts.last_data_received_at == facts.unacknowledged_since == NOW
    ingress.receive(seal_data(PACKET, 1))
    assert ingress.delivered() == [PACKET]
    assert ingress.reports() == []
    assert ingress.dropped() == {}


def test_keepalives_are_counted_and_end_there(ingress: Ingress) -> None:
    """An empty packet confirms and is owed no answer."""
    ingress.receive(seal_data(b"", 0))
    assert ingress.delivered() == []
    assert ingress.reports() == [CONFIRMED]
    facts = ingress.view.read(SLOT)
    assert (facts.received_packets, facts.received_bytes) == (1, 32)
    assert facts.last_received_at == NOW
    assert facts.unacknowledged_since is None
    assert ingress.dropped() == {}


def test_any_order_within_the_window(ingress: Ingress, rng: random.Random) -> None:
    """Reordered datagrams are all delivered, each once."""
    datagrams = [
        seal_data(ip_packet(4, 99, bytes((n % 256,)) * 4, number=n), n)
        for n in range(500)
    ]
    rng.shuffle(datagrams)
    ingress.receive(*datagrams, *datagrams)
    packets = ingress.delivered()
    assert len(set(packets)) == len(packets) == 500
    assert ingress.dropped() == {DropReason.REPLAY: 500}


def test_a_burst_is_taken_apart(ingress: Ingress) -> None:
    """Equal datagrams and a shorter last one, in one buffer."""
    datagrams = [seal_data(PACKET, n) for n in range(3)]
    datagrams.append(seal_data(PACKET[:4] + bytes(16), 3))
    short = ip_packet(4, 99, b"")
    datagrams[3] = seal_data(short, 3)
    ingress.receive_burst(b"".join(datagrams), len(datagrams[0]))
    assert ingress.delivered() == [PACKET, PACKET, PACKET, short]
    assert ingress.reports() == [CONFIRMED, RESUMED]
    facts = ingress.view.read(SLOT)
    assert facts.received_bytes == sum(map(len, datagrams))


def test_a_bad_datagram_spoils_no_other(ingress: Ingress) -> None:
    """Every datagram of a burst is judged by itself."""
    datagrams = [bytearray(seal_data(PACKET, n)) for n in range(4)]
    datagrams[1][20] ^= 1
    datagrams[2][4] ^= 1
    ingress.receive_burst(b"".join(datagrams), len(datagrams[0]))
    assert len(ingress.delivered()) == 2
    assert ingress.dropped() == {DropReason.BAD_TAG: 1, DropReason.UNKNOWN_INDEX: 1}


# --- what does not authenticate ---


@pytest.mark.parametrize("size", range(32))
def test_too_short_for_anything(ingress: Ingress, size: int) -> None:
    """Data below 32 bytes is BAD_LENGTH, the empty datagram too."""
    ingress.receive(seal_data(b"", 0)[:size])
    ingress.assert_undisturbed(DropReason.BAD_LENGTH)


@pytest.mark.parametrize("kind", [0, 9, 255, 0x104, 0x04000004, 2**32 - 1])
@pytest.mark.parametrize("size", [4, 32, 148])
def test_unknown_types(ingress: Ingress, kind: int, size: int) -> None:
    """Other types, and data with reserved bytes, are dropped."""
    ingress.receive(kind.to_bytes(4, "little") + bytes(size - 4))
    ingress.assert_undisturbed(DropReason.BAD_TYPE)


def test_unknown_index(ingress: Ingress) -> None:
    """An index we never gave, or no longer hold."""
    ingress.receive(seal_data(PACKET, 0, index=INDEX + 1))
    ingress.apply(RetireSession(SLOT, INDEX))
    ingress.receive(seal_data(PACKET, 0))
    ingress.assert_undisturbed(DropReason.UNKNOWN_INDEX, 2)


def test_no_altered_bit_is_accepted(ingress: Ingress) -> None:
    """Every flipped bit of a data message is noticed, and the original still opens."""
    datagram = seal_data(PACKET, 5)
    for bit in range(8 * len(datagram)):
        altered = bytearray(datagram)
        altered[bit // 8] ^= 1 << bit % 8
        ingress.receive(bytes(altered), path=OTHER_PATH)
    assert ingress.delivered() == []
    assert ingress.reports() == []
    assert ingress.view.read(SLOT).received_packets == 0
    ingress.receive(datagram)
    assert ingress.delivered() == [PACKET]


def test_expired_sessions_open_nothing(ingress: Ingress) -> None:
    """From 180 s on data is refused before the cipher."""
    ingress.receive(seal_data(PACKET, 0), now=BORN_AT + 180)
    ingress.assert_undisturbed(DropReason.KEY_EXPIRED)
    ingress.receive(seal_data(PACKET, 0), now=BORN_AT + 179.999)
    assert ingress.delivered() == [PACKET]


def test_counters_at_the_limit(ingress: Ingress) -> None:
    """The last counter opens; the limit and all above it do not."""
    for counter in (REJECT_AFTER_MESSAGES, 2**64 - 1):
        ingress.receive(seal_data(PACKET, counter))
    ingress.assert_undisturbed(DropReason.COUNTER_LIMIT, 2)
    ingress.receive(seal_data(PACKET, REJECT_AFTER_MESSAGES - 1))
    assert ingress.delivered() == [PACKET]


def test_forged_counters_do_not_move_the_window(ingress: Ingress) -> None:
    """A forged far counter shuts no real packet out."""
    forged = bytearray(seal_data(PACKET, 0))
    forged[8:16] = (2**40).to_bytes(8, "little")
    ingress.receive(bytes(forged))
    ingress.assert_undisturbed(DropReason.BAD_TAG)
    ingress.receive(seal_data(PACKET, 0))
    assert ingress.delivered() == [PACKET]


def test_replays_change_nothing(ingress: Ingress) -> None:
    """A repeated datagram from elsewhere moves no endpoint and counts nowhere."""
    datagram = seal_data(PACKET, 0)
    ingress.receive(datagram)
    ingress.delivered()
    ingress.reports()
    before = ingress.view.read(SLOT)
    ingress.receive(datagram, path=OTHER_PATH, now=NOW + 9)
    assert ingress.dropped() == {DropReason.REPLAY: 1}
    assert ingress.delivered() == []
    assert ingress.reports() == []
    assert ingress.view.read(SLOT) == before


def test_a_replayed_counter_costs_no_decryption(ingress: Ingress) -> None:
    """A counter seen before is refused for that, before its tag is looked at."""
    ingress.receive(seal_data(PACKET, 0))
    altered = bytearray(seal_data(PACKET, 0))
    altered[-1] ^= 1
    ingress.receive(bytes(altered))
    assert ingress.dropped() == {DropReason.REPLAY: 1}


def test_a_down_link_takes_nothing(ingress: Ingress) -> None:
    """While the interface is down, data and handshakes are dropped."""
    ingress.apply(SetIdentity(OURS), SetLink(MTU, False))
    ingress.receive(seal_data(PACKET, 0), message(1))
    ingress.assert_undisturbed(DropReason.DEVICE_DOWN, 2)


# --- inner rules ---


@pytest.mark.parametrize(
    "inner",
    [
        b"\x00" * 16,
        b"\x45" + bytes(31),
        PACKET[:48],
        b"\x75" + PACKET[1:],
        ip_packet(6, 99, bytes(64))[:96],
    ],
)
def test_malformed_inner_packets(ingress: Ingress, inner: bytes) -> None:
    """They count as authenticated, roam and confirm, but are not delivered."""
    ingress.receive(seal_data(inner, 0), path=OTHER_PATH)
    assert ingress.delivered() == []
    assert ingress.dropped() == {DropReason.BAD_INNER: 1}
    moved = EndpointMoved(SLOT, OTHER_PATH)
    assert set(ingress.reports()) == {CONFIRMED, RESUMED, moved}
    assert ingress.view.read(SLOT).received_packets == 1


@pytest.mark.parametrize("version", [4, 6])
def test_sources_of_others_are_refused(ingress: Ingress, version: int) -> None:
    """A prefix that another peer has taken more exactly is no longer this one's."""
    inner = ip_packet(version, 99, bytes(4))
    ingress.receive(seal_data(inner, 0))
    assert ingress.delivered() == [inner]
    taken = Prefix.parse("10.0.0.1/32" if version == 4 else "fd00::1/128")
    ingress.apply(AddPeer(5), AddAllowedIps(5, (taken,)))
    ingress.reports()
    ingress.receive(seal_data(inner, 1), path=OTHER_PATH)
    assert ingress.delivered() == []
    assert ingress.dropped() == {DropReason.BAD_SOURCE: 1}
    assert ingress.reports() == [EndpointMoved(SLOT, OTHER_PATH)]


def test_sources_of_nobody_are_refused(ingress: Ingress) -> None:
    """A source without any owner is refused as well."""
    inner = bytearray(PACKET)
    inner[12] = 77
    ingress.receive(seal_data(bytes(inner), 0))
    assert ingress.delivered() == []
    assert ingress.dropped() == {DropReason.BAD_SOURCE: 1}


def test_a_stream_is_delivered_as_it_was(ingress: Ingress) -> None:
    """TCP segments pass unchanged; packing them is not this half's business."""
    packets = [tcp_packet(4, bytes(500), sequence=500 * n) for n in range(5)]
    ingress.receive(*[seal_data(one, n) for n, one in enumerate(packets)])
    assert ingress.delivered() == packets


# --- roaming, confirmation, rekeying ---


def test_the_last_place_of_a_batch_wins(ingress: Ingress) -> None:
    """Moves are reported once a batch; one that ends where it began is told, too."""
    ingress.receive(seal_data(b"", 0), path=OTHER_PATH)
    ingress.receive(seal_data(b"", 1), path=Path(Endpoint("192.0.2.9", 1)))
    assert ingress.reports() == [
        CONFIRMED,
        EndpointMoved(SLOT, Path(Endpoint("192.0.2.9", 1))),
    ]
    ingress.receive(seal_data(b"", 2), path=Path(Endpoint("192.0.2.9", 1)))
    assert ingress.reports() == []


@pytest.mark.parametrize(
    "path",
    [
        Path(Endpoint("192.0.2.1", 51821)),
        Path(Endpoint("192.0.2.2", 51820)),
        Path(Endpoint("192.0.2.1", 51820), Source("198.51.100.1", 2)),
    ],
)
def test_every_part_of_a_path_counts(ingress: Ingress, path: Path) -> None:
    """Another port, host or local address is another path."""
    ingress.receive(seal_data(b"", 0), path=path)
    assert ingress.reports() == [CONFIRMED, EndpointMoved(SLOT, path)]


def test_an_equal_path_is_no_move(ingress: Ingress) -> None:
    """Equality counts, not identity."""
    ingress.receive(seal_data(b"", 0), path=Path(Endpoint("192.0.2.1", 51820)))
    assert ingress.reports() == [CONFIRMED]


def test_an_endpoint_set_by_hand_moves_back(ingress: Ingress) -> None:
    """After control has set another endpoint the next packet roams again."""
    ingress.apply(SetEndpoint(SLOT, OTHER_PATH))
    ingress.receive(seal_data(b"", 0))
    assert ingress.reports() == [CONFIRMED, EndpointMoved(SLOT, PATH)]


def test_each_session_is_confirmed_once(ingress: Ingress) -> None:
    """The report comes with the first packet under every session."""
    ingress.apply(InstallSession(SLOT, session(index=9)))
    for counter in range(3):
        ingress.receive(seal_data(b"", counter), seal_data(b"", counter, index=9))
    assert ingress.reports() == [CONFIRMED, SessionConfirmed(SLOT, 9)]


@pytest.mark.parametrize("is_initiator", [True, False])
def test_egress_hears_of_a_session_before_the_reply(is_initiator: bool) -> None:
    """Its first packet says that we may answer under it; who began it does anyway."""
    ingress = Ingress()
    ingress.apply(*start_session(session(is_initiator=is_initiator)))
    ingress.receive(seal_data(b"", 0))
    assert ingress.half.moves() == [PreferSession(SLOT, INDEX)] * (not is_initiator)
    ingress.receive(seal_data(b"", 1))
    assert ingress.half.moves() == []


@pytest.mark.parametrize("is_initiator", [True, False])
def test_rekey_when_received_late(is_initiator: bool) -> None:
    """After 165 s only who began the session asks for its renewal, once."""
    ingress = Ingress()
    ingress.apply(*start_session(session(is_initiator=is_initiator)))
    ingress.receive(seal_data(b"", 0), now=BORN_AT + 165)
    assert ingress.reports() == [CONFIRMED]
    for counter in (1, 2):
        ingress.receive(seal_data(b"", counter), now=BORN_AT + 165 + counter)
    due = RekeyDue(SLOT, INDEX, received=True)
    assert ingress.reports() == [due] * is_initiator


# --- handshakes ---


def test_handshakes_pass_up_with_their_path(ingress: Ingress) -> None:
    """Right messages go to control unchanged; nothing else happens."""
    ingress.apply(SetIdentity(OURS))
    ingress.receive(*[message(kind) for kind in (1, 2, 3)], path=OTHER_PATH)
    assert ingress.half.handshakes() == [
        Datagram(message(kind), OTHER_PATH) for kind in (1, 2, 3)
    ]
    assert ingress.half.handshakes() == []
    assert ingress.reports() == []


def test_the_gate_decides(ingress: Ingress) -> None:
    """Without our identity or with a bad mac1, control is not bothered."""
    ingress.receive(message(1))
    assert ingress.dropped() == {DropReason.NO_IDENTITY: 1}
    ingress.apply(SetIdentity(OURS))
    ingress.receive(message(1, key=bytes(32)))
    ingress.receive(message(1)[:-1])
    assert ingress.half.handshakes() == []
    assert ingress.dropped() == {
        DropReason.NO_IDENTITY: 1,
        DropReason.BAD_MAC1: 1,
        DropReason.BAD_LENGTH: 1,
    }


def flood(ingress: Ingress, path: Path) -> int:
    """Offer handshakes from *path*; return how many reached control."""
    ingress.receive(*[message(1)] * 2000, path=path)
    return len(ingress.half.handshakes())


def test_known_peers_are_not_starved_by_strangers(ingress: Ingress) -> None:
    """The gate knows where peers are: by command, by roaming, and until they go."""
    ingress.apply(SetIdentity(OURS))
    stranger = Path(Endpoint("203.0.113.1", 9))
    assert 0 < flood(ingress, stranger) < 2000
    assert flood(ingress, OTHER_PATH) == 0
    ingress.receive(seal_data(b"", 0), path=OTHER_PATH)
    assert flood(ingress, OTHER_PATH) > 0
    assert flood(ingress, PATH) == 0
    ingress.apply(RemovePeer(SLOT))
    assert not ingress.half._sources.count


def test_programs_renew_the_known_places(ingress: Ingress) -> None:
    """After a program the places are those of the new table."""
    ingress.apply(*program(path=OTHER_PATH))
    assert dict(ingress.half._sources.count) == {("192.0.2.2", 4000): 1}
    ingress.apply(program()[0], AddPeer(5), *program()[-1:])
    assert not ingress.half._sources.count


def test_any_bytes_at_all(ingress: Ingress, rng: random.Random) -> None:
    """Random bursts raise nothing, report nothing and deliver nothing.

    Only a cookie reply proves nothing before control has looked at it.
    """
    ingress.apply(SetIdentity(OURS))
    for _ in range(3000):
        data = bytearray(rng.randbytes(rng.randrange(200)))
        if rng.random() < 0.7:
            data[:4] = rng.choice((1, 2, 3, 4, 5)).to_bytes(4, "little")
        if rng.random() < 0.5:
            data[4:8] = INDEX.to_bytes(4, "little")
        ingress.receive_burst(bytes(data), rng.randrange(1, 210))
    assert ingress.delivered() == []
    passed = ingress.half.handshakes()
    assert all(len(d.data) == 64 and d.data[:4] == b"\3\0\0\0" for d in passed)
    assert ingress.reports() == []


# --- control frames ---

FRAME = b"\x01\x03\x00\x92\x06\x07"


def frame(number: int) -> bytes:
    """Build one of many different frames."""
    return FRAME + number.to_bytes(4, "big")


def test_a_control_frame_goes_to_control(ingress: Ingress) -> None:
    """It counts, confirms and moves the peer as data does, and is no packet."""
    ingress.receive(seal_data(FRAME + bytes(10), 0), path=OTHER_PATH)
    assert ingress.delivered() == []
    moves = [SetEndpoint(SLOT, OTHER_PATH), PreferSession(SLOT, INDEX)]
    assert ingress.half.moves() == moves
    assert ingress.reports() == [
        CONFIRMED,
        ControlReceived(SLOT, FRAME + bytes(10), path=OTHER_PATH),
        RESUMED,
        EndpointMoved(SLOT, OTHER_PATH),
    ]
    facts = ingress.view.read(SLOT)
    assert (facts.received_packets, facts.received_bytes) == (1, 48)
    assert facts.last_data_received_at == facts.unacknowledged_since == NOW
    assert ingress.dropped() == {}


def test_a_replayed_control_frame_is_none(ingress: Ingress) -> None:
    """It is authenticated like everything else."""
    datagram = seal_data(FRAME, 0)
    forged = bytearray(seal_data(FRAME, 1))
    forged[20] ^= 1
    ingress.receive(datagram, datagram, bytes(forged))
    frames = [r for r in ingress.reports() if isinstance(r, ControlReceived)]
    assert len(frames) == 1
    assert ingress.dropped() == {DropReason.REPLAY: 1, DropReason.BAD_TAG: 1}


@pytest.mark.parametrize("size", [1, 6, 1218, 1219, 8920, 65_455])
def test_the_length_of_control_frames_is_bounded(ingress: Ingress, size: int) -> None:
    """1,203 bytes and 15 of padding; of more only the message goes to control."""
    whole = (FRAME + bytes(size))[:size]
    ingress.receive(seal_data(whole, 0))
    kept = whole if size <= 1218 else FRAME
    assert ControlReceived(SLOT, kept, size - len(kept), PATH) in ingress.reports()
    assert ingress.dropped() == {}
    assert ingress.delivered() == []


def test_a_frame_that_says_it_is_longer_is_cut(ingress: Ingress) -> None:
    """At what the longest has: control refuses it."""
    ingress.receive(seal_data(b"\x01\xff\xff" + bytes(8000), 0))
    [frame] = [r for r in ingress.reports() if isinstance(r, ControlReceived)]
    assert (len(frame.frame), frame.cut) == (1218, 8003 - 1218)


def test_control_frames_of_a_peer_are_limited(ingress: Ingress) -> None:
    """200 at once and 200 a second; packets are not slowed by it."""

    def taken(first: int, count: int, now: float) -> int:
        for number in range(first, first + count):
            ingress.receive(seal_data(frame(number), number), now=now)
        return sum(isinstance(r, ControlReceived) for r in ingress.reports())

    assert taken(0, 250, NOW) == FRAMES_PER_SECOND == 200
    assert taken(250, 100, NOW + 0.253) == 50
    assert ingress.dropped() == {DropReason.CONTROL_FULL: 50 + 50}
    ingress.receive(seal_data(PACKET, 999))
    assert ingress.delivered() == [PACKET]
    ingress.reports()
    assert ingress.view.read(SLOT).received_packets == 351


def test_control_frames_of_one_batch_are_limited(ingress: Ingress) -> None:
    """However many peers send them, a worker keeps 256."""
    for slot in range(SLOT + 1, SLOT + 3):
        ingress.apply(AddPeer(slot), InstallSession(slot, session(index=slot)))
    for slot in range(SLOT + 1, SLOT + 3):
        for number in range(150):
            ingress.receive(seal_data(frame(number), number, index=slot))
    reports = ingress.reports()
    assert sum(isinstance(r, ControlReceived) for r in reports) == MAX_WAITING_FRAMES
    assert ingress.dropped() == {DropReason.CONTROL_FULL: 300 - 256}
    ingress.receive(seal_data(FRAME, 150, index=SLOT + 1))
    assert ControlReceived(SLOT + 1, FRAME, path=PATH) in ingress.reports()


# --- shared prefixes ---


def test_sources_of_a_shared_prefix_are_accepted_from_its_owners(
    ingress: Ingress,
) -> None:
    """Who carries flows, and who may only speak; not who had it before."""
    net = Prefix.parse("10.0.0.0/24")
    other = SLOT + 1
    ingress.apply(AddPeer(other))
    forward = (ShareOfPrefix(other, 1),)
    ingress.apply(SharePrefix(net, forward, (other, SLOT)))
    ingress.receive(seal_data(PACKET, 0))
    assert ingress.delivered() == [PACKET]
    ingress.apply(SharePrefix(net, forward, (other,)))
    ingress.receive(seal_data(PACKET, 1))
    ingress.apply(UnsharePrefix(net))
    ingress.receive(seal_data(PACKET, 2))
    assert ingress.delivered() == []
    assert ingress.dropped() == {DropReason.BAD_SOURCE: 2}
    ingress.apply(AddAllowedIps(SLOT, (net,)))
    ingress.receive(seal_data(PACKET, 3))
    assert ingress.delivered() == [PACKET]


# --- introductions ---


def test_introductions_are_passed_up(ingress: Ingress) -> None:
    """With their path, like handshakes, if the gate admits them."""
    good, bad = introduction(), introduction(key=bytes(32))
    ingress.apply(SetIdentity(OURS))
    ingress.receive(good, bad)
    assert ingress.half.handshakes() == [Datagram(good, PATH)]
    assert ingress.dropped() == {DropReason.BAD_MAC1: 1}


# --- the second cipher ---

AES = Cipher.AES_256_GCM


@needs_aes
def test_either_cipher_opens_at_any_time() -> None:
    """In one window, one burst even, and with the same facts."""
    ingress = Ingress()
    ingress.apply(*start_session(session()))
    ciphers = [AES, Cipher.CHACHA20_POLY1305] * 3
    datagrams = [
        seal_data(PACKET, number, cipher=cipher)
        for number, cipher in enumerate(ciphers)
    ]
    data = b"".join(datagrams[1:])
    ingress.receive(datagrams[0])
    arena = Arena(len(data))
    arena.data[:] = data
    size = len(datagrams[0])
    ingress.half.receive_burst(arena, len(data), size, PATH, now=NOW)
    assert ingress.half.packets_to_deliver() == [PACKET] * 6
    assert CONFIRMED in ingress.half.reports()
    facts = ingress.view.read(SLOT)
    assert (facts.received_packets, facts.received_bytes) == (6, 6 * size)
    assert not any(ingress.half.drops.values())


@needs_aes
@pytest.mark.parametrize("cipher", Cipher)
def test_a_counter_is_of_both_ciphers(ingress: Ingress, cipher: Cipher) -> None:
    """Used under one, it is a replay under the other."""
    (other,) = set(Cipher) - {cipher}
    ingress.receive(seal_data(PACKET, 5, cipher=cipher))
    ingress.receive(seal_data(PACKET, 5, cipher=other))
    assert len(ingress.half.packets_to_deliver()) == 1
    assert ingress.half.drops[DropReason.REPLAY] == 1


@needs_aes
@pytest.mark.parametrize("cipher", Cipher)
def test_a_type_cannot_be_changed(ingress: Ingress, cipher: Cipher) -> None:
    """The ciphertext of one does not authenticate as the other's, and stays fresh."""
    (other,) = set(Cipher) - {cipher}
    datagram = seal_data(PACKET, 5, cipher=cipher)
    ingress.receive(bytes((other,)) + datagram[1:])
    assert ingress.half.drops[DropReason.BAD_TAG] == 1
    ingress.receive(datagram)
    assert ingress.half.packets_to_deliver() == [PACKET]


@pytest.mark.parametrize("size", [4, 16, 31])
def test_data_of_either_type_is_not_too_short(ingress: Ingress, size: int) -> None:
    """Nor does the gate see any of it."""
    ingress.receive(bytes((8,)) + bytes(size - 1))
    assert ingress.half.drops[DropReason.BAD_LENGTH] == 1
    assert ingress.half.handshakes() == []


def test_where_there_is_no_second_cipher_its_type_is_unknown(
    ingress: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was told that it would be taken."""
    monkeypatch.setattr(opening, "_OPENED", frozenset((4,)))
    ingress.receive(seal_data(PACKET, 0, cipher=AES))
    ingress.receive(seal_data(PACKET, 0))
    assert ingress.half.packets_to_deliver() == [PACKET]
    assert ingress.half.drops[DropReason.BAD_TYPE] == 1
