"""The sending half: routing, staging, padding, bursts, limits and facts."""

import random
from dataclasses import replace

import pytest

from meshnode.codec.virtio import GSO_TCPV4, HEADER, NEEDS_CSUM, PLAIN
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.reference.seal import (
    MAX_BURST_BYTES,
    UNREACHABLE_BURST,
    SealHalf,
)
from meshnode.dataplane.traffic import ControlView, EgressRecorder
from meshnode.errors import DropReason
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    Command,
    DropStaged,
    InstallSession,
    NeedSession,
    RekeyDue,
    RemovePeer,
    Report,
    RetireSession,
    SendControl,
    SendKeepalive,
    SendProbe,
    Session,
    SetCipher,
    SetEndpoint,
    SetLink,
    ShareOfPrefix,
    SharePrefix,
    TrafficResumed,
    UseSession,
)
from meshnode.ports import NEVER
from meshnode.types import Cipher, Path, Prefix
from meshnode.wireguard.constants import (
    MAX_STAGED_PACKETS,
    REJECT_AFTER_MESSAGES,
    REKEY_AFTER_MESSAGES,
)
from tests.inner_packets import ip_packet, tcp_packet, udp_packet
from tests.unit.dataplane.reference.halves import (
    BORN_AT,
    INDEX,
    MTU,
    OTHER_PATH,
    PATH,
    SLOT,
    needs_aes,
    open_data,
    program,
    session,
    start_session,
    traffic_memory,
)

NOW = BORN_AT + 1
NEED = NeedSession(SLOT)
RESUMED = TrafficResumed(SLOT)


class Egress:
    """A sending half with its memory, driven as the simulation does."""

    def __init__(self) -> None:
        table, self.view = traffic_memory()
        self.half = SealHalf(1, EgressRecorder(table))
        self.apply(*program())
        self.half.reports()

    def apply(self, *commands: Command, now: float = NOW) -> None:
        """Obey commands."""
        for command in commands:
            self.half.apply(command, now=now)

    def send(self, *packets: bytes, now: float = NOW) -> None:
        """Take packets from the host."""
        for packet in packets:
            self.half.send_packet(packet, now=now)

    def bursts(self) -> list[Burst]:
        """Return everything there is to send."""
        return self.half.bursts_to_send()

    def sent(self) -> list[tuple[int, bytes]]:
        """Return counters and plaintexts of everything there is to send."""
        return [
            open_data(data) for burst in self.bursts() for data in burst.datagrams()
        ]

    def reports(self) -> list[Report]:
        """Return the reports since the last call."""
        return self.half.reports()

    def dropped(self) -> dict[DropReason, int]:
        """Return the drop counters that are not 0."""
        return {reason: count for reason, count in self.half.drops.items() if count}


@pytest.fixture
def egress() -> Egress:
    """A half with a session in use."""
    made = Egress()
    made.apply(*start_session(session()))
    return made


def packet(size: int = 100, *, number: int = 7) -> bytes:
    """Build an IPv4 packet of that many bytes."""
    return ip_packet(4, 99, bytes(size - 20), number=number)


def outside(size: int = 60) -> bytes:
    """Build a packet that no peer takes."""
    made = bytearray(packet(size))
    made[16:20] = bytes((192, 168, 9, 9))
    return bytes(made)


def padded(plaintext: bytes, size: int) -> bytes:
    """Append zeros up to *size*."""
    return plaintext + bytes(size - len(plaintext))


# --- sealing ---


def test_a_packet_goes_out_sealed_and_padded(egress: Egress) -> None:
    """Header, counter from 0, padding to 16 and the peer's path."""
    first, second = packet(100), packet(90)
    egress.send(first, second)
    [burst] = egress.bursts()
    assert burst.path == PATH
    assert burst.segment_size == 112 + 32
    assert [open_data(data) for data in burst.datagrams()] == [
        (0, padded(first, 112)),
        (1, padded(second, 96)),
    ]
    assert egress.bursts() == []


