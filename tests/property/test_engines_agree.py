"""The fast engine does to every packet what the reference does, byte for byte."""

import socket
from collections import Counter
from contextlib import ExitStack

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.codec import virtio
from meshnode.crypto.transport import can_use
from meshnode.dataplane.engines import open_engine
from meshnode.dataplane.interface import WorkerResources
from meshnode.errors import DropReason
from meshnode.forwarding import Command, Report, SetCipher, SetLink
from meshnode.offloads import UNFORCED, Offloads
from meshnode.types import Cipher, Endpoint, Path
from tests.inner_packets import ACK, CWR, FIN, PSH, ip_packet, tcp_packet, udp_packet
from tests.unit.dataplane.reference.halves import (
    BORN_AT,
    INDEX,
    SLOT,
    program,
    seal_data,
    session,
    start_session,
    traffic_memory,
)

ENGINES = ("reference", "fast")
VERSIONS = st.sampled_from((4, 6))
CIPHERS = st.sampled_from([cipher for cipher in Cipher if can_use(cipher)])
FLAGS = st.sampled_from((ACK, ACK | PSH, ACK | FIN, ACK | CWR | PSH, 0x2, ACK | 0x40))
OPTIONS = st.sampled_from((b"", bytes(4), bytes.fromhex("0101080a0102030405060708")))


class Rig:
    """One engine of one kind between a make-believe kernel and a peer on loopback."""

    def __init__(
        self,
        name: str,
        role: str,
        stack: ExitStack,
        offloads: Offloads = UNFORCED,
        tap: memoryview | None = None,
    ) -> None:
        device, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for sock in (ours, self.peer):
            sock.bind(("127.0.0.1", 0))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        for sock in (self.kernel, self.peer):
            sock.setblocking(False)
            stack.enter_context(sock)
        self.address = ours.getsockname()
        self.traffic, self.view = traffic_memory()
        resources = WorkerResources(
            1, (device.detach(),), (ours,), self.traffic, offloads=offloads, tap=tap
        )
        self.engine = getattr(open_engine(name), role)(resources)
        stack.callback(self.engine.close)
        self.path = Path(Endpoint(*self.peer.getsockname()))
        self.apply(*program(path=self.path), *start_session(session()))

    def apply(self, *commands: Command) -> None:
        """Obey commands."""
        for command in commands:
            self.engine.apply(command, now=BORN_AT)

    def pump(self) -> None:
        """Let the engine take everything that waits."""
        for _ in range(8):
            for descriptor in self.engine.descriptors():
                self.engine.pump(descriptor, now=BORN_AT + 1)

    def datagrams(self) -> list[bytes]:
        """Return what the peer got."""
        return drain(self.peer)

    def packets(self) -> list[bytes]:
        """Return what the kernel got, each packet for itself."""
        frames = drain(self.kernel)
        return [packet for frame in frames for packet in virtio.segments(frame)]

    def effects(self) -> tuple[list[Report], dict[DropReason, int], object]:
        """Return what control hears and reads."""
        reports = [_without_ports(report) for report in self.engine.reports()]
        drops = {reason: n for reason, n in self.engine.drops.items() if n}
        return reports, drops, self.view.read(SLOT)


def _without_ports(report: Report) -> str:
    # Two engines have two peers on loopback.
    return type(report).__name__


def _without_number(packet: bytes) -> bytes:
    # A change of the cipher ends a frame for one engine, and numbers are a frame's.
    if packet[0] >> 4 == 6:
        return packet
    return packet[:4] + packet[6:10] + packet[12:]


