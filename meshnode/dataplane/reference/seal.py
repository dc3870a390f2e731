"""The sending half of the reference engine: packets in, bursts of datagrams out.

It touches no descriptor and reads no clock, so the simulation calls it as production
does:

    seal.apply(command, now=...)
    seal.send_packet(packet, now=...)        # or send_frame, for frames of a TUN device
    seal.bursts_to_send()                    # -> list[Burst]
    seal.packets_to_return()                 # -> list[bytes], ICMP for our own host
    seal.reports()                           # -> list[Report]

Theory of operation: packets of one peer are gathered into a run of equal-sized
datagrams and sealed together, because one segmented send costs a tenth of many single
ones. A run ends when it is full, when a shorter datagram has closed it, or when the
caller asks for the bursts, so nothing is ever held back. Facts for the timers are
written once a peer and batch.

What goes to the endpoint of a relay channel leaves for the relay, each datagram behind
the channel's header (type 5). Data goes by a peer's standby path as well, in the same
ciphertext; its receiver takes the second for a replay.

The tap sees a packet when it leaves or is dropped, so one that waits is seen once.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from meshnode.codec import ip
from meshnode.codec.channels import HEADER_SIZE, wrap
from meshnode.codec.icmp import unreachable
from meshnode.codec.messages import CONTROL_FIRST_BYTE
from meshnode.codec.virtio import segments
from meshnode.codec.wireguard import DATA_HEADER, DATA_OVERHEAD
from meshnode.crypto.transport import Arena, Sealer
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.reference.notes import Notes
from meshnode.dataplane.routes import Owners, Routes
from meshnode.dataplane.table import ForwardingTable, TablePeer, TableSession
from meshnode.dataplane.tap import NoTap, Tap
from meshnode.dataplane.traffic import EgressRecorder
from meshnode.errors import BadPacket, DropReason
from meshnode.forwarding import (
    Command,
    DropStaged,
    NeedSession,
    PreferSession,
    ProgramComplete,
    RekeyDue,
    Report,
    SendControl,
    SendKeepalive,
    SendProbe,
    Session,
    SetCipher,
    SetLink,
    TrafficResumed,
    UseSession,
)
from meshnode.ports import NEVER
from meshnode.types import Path
from meshnode.wireguard.constants import (
    MAX_STAGED_PACKETS,
    PADDING,
    REJECT_AFTER_MESSAGES,
    REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME,
)

MAX_DATAGRAMS = 64
"""Datagrams in one segmented send; more is refused by older kernels."""

MAX_BURST_BYTES = 65507
"""The greatest UDP payload over IPv4."""

ASK_AGAIN_AFTER = 1.0
"""Seconds until `NeedSession` is repeated for a peer whose packets still wait."""

UNREACHABLE_INTERVAL = 0.05
"""Seconds between two ICMP errors to our own host, on average."""

UNREACHABLE_BURST = 20
"""ICMP errors at once."""

_HEADER_SIZE = DATA_HEADER.size
_pack_header = DATA_HEADER.pack_into


class _Session(TableSession):
    __slots__ = ("counter", "is_rekey_reported", "rekey_at", "remote_index", "sealer")

    def __init__(self, slot: int, secrets: Session) -> None:
        super().__init__(slot, secrets)
        self.sealer = Sealer(secrets.send_key)
        self.remote_index = secrets.remote_index
        self.counter = 0
        self.is_rekey_reported = False
        after = REKEY_AFTER_TIME if secrets.is_initiator else float("inf")
        self.rekey_at = secrets.born_at + after

    def can_carry(self, packets: int, now: float) -> bool:
        """Return whether that many packets may still be sent (paper 6.2)."""
        return now < self.expires_at and self.counter + packets <= REJECT_AFTER_MESSAGES

    def claim(self, packets: int) -> int:
        """Return the first of so many counters, which are used by nobody else."""
        first = self.counter
        self.counter += packets
        return first


class _Peer(TablePeer[_Session]):
    __slots__ = (
        "asked_at",
        "data_bytes",
        "data_packets",
        "has_asked_for_users",
        "has_users_data",
        "keepalive_bytes",
        "run",
        "run_bytes",
        "run_counter",
        "run_size",
        "staged",
    )

    def __init__(self, slot: int) -> None:
        super().__init__(slot)
        self.staged: deque[bytes] = deque()
        self.asked_at = NEVER
        self.has_asked_for_users = False
        # Padded plaintexts of equal size that wait to be sealed together.
        self.run: list[bytes] = []
        self.run_size = 0
        self.run_bytes = 0
        self.run_counter = 0
        self.data_packets = 0
        self.has_users_data = False
        self.data_bytes = 0
        self.keepalive_bytes = 0


class SealHalf:
    """Routes, stages, pads and seals packets; see the module for how it is driven.

    `drops` counts what was dropped. All times are boottime seconds.
    """

    def __init__(
        self,
        generation: int,
        recorder: EgressRecorder,
        *,
        make_session: Callable[[int, Session], Any] = _Session,
        make_routes: Callable[[], Routes] = Routes,
        tap: Tap | None = None,
    ) -> None:
        self.drops = dict.fromkeys(DropReason, 0)
        self._table: ForwardingTable[_Peer, _Session] = ForwardingTable(
            generation, _Peer, make_session, make_routes
        )
        self._recorder = recorder
        self._notes = Notes(tap or NoTap(), self._table)
        self._active: dict[int, _Peer] = {}
        self._bursts: list[Burst] = []
        self._reports: list[Report] = []
        self._returned: list[bytes] = []
        self._unreachable_tokens = float(UNREACHABLE_BURST)
        self._now = NEVER

    def apply(self, command: Command, *, now: float) -> None:
        """Obey one command of control."""
        # What was taken before the command goes out under what held before it.
        self._close_runs()
        self._record()
        reports = self._table.apply(command)
        if reports is None:
            return
        self._reports += reports
        self._note_time(now)
        match command:
            case UseSession(slot, _) | PreferSession(slot, _):
                self._send_staged(slot)
            case SendKeepalive(slot):
                self._send_keepalive(slot)
            case SetCipher(_, local_index, _):
                self._follow_cipher(local_index)
            case SendControl(slot, frame, None):
                self._send_control(slot, frame)
            case SendControl(slot, frame, Path() as path):
                self._send_by(slot, frame, path)
            case SendProbe(slot, frame, size):
                self._send_probe(slot, frame + bytes(size - len(frame)))
            case DropStaged(slot):
                self._drop_staged(slot)
            case SetLink(up=False):
                for slot in self._table.peers:
                    self._drop_staged(slot)
            case ProgramComplete():
                self._ask_for_staged()

    @property
    def table(self) -> ForwardingTable[_Peer, _Session]:
        """What commands have made, for an engine that has a faster way beside us."""
        return self._table

    def note_carried(self, slot: int, *, has_resumed: bool, now: float) -> None:
        """Tell control what follows from data that was sent and recorded elsewhere.

        *has_resumed* is what the recorder said.
        """
        self._note_time(now)
        if has_resumed:
            self._reports.append(TrafficResumed(slot))
        peer = self._table.peers.get(slot)
        if peer is not None and peer.in_use is not None:
            self._check_rekey(peer.in_use)

    def send_frame(self, frame: bytes, *, now: float) -> None:
        """Send what one frame of a TUN device with IFF_VNET_HDR stands for."""
        try:
            packets = segments(frame)
        except BadPacket as refusal:
            self.drops[refusal.reason] += 1
            return
        self._note_time(now)
        self._route(packets)

    def send_packet(self, packet: bytes, *, now: float) -> None:
        """Send one IP packet."""
        try:
            packet = packet[: ip.true_length(packet)]
        except BadPacket as refusal:
            self.drops[refusal.reason] += 1
            return
        self._note_time(now)
        self._route([packet])

    def full_bursts(self) -> list[Burst]:
        """Return the bursts that cannot grow any more, while a batch goes on."""
        bursts, self._bursts = self._bursts, []
        return bursts

    def bursts_to_send(self) -> list[Burst]:
        """Return everything there is to send, and write the facts about it."""
        self._close_runs()
        self._record()
        return self.full_bursts()

    def packets_to_return(self) -> list[bytes]:
        """Return and forget the ICMP errors for our own host."""
        packets, self._returned = self._returned, []
        return packets

    def reports(self) -> list[Report]:
        """Return and forget what control must be told."""
        reports, self._reports = self._reports, []
        return reports

    def _note_time(self, now: float) -> None:
        if now > self._now:
            earned = (now - self._now) / UNREACHABLE_INTERVAL
            self._unreachable_tokens = min(
                self._unreachable_tokens + earned, UNREACHABLE_BURST
            )
            self._now = now

    def _route(self, packets: list[bytes]) -> None:
        """Send packets that have one destination, as all segments of a frame do."""
        table = self._table
        if not table.is_up:
            self.drops[DropReason.DEVICE_DOWN] += len(packets)
            self._notes.dropped(packets, DropReason.DEVICE_DOWN)
            return
        owner = table.routes.lookup(ip.destination(packets[0]))
        if isinstance(owner, Owners):
            owner = owner.owner_of(packets[0])
        peer = None if owner is None else table.peers.get(owner)
        if peer is None:
            self._refuse(packets, DropReason.NO_ROUTE)
        elif peer.path is None:
            self._wait_or_refuse(peer, packets)
        # As `_send_or_stage`, without the call: this runs for every packet.
        elif peer.in_use is None or not peer.in_use.can_carry(len(packets), self._now):
            self._stage(peer, packets)
        else:
            self._add_to_run(peer, peer.in_use, packets)

    def _wait_or_refuse(self, peer: _Peer, packets: Sequence[bytes]) -> None:
        """Packets for a peer that is nowhere wait if somebody looks for it."""
        if peer.is_sought:
            self._stage(peer, packets)
        else:
            self._refuse(packets, DropReason.NO_ENDPOINT)

    def _send_or_stage(self, peer: _Peer, packets: Sequence[bytes]) -> None:
        """Send *packets* if there is a way and a session for all, else keep them."""
        session = peer.in_use
        if (
            session is None
            or peer.path is None
            or not session.can_carry(len(packets), self._now)
        ):
            self._stage(peer, packets)
        else:
            self._add_to_run(peer, session, packets)

    def _refuse(self, packets: Sequence[bytes], reason: DropReason) -> None:
        """Drop packets of one destination, and tell our host."""
        self.drops[reason] += len(packets)
        self._notes.dropped(packets, reason)
        self._answer_unreachable(packets[0])

    def _answer_unreachable(self, packet: bytes) -> None:
        if self._unreachable_tokens < 1 or _is_control(packet):
            return
        answer = unreachable(packet)
        if answer is not None:
            self._unreachable_tokens -= 1
            self._returned.append(answer)

    def _stage(self, peer: _Peer, packets: Sequence[bytes]) -> None:
        if not peer.staged:
            peer.has_asked_for_users = False
        peer.staged.extend(packets)
        while len(peer.staged) > MAX_STAGED_PACKETS:
            oldest = peer.staged.popleft()
            self.drops[DropReason.STAGED_FULL] += 1
            self._notes.dropped((oldest,), DropReason.STAGED_FULL, peer.slot)
        self._ask_for_session(peer)

    def _ask_for_session(self, peer: _Peer) -> None:
        for_users = not all(map(_is_control, peer.staged))
        is_news = for_users and not peer.has_asked_for_users
        if is_news or self._now - peer.asked_at >= ASK_AGAIN_AFTER:
            peer.asked_at = self._now
            peer.has_asked_for_users = for_users
            self._reports.append(NeedSession(peer.slot, for_users))

    def _ask_for_staged(self) -> None:
        """Ask again for all peers: a new control process knows of no staged packet."""
        for peer in self._table.peers.values():
            if peer.staged:
                peer.asked_at = NEVER
                self._ask_for_session(peer)

    def _send_staged(self, slot: int) -> bool:
        """Send the staged packets in order; return whether there were any."""
        peer = self._table.find_peer(slot)
        if peer is None or not peer.staged:
            return False
        peer.asked_at = NEVER
        packets = list(peer.staged)
        peer.staged.clear()
        if peer.path is None:
            self._wait_or_refuse(peer, packets)
        else:
            self._send_or_stage(peer, packets)
        return True

    def _follow_cipher(self, local_index: int) -> None:
        session = self._table.sessions.get(local_index)
        if session is not None:
            session.sealer = Sealer(session.secrets.send_key, session.cipher)

    def _send_keepalive(self, slot: int) -> None:
        if not self._table.is_up or self._send_staged(slot):
            return
        peer = self._table.find_peer(slot)
        if peer is None or peer.path is None:
            return
        if peer.in_use is None or not peer.in_use.can_carry(1, self._now):
            self._ask_for_session(peer)
        else:
            self._add_to_run(peer, peer.in_use, [b""])

    def _send_control(self, slot: int, frame: bytes) -> None:
        peer = self._table.find_peer(slot)
        if not self._table.is_up:
            self.drops[DropReason.DEVICE_DOWN] += 1
        elif peer is not None:
            self._send_or_stage(peer, (frame,))

    def _send_by(self, slot: int, frame: bytes, path: Path) -> None:
        """Send a control frame by *path*, whatever the peer's is."""
        packet = frame + bytes(_padding(len(frame), self._table.mtu))
        data = self._seal_alone(slot, packet)
        if data is not None:
            self._leave(Burst(path, len(data), data), slot)

    def _send_probe(self, slot: int, packet: bytes) -> None:
        """Send a datagram that is never padded nor split."""
        peer = self._table.find_peer(slot)
        path = None if peer is None else peer.path
        if path is None:
            return
        data = self._seal_alone(slot, packet)
        if data is not None:
            self._leave(Burst(path, len(data), data, is_probe=True), slot)

    def _seal_alone(self, slot: int, packet: bytes) -> bytearray | None:
        """Return a datagram of its own, or None: it is not kept for later."""
        peer = self._table.find_peer(slot)
        if not self._table.is_up:
            self.drops[DropReason.DEVICE_DOWN] += 1
            return None
        if peer is None or peer.in_use is None:
            return None
        if not peer.in_use.can_carry(1, self._now):
            return None
        self._active[slot] = peer
        size = len(packet) + DATA_OVERHEAD
        # As a keepalive: silence after it says nothing against the session.
        peer.keepalive_bytes += size
        return self._seal(peer.in_use, [packet], size, peer.in_use.claim(1))

    def _drop_staged(self, slot: int) -> None:
        peer = self._table.find_peer(slot)
        if peer is None:
            return
        if not self._table.is_up:
            self.drops[DropReason.DEVICE_DOWN] += len(peer.staged)
        elif peer.is_sought:
            # Whoever sent them waits for a peer that nobody has found.
            for packet in peer.staged:
                self._answer_unreachable(packet)
        self._notes.dropped(peer.staged, None, slot)
        peer.staged.clear()
        peer.asked_at = NEVER

    def _add_to_run(
        self, peer: _Peer, session: _Session, packets: Sequence[bytes]
    ) -> None:
        """Pad *packets* and add them to the peer's run, sealing what is full."""
        self._active[peer.slot] = peer
        mtu = self._table.mtu
        self._notes.leaving(peer.slot, peer.path, packets)
        # Before anything is encrypted: whatever happens, no counter is used twice.
        counter = session.claim(len(packets))
        for packet in packets:
            if packet and not _is_control(packet):
                peer.has_users_data = True
            size = len(packet)
            padding = _padding(size, mtu)
            if padding:
                packet += bytes(padding)
                size += padding
            # A shorter datagram may join as the last; nothing may follow it. Other
            # workers may have taken the counters between.
            if peer.run and (
                counter != peer.run_counter + len(peer.run)
                or size > peer.run_size
                or len(peer.run[-1]) != peer.run_size
                or len(peer.run) == MAX_DATAGRAMS
                or peer.run_bytes + size + DATA_OVERHEAD > MAX_BURST_BYTES
            ):
                self._seal_run(peer, session)
            if not peer.run:
                peer.run_size = size
                peer.run_counter = counter
            peer.run.append(packet)
            peer.run_bytes += size + DATA_OVERHEAD
            counter += 1

    def _close_runs(self) -> None:
        for peer in self._active.values():
            if peer.run and peer.in_use is not None:
                self._seal_run(peer, peer.in_use)

    def _seal_run(self, peer: _Peer, session: _Session) -> None:
        run, total = peer.run, peer.run_bytes
        peer.run, peer.run_bytes = [], 0
        path = peer.path
        if path is None:
            self.drops[DropReason.NO_ENDPOINT] += len(run)
            return
        data = self._seal(session, run, total, peer.run_counter)
        segment_size = peer.run_size + DATA_OVERHEAD
        self._leave(Burst(path, segment_size, data), peer.slot)
        if peer.standby is not None and peer.run_size and not _is_control(run[0]):
            self._leave(Burst(peer.standby, segment_size, data), peer.slot)
        if peer.run_size:
            peer.data_packets += len(run)
            peer.data_bytes += total
        else:
            peer.keepalive_bytes += total
        self._check_rekey(session)

    def _leave(self, burst: Burst, slot: int) -> None:
        """Queue sealed datagrams for *slot*; those for a channel go by its relay."""
        way, label = self._table.way_of(burst.path)
        if way is None:
            self.drops[DropReason.NO_ENDPOINT] += burst.count
        elif not label:
            self._queue(burst, slot, label)
        else:
            size = burst.segment_size + HEADER_SIZE
            # With the headers a full burst is too much for one send.
            room = max(MAX_BURST_BYTES // size, 1) * burst.segment_size
            for at in range(0, len(burst.data), room):
                part = memoryview(burst.data)[at : at + room]
                data = wrap(part, burst.segment_size, label)
                self._queue(Burst(way, size, data, burst.is_probe), slot, label)

    def _queue(self, burst: Burst, slot: int, label: int) -> None:
        self._bursts.append(burst)
        self._notes.burst(slot, burst, label)

    def _seal(
        self, session: _Session, run: Sequence[bytes], total: int, counter: int
    ) -> bytearray:
        """Return the datagrams of *run*, *total* bytes, one after the other."""
        arena = Arena(total)
        data, remote_index = arena.data, session.remote_index
        kind = int(session.cipher)
        seal = session.sealer.seal_into
        at = 0
        for plaintext in run:
            _pack_header(data, at, kind, remote_index, counter)
            seal(arena, at + _HEADER_SIZE, plaintext, counter)
            at += len(plaintext) + DATA_OVERHEAD
            counter += 1
        return data

    def _check_rekey(self, session: _Session) -> None:
        is_due = session.counter > REKEY_AFTER_MESSAGES or self._now >= session.rekey_at
        if is_due and not session.is_rekey_reported:
            session.is_rekey_reported = True
            due = RekeyDue(session.slot, session.local_index, received=False)
            self._reports.append(due)

    def _record(self) -> None:
        """Write what was sent since the last call; once a peer, not once a packet."""
        for slot, peer in self._active.items():
            has_resumed = False
            if peer.data_packets:
                has_resumed = self._recorder.sent_data(
                    slot, peer.data_packets, peer.data_bytes, self._now
                )
                peer.data_packets = peer.data_bytes = 0
                if peer.has_users_data:
                    self._recorder.sent_for_users(slot, self._now)
            peer.has_users_data = False
            if peer.keepalive_bytes:
                self._recorder.sent_keepalive(slot, peer.keepalive_bytes, self._now)
                peer.keepalive_bytes = 0
            if has_resumed:
                self._reports.append(TrafficResumed(slot))
        self._active.clear()


def _is_control(packet: bytes) -> bool:
    """Whether this is a frame of control's, which no application has sent."""
    return packet[0] == CONTROL_FIRST_BYTE


def _padding(size: int, mtu: int) -> int:
    """Return how many zeros follow a packet (paper 5.4.6): to 16, never beyond MTU.

    An MTU of 0 is none; a packet above it counts modulo the MTU, as in the kernel.
    """
    rounded = -size % PADDING
    if not mtu:
        return rounded
    if size > mtu:
        size %= mtu
    return min(-size % PADDING, mtu - size)