@pytest.mark.parametrize(
    ("size", "mtu", "sealed"),
    [
        (20, 1420, 32),
        (32, 1420, 32),
        (1405, 1420, 1408),
        (1409, 1420, 1420),
        (1420, 1420, 1420),
        (1417, 1424, 1424),
        (1430, 1420, 1436),
        (2820, 1420, 2828),
        (2830, 1420, 2840),
        (2839, 1420, 2840),
        (2840, 1420, 2840),
        (1297, 1300, 1300),
        (1300, 0, 1312),
    ],
)
def test_padding_never_goes_beyond_the_mtu(
    egress: Egress, size: int, mtu: int, sealed: int
) -> None:
    """To 16 bytes, at most to the MTU; above it the size modulo the MTU counts."""
    egress.apply(SetLink(mtu, True))
    egress.send(packet(size))
    assert [len(plaintext) for _, plaintext in egress.sent()] == [sealed]


@pytest.mark.parametrize("version", [4, 6])
def test_both_versions_are_routed(egress: Egress, version: int) -> None:
    """IPv6 destinations find their peer as IPv4 ones do."""
    made = ip_packet(version, 99, bytes(40))
    egress.send(made)
    assert [plaintext[: len(made)] for _, plaintext in egress.sent()] == [made]


def test_frames_are_split_before_sealing(egress: Egress) -> None:
    """A super-packet becomes one burst of full-size datagrams and a rest."""
    whole = tcp_packet(4, bytes(1380 * 3 + 5))
    frame = HEADER.pack(NEEDS_CSUM, GSO_TCPV4, 0, 1380, 20, 16) + whole
    egress.half.send_frame(frame, now=NOW)
    [burst] = egress.bursts()
    assert [len(data) for data in burst.datagrams()] == [MTU + 32] * 3 + [48 + 32]
    egress.half.send_frame(PLAIN + packet(), now=NOW)
    assert [counter for counter, _ in egress.sent()] == [4]


def test_malformed_input_is_counted(egress: Egress) -> None:
    """Bad frames and packets are dropped as such."""
    egress.half.send_frame(b"short", now=NOW)
    egress.send(b"", b"\x99" * 40)
    assert egress.sent() == []
    assert egress.dropped() == {DropReason.BAD_INNER: 3}


# --- bursts ---


def test_runs_of_equal_size_are_one_burst(egress: Egress) -> None:
    """A longer packet begins a new burst, a shorter one ends its own."""
    for size in (160, 160, 320, 320, 160, 160, 320):
        egress.send(packet(size))
    bursts = egress.bursts()
    assert [burst.segment_size for burst in bursts] == [192, 352, 192, 352]
    counts = [len(burst.datagrams()) for burst in bursts]
    assert counts == [2, 3, 1, 1]
    counters = [open_data(d)[0] for burst in bursts for d in burst.datagrams()]
    assert counters == list(range(7))


def test_bursts_are_bounded(egress: Egress) -> None:
    """At most 64 datagrams and 65,507 bytes go in one send."""
    egress.send(*[packet(20)] * 65)
    assert [len(burst.datagrams()) for burst in egress.bursts()] == [64, 1]
    egress.send(*[packet(1420)] * 50)
    sizes = [len(burst.data) for burst in egress.bursts()]
    assert sizes == [45 * 1452, 5 * 1452]
    assert max(sizes) <= MAX_BURST_BYTES


def test_full_bursts_go_while_a_batch_lasts(egress: Egress) -> None:
    """What is full need not wait for the end; the rest comes then."""
    egress.send(*[packet(20)] * 65)
    assert [len(burst.datagrams()) for burst in egress.half.full_bursts()] == [64]
    assert egress.half.full_bursts() == []
    assert len(egress.sent()) == 1


def test_random_traffic_keeps_its_order(egress: Egress, rng: random.Random) -> None:
    """Whatever the sizes and batches, counters rise by one and nothing is lost."""
    wanted, got = [], []
    for number in range(600):
        made = packet(rng.choice((20, 60, 500, 1420)), number=number)
        wanted.append(made)
        egress.send(made)
        if rng.random() < 0.05:
            got += egress.sent()
    got += egress.sent()
    assert [counter for counter, _ in got] == list(range(600))
    assert [
        plain[: len(made)] for (_, plain), made in zip(got, wanted, strict=True)
    ] == wanted


# --- what cannot be sent ---


def test_no_route_is_told_to_the_host(egress: Egress) -> None:
    """The packet is dropped and its sender hears of it."""
    egress.send(outside())
    assert egress.sent() == []
    assert egress.dropped() == {DropReason.NO_ROUTE: 1}
    [answer] = egress.half.packets_to_return()
    assert answer[20:22] == b"\x03\x01"
    assert egress.half.packets_to_return() == []


