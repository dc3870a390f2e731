"""What only the fast way out has: bursts, mirrors, and the ways around it."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshnode.codec import virtio
from meshnode.codec.checksum import MODULUS, residue
from meshnode.dataplane.fast import egress
from meshnode.dataplane.fast.facts import Recorder
from meshnode.errors import DropReason
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    InstallSession,
    RemoveAllowedIps,
    RemovePeer,
    RetireSession,
    Session,
    SetEndpoint,
    SetLink,
    ShareOfPrefix,
    SharePrefix,
    UnsharePrefix,
    UseSession,
)
from meshnode.offloads import OFF
from meshnode.types import Endpoint, Path, Prefix
from tests.inner_packets import tcp_packet, udp_packet
from tests.property.test_engines_agree import Rig
from tests.unit.dataplane.reference.halves import (
    BORN_AT,
    INDEX,
    PREFIXES,
    RECEIVE_KEY,
    SEND_KEY,
    SLOT,
    open_data,
)

OTHER = SLOT + 1
TCP_FIELDS = (virtio.NEEDS_CSUM, virtio.GSO_TCPV4, 0, 1000, 20, 16)
FRAME = virtio.HEADER.pack(*TCP_FIELDS) + tcp_packet(4, bytes(30_500))


@pytest.fixture
def rig() -> Iterator[Rig]:
    """An engine with a session."""
    with ExitStack() as stack:
        yield Rig("fast", "egress", stack)


@pytest.fixture
def exceptions(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note when the reference handles a frame."""
    noted: list[float] = []
    original = egress.FastEgress._send_exception

    def note(self: egress.FastEgress, now: float) -> None:
        noted.append(now)
        original(self, now)

    monkeypatch.setattr(egress.FastEgress, "_send_exception", note)
    return noted


def test_the_usual_packet_meets_no_python(rig: Rig, exceptions: list[float]) -> None:
    """Segmented or not, of either version."""
    rig.kernel.send(FRAME)
    for version in (4, 6):
        rig.kernel.send(virtio.PLAIN + udp_packet(version, b"hello"))
    rig.pump()
    opened = [open_data(one) for one in rig.datagrams()]
    assert [counter for counter, _ in opened] == list(range(33))
    packets = virtio.segments(FRAME)
    packets[-1] += bytes(
        4
    )  # to a multiple of 16; the others are not padded by the test
    assert [plain[: len(packets[0])] for _, plain in opened[:31]] == packets
    assert exceptions == []


def test_more_than_a_burst_holds_goes_in_several(rig: Rig) -> None:
    """At most 64 datagrams and 65,507 bytes leave in one call; none is lost."""
    for _ in range(5):
        rig.kernel.send(FRAME)
    rig.pump()
    for number in range(70):
        rig.kernel.send(virtio.PLAIN + udp_packet(4, bytes(8), number=number))
        if number % 35 == 34:
            rig.pump()
    counters = [open_data(one)[0] for one in rig.datagrams()]
    assert counters == list(range(5 * 31 + 70))


def test_without_segmented_sends_datagrams_go_alone(rig: Rig) -> None:
    """The switch of the socket holds for both ways, until there are new sockets."""
    for sock in rig.engine._sockets:
        sock.segmentation.lower(OFF, "as the test wants")
    rig.engine._follow_switches()
    rig.kernel.send(FRAME)
    rig.pump()
    assert len(rig.datagrams()) == 31
    assert rig.engine.drops[DropReason.SEND_ERROR] == 0
    fresh = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rig.engine.use_sockets((fresh,))
    assert rig.engine._sender.can_segment


def test_what_the_kernel_refuses_is_counted(rig: Rig) -> None:
    """Each datagram of the burst, once."""
    rig.apply(SetEndpoint(SLOT, Path(Endpoint("0.0.0.0", 0))))
    rig.kernel.send(FRAME)
    rig.pump()
    assert rig.engine.drops[DropReason.SEND_ERROR] == 31


@pytest.mark.parametrize(
    "command",
    [
        SetLink(1420, False),
        RemovePeer(SLOT),
        UseSession(SLOT, 0),
        RetireSession(SLOT, INDEX),
        SetEndpoint(SLOT, None),
        RemoveAllowedIps(SLOT, PREFIXES),
    ],
)
def test_a_command_holds_from_the_next_packet_on(
    rig: Rig, exceptions: list[float], command: object
) -> None:
    """Nothing is sealed under what was taken back."""
    rig.apply(command)  # type: ignore[arg-type]
    rig.kernel.send(FRAME)
    rig.pump()
    assert rig.datagrams() == []
    assert len(exceptions) == 1