def drain(sock: socket.socket) -> list[bytes]:
    """Return what waits in a socket."""
    found = []
    while True:
        try:
            found.append(sock.recv(70_000))
        except BlockingIOError:
            return found


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame of a TUN device: plain, partial or segmented, now and then broken."""
    version = draw(VERSIONS)
    payload = draw(st.binary(max_size=300)) * draw(st.integers(1, 9))
    start = 20 if version == 4 else 40
    kind = draw(st.sampled_from(("tcp", "udp", "other")))
    size = draw(st.integers(1, 600))
    if kind == "tcp":
        packet = tcp_packet(
            version,
            payload,
            sequence=draw(st.integers(0, 2**32 - 1)),
            flags=draw(FLAGS),
            options=draw(OPTIONS),
            number=draw(st.sampled_from((0, 7, 0xFFFE))),
        )
        gso = virtio.GSO_TCPV4 if version == 4 else virtio.GSO_TCPV6
        offset = 16
    elif kind == "udp":
        packet = udp_packet(version, payload)
        gso, offset = virtio.GSO_UDP_L4, 6
    else:
        packet = ip_packet(version, 99, payload)
        gso, offset = virtio.GSO_NONE, 0
    how = draw(st.sampled_from(("plain", "partial", "segmented", "broken")))
    if how == "plain" or (kind == "other" and how != "broken"):
        header = virtio.PLAIN
    elif how == "partial":
        fields = (virtio.NEEDS_CSUM, virtio.GSO_NONE, 0, 0, start, offset)
        header = virtio.HEADER.pack(*fields)
    elif how == "segmented":
        ecn = draw(st.sampled_from((0, virtio.GSO_ECN)))
        fields = (virtio.NEEDS_CSUM, gso | ecn, 0, size, start, offset)
        header = virtio.HEADER.pack(*fields)
    else:
        header = draw(st.binary(min_size=10, max_size=10))
        packet = packet[: draw(st.integers(0, len(packet)))]
    return header + packet


@settings(max_examples=150)
@given(sent=st.lists(frames(), min_size=6, max_size=20), mtu=st.sampled_from((0, 1420)))
def test_both_seal_the_same_datagrams(sent: list[bytes], mtu: int) -> None:
    """In the same order, padded alike, with the same counters, facts and drops."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            rig = Rig(name, "egress", stack)
            rig.apply(SetLink(mtu, True))
            for frame in sent:
                rig.kernel.send(frame)
            rig.pump()
            outcomes.append((rig.datagrams(), rig.packets(), rig.effects()))
    assert outcomes[0] == outcomes[1]


@settings(max_examples=80)
@given(sent=st.lists(st.tuples(frames(), CIPHERS), min_size=6, max_size=20))
def test_both_seal_alike_when_the_cipher_changes(
    sent: list[tuple[bytes, Cipher]],
) -> None:
    """Between any two frames; counters go on."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            rig = Rig(name, "egress", stack)
            for frame, cipher in sent:
                rig.apply(SetCipher(SLOT, INDEX, cipher))
                rig.kernel.send(frame)
                rig.pump()
            outcomes.append((rig.datagrams(), rig.packets(), rig.effects()))
    assert outcomes[0] == outcomes[1]


@st.composite
def inner(draw: st.DrawFn) -> bytes:
    """What a peer may seal: streams, datagrams, keepalives and nonsense."""
    version = draw(VERSIONS)
    kind = draw(st.sampled_from(("tcp", "tcp", "tcp", "udp", "udp", "other", "any")))
    if kind == "any":
        return draw(st.binary(max_size=80))
    payload = bytes(draw(st.sampled_from((0, 1, 99, 100, 100, 100))))
    port = draw(st.sampled_from((1000, 1000, 1000, 1001)))
    if kind == "tcp":
        packet = tcp_packet(
            version,
            payload,
            sequence=draw(st.sampled_from((1, 101, 201, 301, 2**32 - 100))),
            flags=draw(FLAGS),
            options=draw(OPTIONS),
            source_port=port,
        )
    elif kind == "udp":
        packet = udp_packet(version, payload, source_port=port)
    else:
        packet = ip_packet(version, 99, payload)
    damage = draw(
        st.sampled_from((None, None, None, 0, 10, 15, 25, 45, len(packet) - 1))
    )
    if damage is not None and damage < len(packet):
        at = damage
        packet = packet[:at] + bytes((packet[at] ^ 1,)) + packet[at + 1 :]
    return packet + bytes(draw(st.sampled_from((0, 0, 12))))


@settings(max_examples=150)
@given(
    sealed=st.lists(
        st.tuples(inner(), st.integers(0, 30), CIPHERS), min_size=8, max_size=40
    ),
    damaged=st.integers(0, 60),
)
def test_both_open_the_same_packets(
    sealed: list[tuple[bytes, int, Cipher]], damaged: int
) -> None:
    """In the same order, replays and forgeries dropped for the same reasons."""
    datagrams = [
        bytearray(seal_data(packet, n, cipher=cipher)) for packet, n, cipher in sealed
    ]
    if damaged < len(datagrams):
        datagrams[damaged][-1] ^= 1
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            rig = Rig(name, "ingress", stack)
            for datagram in datagrams:
                rig.peer.sendto(datagram, rig.address)
            rig.pump()
            reports, drops, traffic = rig.effects()
            packets = [_without_number(packet) for packet in rig.packets()]
            outcomes.append((packets, Counter(reports), drops, traffic))
    assert outcomes[0] == outcomes[1]