def test_no_endpoint_is_told_to_the_host(egress: Egress) -> None:
    """A peer whose place is unknown cannot be sent to, nor asked for a session."""
    egress.apply(SetEndpoint(SLOT, None))
    egress.send(packet())
    assert egress.sent() == []
    assert egress.dropped() == {DropReason.NO_ENDPOINT: 1}
    assert len(egress.half.packets_to_return()) == 1
    assert egress.reports() == []


def test_answers_to_the_host_are_limited(egress: Egress) -> None:
    """A burst, then one per interval, for ever."""
    egress.send(*[outside()] * 100)
    assert len(egress.half.packets_to_return()) == UNREACHABLE_BURST
    egress.send(*[outside()] * 100, now=NOW + 1)
    assert len(egress.half.packets_to_return()) == 20
    assert egress.dropped() == {DropReason.NO_ROUTE: 200}


def test_a_down_link_drops_everything(egress: Egress) -> None:
    """Nothing is sent, and staged packets are gone when it comes up again."""
    egress.apply(RetireSession(SLOT, INDEX))
    egress.send(packet())
    egress.apply(SetLink(MTU, False))
    egress.send(packet())
    egress.apply(SendKeepalive(SLOT))
    assert egress.dropped() == {DropReason.DEVICE_DOWN: 2}
    egress.apply(SetLink(MTU, True), *start_session(session()))
    assert egress.sent() == []


# --- staging ---


@pytest.fixture
def waiting() -> Egress:
    """A half without any session."""
    return Egress()


def test_packets_wait_for_a_session(waiting: Egress) -> None:
    """They are staged, control is asked once, and they go first and in order."""
    packets = [packet(number=number) for number in range(3)]
    waiting.send(*packets)
    assert waiting.sent() == []
    assert waiting.reports() == [NEED]
    waiting.apply(InstallSession(SLOT, session()))
    assert waiting.sent() == []
    waiting.apply(UseSession(SLOT, INDEX))
    waiting.send(packet(number=3))
    assert [plain[:100] for _, plain in waiting.sent()] == [
        *packets,
        packet(number=3),
    ]


def test_the_oldest_staged_packets_go(waiting: Egress) -> None:
    """The queue is bounded; the newest are kept."""
    packets = [packet(number=number) for number in range(MAX_STAGED_PACKETS + 5)]
    waiting.send(*packets)
    assert waiting.dropped() == {DropReason.STAGED_FULL: 5}
    waiting.apply(*start_session(session()))
    assert [plain[:100] for _, plain in waiting.sent()] == packets[5:]


def test_a_lost_request_heals(waiting: Egress) -> None:
    """While packets come, control is asked again each second and not more often."""
    for tenth in range(31):
        waiting.send(packet(), now=NOW + tenth / 8)
    assert waiting.reports() == [NEED] * 4


def test_a_new_control_process_is_asked_again(waiting: Egress) -> None:
    """After a program the staged packets of peers that stayed are asked for."""
    waiting.send(packet())
    assert waiting.reports() == [NEED]
    waiting.apply(*program())
    assert waiting.reports()[1:] == [NEED]
    waiting.apply(*start_session(session()))
    assert len(waiting.sent()) == 1


def test_given_up_packets_are_dropped(waiting: Egress) -> None:
    """After `DropStaged` nothing old is sent, and the next packet asks at once."""
    waiting.send(packet(number=1))
    waiting.apply(DropStaged(SLOT))
    waiting.send(packet(number=2))
    assert waiting.reports() == [NEED, NEED]
    waiting.apply(*start_session(session()))
    assert [plain[:100] for _, plain in waiting.sent()] == [packet(number=2)]


def test_a_removed_peer_takes_its_packets_along(waiting: Egress) -> None:
    """Nothing staged reaches the next peer of the slot."""
    waiting.send(packet())
    waiting.apply(RemovePeer(SLOT), *program()[2:5], *start_session(session()))
    assert waiting.sent() == []


# --- limits of a session ---