def test_a_shared_prefix_goes_by_flow(rig: Rig, exceptions: list[float]) -> None:
    """Each flow to one of its owners; taken back, to nobody."""
    theirs = Session(INDEX + 1, 99, SEND_KEY, RECEIVE_KEY, BORN_AT, False)
    prefix = Prefix.parse("10.0.0.0/24")
    shares = (ShareOfPrefix(SLOT, 1), ShareOfPrefix(OTHER, 1))
    rig.apply(
        AddPeer(OTHER),
        SetEndpoint(OTHER, rig.path),
        InstallSession(OTHER, theirs),
        UseSession(OTHER, INDEX + 1),
        SharePrefix(prefix, shares, (SLOT, OTHER)),
    )
    flows = [
        virtio.PLAIN + udp_packet(4, b"x", source_port=port) for port in range(1, 40)
    ]
    by_index = []
    for _ in range(2):
        for flow in flows:
            rig.kernel.send(flow)
            rig.pump()
            [datagram] = rig.datagrams()
            by_index.append(datagram[4:8])
    assert by_index[:39] == by_index[39:]
    assert len(set(by_index)) == 2
    assert exceptions == []
    rig.apply(UnsharePrefix(prefix))
    rig.kernel.send(flows[0])
    rig.pump()
    assert len(exceptions) == 1


def test_an_old_session_asks_for_the_next_one(rig: Rig) -> None:
    """As soon as something is sent under it, and once."""
    rig.apply(
        InstallSession(SLOT, Session(5, 6, SEND_KEY, RECEIVE_KEY, BORN_AT - 130, True)),
        UseSession(SLOT, 5),
    )
    rig.engine.reports()
    for _ in range(3):
        rig.kernel.send(FRAME)
        rig.pump()
    reports = sorted(type(one).__name__ for one in rig.engine.reports())
    assert reports == ["RekeyDue", "TrafficResumed"]


def test_the_facts_are_noted_before_the_last_datagram_leaves(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer may come at once, and must not be older than its question."""
    seen = []

    def note(bursts: object) -> None:
        seen.append(rig.view.read(SLOT).sent_packets)

    # The kernel refuses to send there, so Python sees the moment of sending.
    rig.apply(SetEndpoint(SLOT, Path(Endpoint("0.0.0.0", 0))))
    monkeypatch.setattr(rig.engine, "_send", note)
    rig.kernel.send(virtio.PLAIN + udp_packet(4, b"question"))
    rig.pump()
    assert seen == [1]


def test_a_checksum_is_completed_once(rig: Rig) -> None:
    """A packet that waits for a session is the same when it goes the other way."""
    packet = tcp_packet(4, b"hello")
    # What the kernel leaves as the checksum: the sum of the pseudo-header alone.
    partial = -residue(packet[20:]) % MODULUS
    fields = (virtio.NEEDS_CSUM, virtio.GSO_NONE, 0, 0, 20, 16)
    frame = virtio.HEADER.pack(*fields) + packet[:36]
    frame += partial.to_bytes(2, "big") + packet[38:]
    assert virtio.segments(frame) == [packet]
    rig.apply(UseSession(SLOT, 0))
    rig.kernel.send(frame)
    rig.pump()
    rig.apply(UseSession(SLOT, INDEX))
    rig.kernel.send(frame)
    rig.pump()
    opened = [plain[: len(packet)] for _, plain in map(open_data, rig.datagrams())]
    assert opened == [packet, packet]


def test_one_peer_that_cannot_be_reached_holds_back_no_other(rig: Rig) -> None:
    """Of many peers whose packets leave by one call."""
    frames = []
    for number in range(1, 4):
        slot, index = SLOT + number, INDEX + number
        session = Session(index, index, SEND_KEY, RECEIVE_KEY, BORN_AT, False)
        nowhere = Path(Endpoint("0.0.0.0", 0))
        prefix = Prefix.parse(f"10.0.0.{100 + number}/32")
        rig.apply(
            AddPeer(slot),
            SetEndpoint(slot, nowhere if number % 2 else rig.path),
            AddAllowedIps(slot, (prefix,)),
            InstallSession(slot, session),
            UseSession(slot, index),
        )
        packet = udp_packet(4, b"hello")
        address = bytes((10, 0, 0, 100 + number))
        frames.append(virtio.PLAIN + packet[:16] + address + packet[20:])
    for frame in frames:
        rig.kernel.send(frame)
    rig.pump()
    reached = [int.from_bytes(one[4:8], "little") for one in rig.datagrams()]
    assert reached == [INDEX + 2]
    assert rig.engine.drops[DropReason.SEND_ERROR] == 2


def test_a_slot_without_a_record_is_refused(rig: Rig) -> None:
    """Nothing is written beyond the memory of the facts."""
    beyond = rig.traffic.slots
    with pytest.raises(IndexError):
        rig.apply(AddPeer(beyond), SetEndpoint(beyond, rig.path))
    with pytest.raises(IndexError):
        Recorder(rig.traffic, True).data(beyond, 1, 128, BORN_AT)


def test_another_prefix_takes_over(rig: Rig) -> None:
    """A longer prefix of another peer has the packets, until it is gone."""
    host = Prefix.parse("10.0.0.2/32")
    rig.apply(AddPeer(OTHER), AddAllowedIps(OTHER, (host,)))
    rig.kernel.send(FRAME)
    rig.pump()
    assert rig.datagrams() == []
    rig.apply(RemovePeer(OTHER))
    rig.kernel.send(FRAME)
    rig.pump()
    assert len(rig.datagrams()) == 31