def test_an_old_session_is_not_used(egress: Egress) -> None:
    """Just before 180 s packets go; from then on they are staged."""
    egress.send(packet(), now=BORN_AT + 179.999)
    assert len(egress.sent()) == 1
    egress.reports()
    egress.send(packet(), now=BORN_AT + 180)
    assert egress.sent() == []
    assert egress.reports() == [NEED]


def set_counter(egress: Egress, counter: int) -> None:
    """Pretend that many packets were sent."""
    egress.half._table.sessions[INDEX].counter = counter


def test_the_counter_limit_is_never_passed(egress: Egress) -> None:
    """The last permitted counter is used, the next packet is staged."""
    set_counter(egress, REJECT_AFTER_MESSAGES - 1)
    egress.send(packet())
    assert [counter for counter, _ in egress.sent()] == [REJECT_AFTER_MESSAGES - 1]
    egress.send(packet())
    assert egress.sent() == []
    assert NEED in egress.reports()


def test_unsent_packets_count_towards_the_limit(egress: Egress) -> None:
    """Packets that wait in a run have counters already, as far as limits go."""
    set_counter(egress, REJECT_AFTER_MESSAGES - 2)
    egress.send(*[packet()] * 5)
    limit = REJECT_AFTER_MESSAGES
    assert [counter for counter, _ in egress.sent()] == [limit - 2, limit - 1]
    egress.apply(InstallSession(SLOT, session(index=9)), UseSession(SLOT, 9))
    assert [counter for counter, _ in egress.sent()] == [0, 1, 2]


def test_a_session_installed_twice_keeps_its_counter(egress: Egress) -> None:
    """No repetition of commands makes a counter come twice."""
    egress.send(packet())
    egress.sent()
    egress.apply(*start_session(session()), *program(), *start_session(session()))
    egress.send(packet())
    assert [counter for counter, _ in egress.sent()] == [1]


def rekeys(egress: Egress) -> list[Report]:
    """Return only the rekey reports."""
    return [report for report in egress.reports() if isinstance(report, RekeyDue)]


def test_rekey_after_many_messages(egress: Egress) -> None:
    """Above 2^60 packets either role asks, once a session."""
    set_counter(egress, REKEY_AFTER_MESSAGES - 1)
    egress.send(packet())
    egress.sent()
    assert rekeys(egress) == []
    for _ in range(2):
        egress.send(packet())
        egress.sent()
    assert rekeys(egress) == [RekeyDue(SLOT, INDEX, received=False)]


@pytest.mark.parametrize("is_initiator", [True, False])
def test_rekey_after_two_minutes(waiting: Egress, is_initiator: bool) -> None:
    """Only who began the session asks for its renewal, once."""
    waiting.apply(*start_session(session(is_initiator=is_initiator)))
    waiting.send(packet(), now=BORN_AT + 119.999)
    waiting.sent()
    assert rekeys(waiting) == []
    for age in (120, 121, 179):
        waiting.send(packet(), now=BORN_AT + age)
        waiting.sent()
    assert rekeys(waiting) == [RekeyDue(SLOT, INDEX, received=False)] * is_initiator


# --- keepalives and facts ---


def test_keepalive_is_an_empty_packet(egress: Egress) -> None:
    """With nothing staged 32 bytes go out; no timer waits for an answer."""
    egress.apply(SendKeepalive(SLOT))
    [burst] = egress.bursts()
    assert len(burst.data) == 32
    assert open_data(bytes(burst.data)) == (0, b"")
    facts = egress.view.read(SLOT)
    assert (facts.sent_packets, facts.sent_bytes, facts.last_sent_at) == (1, 32, NOW)
    assert facts.unanswered_since is None
    assert egress.reports() == []


def test_keepalives_do_not_mix_with_data(egress: Egress) -> None:
    """Facts tell them apart even if they leave together."""
    egress.apply(SendKeepalive(SLOT), SendKeepalive(SLOT))
    egress.send(packet(100))
    assert [len(plain) for _, plain in egress.sent()] == [0, 0, 112]
    facts = egress.view.read(SLOT)
    assert (facts.sent_packets, facts.sent_bytes) == (3, 32 + 32 + 144)


def test_keepalive_sends_staged_packets_instead(waiting: Egress) -> None:
    """Staged packets serve as well, where a session can carry them."""
    waiting.apply(InstallSession(SLOT, session()))
    waiting.send(packet())
    peer = waiting.half._table.peers[SLOT]
    peer.in_use = waiting.half._table.sessions[INDEX]
    waiting.apply(SendKeepalive(SLOT))
    assert [len(plain) for _, plain in waiting.sent()] == [112]


def test_keepalive_without_a_session_asks_for_one(waiting: Egress) -> None:
    """A persistent keepalive is a reason for a handshake."""
    waiting.apply(SendKeepalive(SLOT), SendKeepalive(99))
    assert waiting.sent() == []
    assert waiting.reports() == [replace(NEED, for_users=False)]


def facts_of(view: ControlView) -> tuple[int, int, float, float | None]:
    """Return what the timers look at."""
    facts = view.read(SLOT)
    return (
        facts.sent_packets,
        facts.sent_bytes,
        facts.last_data_sent_at,
        facts.unanswered_since,
    )


def test_facts_are_written_with_the_batch(egress: Egress) -> None:
    """Packets, UDP payload bytes and times are exact; control is told once."""
    egress.send(packet(100), packet(100), packet(1420))
    egress.bursts()
    assert facts_of(egress.view) == (3, 144 + 144 + 1452, NOW, NOW)
    assert egress.reports() == [RESUMED]
    egress.send(packet(100), now=NOW + 3)
    egress.bursts()
    assert facts_of(egress.view) == (4, 144 * 3 + 1452, NOW + 3, NOW)
    assert egress.reports() == []


def test_a_moved_endpoint_holds_from_the_next_packet(egress: Egress) -> None:
    """What was taken before a command leaves under what held before it."""
    egress.send(packet())
    egress.apply(SetEndpoint(SLOT, OTHER_PATH))
    egress.send(packet())
    assert [burst.path for burst in egress.bursts()] == [PATH, OTHER_PATH]


def test_two_peers_get_their_own_bursts(egress: Egress) -> None:
    """Interleaved packets are gathered for each peer."""
    other = Session(77, 78, bytes(32), bytes(32), BORN_AT, False)
    egress.apply(
        AddPeer(5),
        SetEndpoint(5, OTHER_PATH),
        AddAllowedIps(5, (Prefix.parse("192.168.9.9/32"),)),
        InstallSession(5, other),
        UseSession(5, 77),
    )
    egress.send(packet(60), outside(60), packet(60), outside(60))
    bursts = egress.bursts()
    assert [(burst.path, len(burst.datagrams())) for burst in bursts] == [
        (PATH, 2),
        (OTHER_PATH, 2),
    ]


def test_udp_is_routed_like_anything(egress: Egress) -> None:
    """The protocol does not matter for a complete packet."""
    made = udp_packet(4, b"hello")
    egress.send(made)
    assert [plain[: len(made)] for _, plain in egress.sent()] == [made]


# --- control frames ---

FRAME = b"\x01\x03\x00\x92\x06\x07"


def test_a_control_frame_is_data(egress: Egress) -> None:
    """Padded, counted and timed as every packet, and in order with them."""
    egress.send(packet())
    egress.apply(SendControl(SLOT, FRAME))
    egress.send(packet(number=8))
    assert egress.sent() == [
        (0, padded(packet(), 112)),
        (1, padded(FRAME, 16)),
        (2, padded(packet(number=8), 112)),
    ]
    facts = egress.view.read(SLOT)
    assert (facts.sent_packets, facts.sent_bytes) == (3, 144 + 48 + 144)
    assert facts.last_data_sent_at == facts.unanswered_since == NOW


def test_a_control_frame_alone_begins_the_wait_for_an_answer(egress: Egress) -> None:
    """Control watches the peer from then on."""
    egress.apply(SendControl(SLOT, FRAME))
    assert len(egress.sent()) == 1
    assert egress.reports() == [RESUMED]


def test_a_control_frame_waits_for_a_session(waiting: Egress) -> None:
    """With the packets, in order; control is asked for a session once."""
    waiting.send(packet())
    waiting.apply(SendControl(SLOT, FRAME))
    assert waiting.sent() == []
    assert waiting.reports() == [NEED]
    waiting.apply(*start_session(session()))
    assert [plain for _, plain in waiting.sent()] == [
        padded(packet(), 112),
        padded(FRAME, 16),
    ]


def test_a_control_frame_waits_for_an_endpoint(waiting: Egress) -> None:
    """Where the peer is will be known with the session."""
    waiting.apply(SetEndpoint(SLOT, None), SendControl(SLOT, FRAME))
    assert waiting.reports() == [replace(NEED, for_users=False)]
    waiting.apply(SetEndpoint(SLOT, PATH), *start_session(session()))
    assert [plain for _, plain in waiting.sent()] == [padded(FRAME, 16)]


def test_packets_of_users_are_told_of_at_once(waiting: Egress) -> None:
    """Though a session was asked for just now, for less."""
    waiting.apply(SendControl(SLOT, FRAME))
    assert waiting.reports() == [replace(NEED, for_users=False)]
    waiting.send(packet())
    waiting.send(packet())
    assert waiting.reports() == [NEED]
    waiting.apply(DropStaged(SLOT), SendControl(SLOT, FRAME))
    assert waiting.reports() == [replace(NEED, for_users=False)]


def test_what_leaves_for_users_is_noted_apart(egress: Egress) -> None:
    """Control's frames are data to the timers, and to nobody else."""
    egress.apply(SendControl(SLOT, FRAME))
    egress.bursts()
    facts = egress.view.read(SLOT)
    assert (facts.last_data_sent_at, facts.last_sent_for_users_at) == (NOW, NEVER)
    egress.send(packet(), now=NOW + 1)
    egress.bursts()
    assert egress.view.read(SLOT).last_sent_for_users_at == NOW + 1
    egress.apply(SendControl(SLOT, FRAME))
    egress.bursts()
    assert egress.view.read(SLOT).last_sent_for_users_at == NOW + 1


def test_a_probe_is_a_burst_of_its_own(egress: Egress) -> None:
    """Between the packets, as large as it says, and no data to the timers."""
    egress.send(packet())
    egress.apply(SendProbe(SLOT, FRAME, 8919))
    egress.send(packet(number=8))
    bursts = egress.half.bursts_to_send()
    assert [burst.is_probe for burst in bursts] == [False, True, False]
    assert [burst.count for burst in bursts] == [1, 1, 1]
    assert len(bursts[1].data) == 8919 + 32
    datagrams = [data for burst in bursts for data in burst.datagrams()]
    assert [open_data(data)[1] for data in datagrams] == [
        padded(packet(), 112),
        padded(FRAME, 8919),
        padded(packet(number=8), 112),
    ]
    facts = egress.view.read(SLOT)
    assert (facts.sent_packets, facts.sent_bytes) == (3, 144 + 8919 + 32 + 144)


def test_a_probe_alone_begins_no_wait(egress: Egress) -> None:
    """Its loss says nothing against the session."""
    egress.apply(SendProbe(SLOT, FRAME, 8920))
    assert len(egress.sent()) == 1
    facts = egress.view.read(SLOT)
    assert (facts.unanswered_since, facts.last_data_sent_at) == (None, NEVER)
    assert egress.reports() == []


def test_a_probe_waits_for_nothing(waiting: Egress, egress: Egress) -> None:
    """Neither for a session nor for an endpoint; nor does it ask for them."""
    waiting.apply(SendProbe(SLOT, FRAME, 8920), SendProbe(7, FRAME, 8920))
    assert waiting.reports() == []
    waiting.apply(*start_session(session()))
    assert waiting.sent() == []
    egress.apply(SetEndpoint(SLOT, None), SendProbe(SLOT, FRAME, 8920))
    egress.apply(SetEndpoint(SLOT, PATH), SetLink(MTU, False))
    egress.apply(SendProbe(SLOT, FRAME, 8920))
    assert egress.sent() == []
    assert egress.dropped() == {DropReason.DEVICE_DOWN: 1}


def test_control_frames_that_go_nowhere(egress: Egress) -> None:
    """Of a peer that is gone: nothing. While the link is down: dropped."""
    egress.apply(SendControl(7, FRAME))
    egress.apply(SetLink(MTU, False), SendControl(SLOT, FRAME))
    assert egress.sent() == []
    assert egress.dropped() == {DropReason.DEVICE_DOWN: 1}
    assert egress.reports() == []


def test_staged_control_frames_are_bounded_like_packets(waiting: Egress) -> None:
    """The oldest goes first."""
    frames = [FRAME + bytes((n,)) for n in range(MAX_STAGED_PACKETS + 5)]
    for frame in frames:
        waiting.apply(SendControl(SLOT, frame))
    assert waiting.dropped() == {DropReason.STAGED_FULL: 5}
    waiting.apply(*start_session(session()))
    assert [plain for _, plain in waiting.sent()] == [padded(f, 16) for f in frames[5:]]


# --- peers that are sought ---


@pytest.fixture
def sought() -> Egress:
    """A half whose peer is nowhere yet, and sought."""
    made = Egress()
    made.apply(SetEndpoint(SLOT, None), AddPeer(SLOT, is_sought=True))
    return made


def test_packets_for_a_sought_peer_wait(sought: Egress) -> None:
    """Control is asked, at most once a second; then they leave in order."""
    packets = [packet(number=number) for number in range(4)]
    sought.send(packets[0])
    sought.send(packets[1], now=NOW + 0.9)
    sought.send(packets[2], now=NOW + 1.0)
    assert sought.reports() == [NEED, NEED]
    assert sought.half.packets_to_return() == []
    assert sought.dropped() == {}
    sought.apply(SetEndpoint(SLOT, PATH), *start_session(session()), now=NOW + 2)
    sought.send(packets[3], now=NOW + 2)
    assert [plain for _, plain in sought.sent()] == [padded(p, 112) for p in packets]


def test_a_session_without_an_endpoint_carries_nothing(sought: Egress) -> None:
    """Packets wait although there would be a key for them."""
    sought.apply(*start_session(session()))
    sought.send(packet())
    sought.apply(SendKeepalive(SLOT), UseSession(SLOT, INDEX))
    assert sought.sent() == []
    sought.apply(SetEndpoint(SLOT, PATH), SendKeepalive(SLOT))
    assert sought.sent() == [(0, padded(packet(), 112))]


def test_giving_a_sought_peer_up_is_told_to_the_host(sought: Egress) -> None:
    """Each application hears of it, as far as the limit allows; frames have none."""
    sought.apply(SendControl(SLOT, FRAME))
    sought.send(*[packet(number=n) for n in range(3)])
    sought.apply(DropStaged(SLOT))
    answers = sought.half.packets_to_return()
    assert [answer[20:22] for answer in answers] == [b"\x03\x01"] * 3
    assert [answer[32:34] for answer in answers] == [
        n.to_bytes(2, "big") for n in range(3)
    ]
    sought.apply(*start_session(session()), SetEndpoint(SLOT, PATH))
    assert sought.sent() == []
    sought.send(*[packet()] * 100, now=NOW + 100)
    sought.apply(RetireSession(SLOT, INDEX), DropStaged(SLOT), now=NOW + 100)
    assert sought.half.packets_to_return() == []


def test_giving_up_is_answered_within_the_limit(sought: Egress) -> None:
    """Many packets, few answers."""
    sought.send(*[packet()] * 100)
    sought.apply(DropStaged(SLOT))
    assert len(sought.half.packets_to_return()) == UNREACHABLE_BURST


def test_giving_up_other_peers_or_a_link_that_is_down_says_nothing(
    waiting: Egress, sought: Egress
) -> None:
    """Stock peers are dropped in silence, as before; a device that is down is deaf."""
    waiting.send(packet())
    waiting.apply(DropStaged(SLOT))
    assert waiting.half.packets_to_return() == []
    sought.send(packet())
    sought.apply(SetLink(MTU, False))
    assert sought.half.packets_to_return() == []
    assert sought.dropped() == {DropReason.DEVICE_DOWN: 1}


def test_a_peer_no_longer_sought_is_refused_again(sought: Egress) -> None:
    """Nobody looks for it, so nothing waits."""
    sought.apply(AddPeer(SLOT))
    sought.send(packet())
    assert sought.dropped() == {DropReason.NO_ENDPOINT: 1}
    assert len(sought.half.packets_to_return()) == 1


# --- shared prefixes ---

OTHER_SLOT, OTHER_INDEX = SLOT + 1, INDEX + 1
NET = Prefix.parse("10.0.0.0/24")


@pytest.fixture
def shared(egress: Egress) -> Egress:
    """Two peers with sessions share a prefix; the second is elsewhere."""
    weights = (ShareOfPrefix(SLOT, 1), ShareOfPrefix(OTHER_SLOT, 1))
    egress.apply(
        AddPeer(OTHER_SLOT),
        SetEndpoint(OTHER_SLOT, OTHER_PATH),
        InstallSession(OTHER_SLOT, session(index=OTHER_INDEX)),
        UseSession(OTHER_SLOT, OTHER_INDEX),
        SharePrefix(NET, weights, (SLOT, OTHER_SLOT)),
    )
    return egress


def paths_by_port(egress: Egress, ports: range) -> dict[int, Path]:
    """Send a datagram from each port; return where it went."""
    chosen = {}
    for port in ports:
        egress.send(udp_packet(4, b"x", source_port=port))
        [burst] = egress.bursts()
        chosen[port] = burst.path
    return chosen


def test_flows_to_a_shared_prefix_are_spread_and_stay(shared: Egress) -> None:
    """Both peers carry some, each flow always the same; then all go to who is left."""
    before = paths_by_port(shared, range(1000, 1050))
    assert set(before.values()) == {PATH, OTHER_PATH}
    assert paths_by_port(shared, range(1000, 1050)) == before
    shared.apply(RemovePeer(OTHER_SLOT))
    assert set(paths_by_port(shared, range(1000, 1050)).values()) == {PATH}


def test_a_super_frame_is_one_flow(shared: Egress) -> None:
    """All its segments go one way."""
    whole = tcp_packet(4, bytes(5000))
    frame = HEADER.pack(NEEDS_CSUM, GSO_TCPV4, 40, 1000, 20, 16) + whole
    shared.half.send_frame(frame, now=NOW)
    [burst] = shared.bursts()
    assert burst.count == 5


def test_a_share_of_nobody_has_no_route(shared: Egress) -> None:
    """When the last owner is gone the host is told so."""
    shared.apply(RemovePeer(OTHER_SLOT), RemovePeer(SLOT))
    shared.send(packet())
    assert shared.dropped() == {DropReason.NO_ROUTE: 1}


# --- the second cipher ---

AES = SetCipher(SLOT, INDEX, Cipher.AES_256_GCM)


@needs_aes
def test_a_cipher_holds_from_the_next_packet(egress: Egress) -> None:
    """In one sequence of counters; what came before goes under the one before."""
    egress.send(packet(number=1), packet(number=2))
    egress.apply(AES)
    egress.send(packet(number=3))
    egress.apply(SendKeepalive(SLOT), SendControl(SLOT, b"\x01frame"))
    egress.apply(SetCipher(SLOT, INDEX, Cipher.CHACHA20_POLY1305))
    egress.send(packet(number=4))
    datagrams = [one for burst in egress.bursts() for one in burst.datagrams()]
    assert [one[0] for one in datagrams] == [4, 4, 8, 8, 8, 4]
    opened = [open_data(one) for one in datagrams]
    assert [counter for counter, _ in opened] == list(range(6))
    assert [len(plaintext) for _, plaintext in opened] == [112, 112, 112, 0, 16, 112]


@needs_aes
def test_facts_are_those_of_any_data(egress: Egress) -> None:
    """A type is no reason to count otherwise."""
    egress.apply(AES)
    egress.send(packet(), packet())
    assert len(egress.sent()) == 2
    facts = egress.view.read(SLOT)
    assert (facts.sent_packets, facts.sent_bytes) == (2, 2 * (112 + 32))
    assert facts.unanswered_since == NOW


@needs_aes
def test_a_new_session_begins_with_the_first_cipher(egress: Egress) -> None:
    """Who made it may be another program than the one that asked for a cipher."""
    egress.apply(AES)
    made = session(index=INDEX + 1)
    egress.apply(*start_session(made))
    egress.send(packet())
    (burst,) = egress.bursts()
    assert burst.data[0] == 4
    egress.apply(UseSession(SLOT, INDEX))
    egress.send(packet())
    (burst,) = egress.bursts()
    assert burst.data[0] == 8


def test_a_cipher_of_no_session_is_nothing(egress: Egress) -> None:
    """It may have been retired meanwhile, or be another peer's."""
    egress.apply(SetCipher(SLOT, 1, Cipher.AES_256_GCM))
    egress.apply(SetCipher(SLOT + 1, INDEX, Cipher.AES_256_GCM))
    egress.send(packet())
    (burst,) = egress.bursts()
    assert burst.data[0] == 4
