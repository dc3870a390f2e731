"""The receiving half of the reference engine: datagrams in, inner packets out.

It touches no descriptor and reads no clock, so the simulation calls it as production
does:

    half.apply(command, now=...)
    half.receive(datagram, path, now=...)    # or receive_burst, from a receive buffer
    half.moves()                             # -> what egress must know before replies
    half.bursts_to_forward()                 # -> list[Burst], what we relay for others
    half.packets_to_deliver()                # -> list[bytes], inner IP packets
    half.handshakes()                        # -> list[Datagram] for control
    half.reports()                           # -> list[Report]

Theory of operation: the order of the checks is the paper's (5.4.6, 6.5): nothing
changes for a datagram before its tag is verified, and what was authenticated counts,
roams and confirms even if its inner packet is refused afterwards. All datagrams of a
burst share a path, so what depends on it is done once for each run of one session.

What comes by a relay (type 5) is handed on, or received as if it had come from the
endpoint of its channel. By a path of another kind than its own, endpoint or channel, a
peer is heard and stays where it is; so it does if it comes by another channel.

A payload that begins with 0x01 is no packet but a control frame of the peer's: it goes
to control as a report, at most `FRAMES_PER_SECOND` of one peer.
"""

from collections.abc import Callable
from typing import Any

from meshnode.channels import channel_of, endpoint_of
from meshnode.codec import ip
from meshnode.codec.channels import HEADER_SIZE, Run, may_have_channels, runs
from meshnode.codec.forwarding import MAX_PADDED_FRAME
from meshnode.codec.messages import CONTROL_FIRST_BYTE, frame_end
from meshnode.codec.tap import TUNNEL_IN, UNDERLAY_IN, code_of
from meshnode.codec.wireguard import (
    DATA_HEADER,
    DATA_OVERHEAD,
    DATA_TYPE,
    DATA_TYPES,
    message_type,
)
from meshnode.crypto.transport import Arena, Opener, can_use
from meshnode.dataplane.buckets import TokenBucket
from meshnode.dataplane.channel_table import ChannelTable
from meshnode.dataplane.gate import HandshakeGate
from meshnode.dataplane.interface import MAX_WAITING_FRAMES, Burst
from meshnode.dataplane.reference.relay import Relay
from meshnode.dataplane.routes import Owners, Routes
from meshnode.dataplane.table import ForwardingTable, TablePeer, TableSession
from meshnode.dataplane.tap import NoTap, Tap
from meshnode.dataplane.traffic import IngressRecorder
from meshnode.errors import BadPacket, DropReason
from meshnode.forwarding import (
    Command,
    ControlReceived,
    EndpointMoved,
    HandshakeLoad,
    PathHeard,
    PreferSession,
    ProgramComplete,
    RekeyDue,
    RemovePeer,
    Report,
    Session,
    SessionConfirmed,
    SetEndpoint,
    SetIdentity,
    TrafficResumed,
)
from meshnode.ports import NEVER
from meshnode.types import Cipher, Datagram, Path
from meshnode.wireguard.constants import RECEIVE_REKEY_AGE, REJECT_AFTER_MESSAGES
from meshnode.wireguard.replay import ReplayWindow

FRAMES_PER_SECOND = 200
"""Control frames of one peer that control has to read, and as many at once."""

MAX_HEARD = 4
"""Paths of one peer, beside its own, by which it comes without control hearing again.

It may send by two channels and by an endpoint while we keep to a fourth.
"""

_HEADER_SIZE = DATA_HEADER.size
_unpack_header = DATA_HEADER.unpack_from

_OPENED = frozenset(int(cipher) for cipher in Cipher if can_use(cipher))
_NEVER_DUE = float("inf")


class _Session(TableSession):
    __slots__ = ("aes_opener", "is_confirmed", "opener", "rekey_at", "window")

    def __init__(self, slot: int, secrets: Session) -> None:
        super().__init__(slot, secrets)
        self.opener = Opener(secrets.receive_key)
        # Most sessions of a mixed network never need it.
        self.aes_opener: Opener | None = None
        self.window = ReplayWindow()
        self.is_confirmed = False
        self.rekey_at = (
            secrets.born_at + RECEIVE_REKEY_AGE if secrets.is_initiator else _NEVER_DUE
        )


class _Peer(TablePeer[_Session]):
    __slots__ = (
        "data_bytes",
        "data_packets",
        "frames",
        "heard",
        "keepalive_bytes",
        "keepalives",
    )

    def __init__(self, slot: int) -> None:
        super().__init__(slot)
        # Most peers never send a control frame.
        self.frames: TokenBucket | None = None
        self.heard: tuple[Path, ...] = ()
        self.data_packets = 0
        self.data_bytes = 0
        self.keepalives = 0
        self.keepalive_bytes = 0


class _Sources:
    """Where the peers are, as (host, port): the gate's known sources, kept live."""

    def __init__(self) -> None:
        self._paths: dict[int, tuple[str, int]] = {}
        self.count: dict[tuple[str, int], int] = {}

    def slots(self) -> set[int]:
        """Return the slots of the peers whose place is known."""
        return set(self._paths)

    def set(self, slot: int, path: Path | None) -> None:
        """Note that the peer in *slot* is reached by *path* now."""
        old = self._paths.pop(slot, None)
        if old is not None:
            self.count[old] -= 1
            if not self.count[old]:
                del self.count[old]
        if path is not None:
            new = (path.remote.host, path.remote.port)
            self._paths[slot] = new
            self.count[new] = self.count.get(new, 0) + 1


def _opener_of(session: _Session, kind: int) -> Opener:
    """Return what opens messages of the type *kind*."""
    if kind == DATA_TYPE:
        return session.opener
    if session.aes_opener is None:
        key = session.secrets.receive_key
        session.aes_opener = Opener(key, Cipher.AES_256_GCM)
    return session.aes_opener


def _is_shared_with(slot: int, owner: int | Owners | None) -> bool:
    """Whether a prefix is shared, and this one among those who may speak from it."""
    return isinstance(owner, Owners) and slot in owner.accept


def _no_commands() -> None:
    """Whoever applies every command at once has none waiting."""


class OpenHalf:
    """Opens, checks and sorts datagrams; see the module for how it is driven.

    `drops` counts what was dropped. All times are boottime seconds. `catch_up` is
    called before an index is taken for unknown: control announces a session before
    anything can arrive under it, so the announcement is waiting if there is one.
    *workers* is how many of us share the rates of handshakes.
    """

    def __init__(
        self,
        generation: int,
        recorder: IngressRecorder,
        *,
        workers: int = 1,
        make_session: Callable[[int, Session], Any] = _Session,
        make_routes: Callable[[], Routes] = Routes,
        make_channels: Callable[[], ChannelTable] = ChannelTable,
        tap: Tap | None = None,
    ) -> None:
        self.catch_up: Callable[[], object] = _no_commands
        self.drops = dict.fromkeys(DropReason, 0)
        self._table: ForwardingTable[_Peer, _Session] = ForwardingTable(
            generation, _Peer, make_session, make_routes, make_channels
        )
        self._relay = Relay(self._table, self.drops, tap)
        self._recorder = recorder
        self._tap = tap or NoTap()
        self._arrival: Path | None = None
        self._sources = _Sources()
        self._gate = HandshakeGate.one_of(workers)
        self._gate.set_known_sources(self._sources.count.keys())
        self._active: dict[int, _Peer] = {}
        self._now = NEVER
        self._moved: dict[int, Path] = {}
        self._moves: list[SetEndpoint | PreferSession] = []
        self._heard: list[int] = []
        self._reports: list[Report] = []
        self._waiting_frames = 0
        self._packets: list[bytes] = []
        self._handshakes: list[Datagram] = []

    def apply(self, command: Command, *, now: float) -> None:
        """Obey one command of control."""
        self._record()
        reports = self._table.apply(command)
        if reports is None:
            return
        self._reports += reports
        self._refresh_sources(command)
        if isinstance(command, SetIdentity):
            self._gate.set_identity(command.public_key)

    def receive(self, data: bytes, path: Path, *, now: float) -> None:
        """Take one datagram that arrived by *path*."""
        arena = Arena(len(data))
        arena.data[:] = data
        self.receive_burst(arena, len(data), len(data), path, now=now)

    def receive_burst(
        self, arena: Arena, length: int, segment_size: int, path: Path, *, now: float
    ) -> None:
        """Take the datagrams in the first *length* bytes of *arena*.

        Each has *segment_size* bytes but the last, which may be shorter. The arena is
        overwritten and free again afterwards.
        """
        self._now = now
        self._arrival = path
        if not self._table.is_up:
            self.drops[DropReason.DEVICE_DOWN] += 1
        elif may_have_channels(arena.data, length, segment_size):
            self._sort_by_channel(arena, length, segment_size, path)
        else:
            self._take_run(
                arena, range(0, length or 1, segment_size or 1), length, path
            )

    @property
    def table(self) -> ForwardingTable[_Peer, _Session]:
        """What commands have made, for an engine that has a faster way beside us."""
        return self._table

    def note_resumed(self, slot: int) -> None:
        """Tell control that traffic resumed, as who recorded it elsewhere found."""
        self._reports.append(TrafficResumed(slot))

    def take_frame(
        self, slot: int, frame: bytes, size: int, path: Path, *, now: float
    ) -> None:
        """Take a control frame that authenticated another way.

        It came in *size* bytes, of which at least the first 1,218 are in *frame*, and
        by *path*.
        """
        self._now = now
        peer = self._table.peers.get(slot)
        if peer is not None:
            self._report_frame(frame, size, peer, path)

    def admit(self, data: bytes, host: str, port: int, *, now: float) -> bool:
        """Tell whether control shall have what is no data; if so, `pass_up` it."""
        self._now = now
        if not self._table.is_up:
            reason: DropReason | None = DropReason.DEVICE_DOWN
        else:
            reason = self._gate.admit(data, host, port, now=now)
        if reason is not None:
            self._drop(reason)
        return reason is None

    def pass_up(self, datagram: Datagram) -> None:
        """Queue an admitted handshake message for control."""
        self._handshakes.append(datagram)

    @property
    def relayed(self) -> tuple[int, int]:
        """How many datagrams went on to others, and their bytes together."""
        return self._relay.datagrams, self._relay.octets

    def bursts_to_forward(self) -> list[Burst]:
        """Return and forget what goes on to others by our channels."""
        return self._relay.bursts()

    def packets_to_deliver(self) -> list[bytes]:
        """Return and forget the inner packets, trimmed to their true length."""
        packets, self._packets = self._packets, []
        return packets

    def handshakes(self) -> list[Datagram]:
        """Return and forget the handshake messages that control shall have."""
        handshakes, self._handshakes = self._handshakes, []
        return handshakes

    def moves(self) -> list[SetEndpoint | PreferSession]:
        """Return and forget where peers were heard from anew, for the other worker.

        It must know before the packets are delivered: their answers belong there.
        """
        moves, self._moves = self._moves, []
        return moves

    def heard(self) -> list[int]:
        """Return and forget which peers came by paths that control now knows of.

        What comes by those, as by the peer's own, has no consequences any more.
        """
        slots, self._heard = self._heard, []
        return slots

    def reports(self) -> list[Report]:
        """Write the facts of the batch; return and forget what control must be told.

        Of several moves of one peer only the last is told.
        """
        self._record()
        self._reports += [EndpointMoved(*move) for move in self._moved.items()]
        self._moved.clear()
        self._waiting_frames = 0
        if self._gate.poll_load(now=self._now):
            self._reports.append(HandshakeLoad())
        reports, self._reports = self._reports, []
        return reports

    def _sort_by_channel(
        self, arena: Arena, length: int, segment_size: int, path: Path
    ) -> None:
        """Take a burst in which some datagrams, or all, came by a relay."""
        data = arena.data
        for run in runs(data, length, segment_size):
            steps = range(run.start, run.end, segment_size)
            if run.channel is None:
                self._take_run(arena, steps, run.end, path)
                continue
            channel = self._relay.find(run.channel, path, len(steps), self.catch_up)
            if channel is None:
                known = self._table.channels.find(run.channel) is not None
                reason = "CHANNEL_SOURCE" if known else "UNKNOWN_CHANNEL"
                verdict = code_of(DropReason[reason])
                self._note_run(data, steps, run, verdict)
                continue
            if channel.command.onward is None:
                behind = Path(endpoint_of(run.channel))
                self._take_run(arena, steps, run.end, behind, HEADER_SIZE)
            else:
                size = min(segment_size, run.end - run.start)
                copy = data[run.start : run.end]
                self._relay.forward(channel, copy, size, path, now=self._now)

    def _take_run(
        self, arena: Arena, steps: range, end: int, path: Path, skipped: int = 0
    ) -> None:
        """Take the datagrams that begin at *steps* but for their first bytes.

        The last one goes up to *end*. The content of a channel never begins with
        another channel: such a type is received as any other that is unknown.
        """
        current: _Session | None = None
        peer: _Peer | None = None
        now = self._now
        for start in steps:
            at = start + skipped
            size = min(start + steps.step, end) - at
            if self._tap.sides:
                whole = arena.data[start : at + size]
                channel = channel_of(path.remote)
                self._tap.note(UNDERLAY_IN, whole, path=self._arrival, channel=channel)
            opened = self._open(arena, at, size, path, now)
            if opened is None:
                continue
            session, packet = opened
            if session is not current or peer is None:
                current = session
                peer = self._table.peers.get(session.slot)
                if peer is None:
                    self._drop(DropReason.UNKNOWN_PEER)
                    continue
                self._note_authenticated(peer, session, path, now)
            if packet:
                peer.data_packets += 1
                peer.data_bytes += size
                self._deliver(packet, peer, path)
            else:
                peer.keepalives += 1
                peer.keepalive_bytes += size

    def _open(
        self, arena: Arena, at: int, size: int, path: Path, now: float
    ) -> tuple[_Session, bytes] | None:
        """Return the session and plaintext of one datagram, if it authenticates."""
        drop = self._drop
        if size >= DATA_OVERHEAD:
            kind, index, counter = _unpack_header(arena.data, at)
        else:
            kind = 0
        if kind not in _OPENED:
            self._receive_other(bytes(arena.data[at : at + size]), path, now)
            return None
        session = self._table.sessions.get(index)
        if session is None:
            self.catch_up()
            session = self._table.sessions.get(index)
        if session is not None:
            self._tap.name(session.slot)
        if session is None:
            drop(DropReason.UNKNOWN_INDEX)
        elif now >= session.expires_at:
            drop(DropReason.KEY_EXPIRED)
        elif counter >= REJECT_AFTER_MESSAGES:
            drop(DropReason.COUNTER_LIMIT)
        elif not session.window.is_fresh(counter):
            # Asked before the cipher, for a replayed flood must not cost one.
            drop(DropReason.REPLAY)
        else:
            packet = _opener_of(session, kind).open_from(
                arena, at + _HEADER_SIZE, size - _HEADER_SIZE, counter
            )
            if packet is None:
                drop(DropReason.BAD_TAG)
            elif session.window.accept(counter):
                return session, packet
            else:
                drop(DropReason.REPLAY)
        return None

    def _drop(self, reason: DropReason) -> None:
        """Count what was noted last as dropped."""
        self.drops[reason] += 1
        self._tap.judge(reason)

    def _note_run(self, data: bytearray, steps: range, run: Run, verdict: int) -> None:
        """Let the tap have what is not opened here, as it came."""
        if self._tap.sides:
            for start in steps:
                self._tap.note(
                    UNDERLAY_IN,
                    data[start : min(start + steps.step, run.end)],
                    verdict=verdict,
                    path=self._arrival,
                    channel=run.channel or 0,
                )

    def _receive_other(self, data: bytes, path: Path, now: float) -> None:
        """Pass a handshake message up, if the gate admits it."""
        if len(data) < DATA_OVERHEAD and message_type(data) in DATA_TYPES:
            self._drop(DropReason.BAD_LENGTH)
        elif self.admit(data, path.remote.host, path.remote.port, now=now):
            self.pass_up(Datagram(data, path))

    def _note_authenticated(
        self, peer: _Peer, session: _Session, path: Path, now: float
    ) -> None:
        """Do what one authenticated datagram of a burst is reason enough for."""
        self._active[peer.slot] = peer
        # Identity first: the pump gives equal paths as one object.
        if path is not peer.path and path != peer.path:
            self._hear_from(peer, path)
        if not session.is_confirmed:
            session.is_confirmed = True
            if not session.secrets.is_initiator:
                self._moves.append(PreferSession(session.slot, session.local_index))
            confirmed = SessionConfirmed(session.slot, session.local_index)
            self._reports.append(confirmed)
        if now > session.rekey_at:
            session.rekey_at = _NEVER_DUE
            due = RekeyDue(session.slot, session.local_index, received=True)
            self._reports.append(due)

    def _hear_from(self, peer: _Peer, path: Path) -> None:
        """Let the peer move to *path*, or control hear that it came by it."""
        old = peer.path
        if old is None or not (channel_of(old.remote) or channel_of(path.remote)):
            peer.path = path
            self._moved[peer.slot] = path
            self._moves.append(SetEndpoint(peer.slot, path))
            self._sources.set(peer.slot, path)
        elif path not in peer.heard:
            peer.heard = (*peer.heard, path)[-MAX_HEARD:]
            self._heard.append(peer.slot)
            self._reports.append(PathHeard(peer.slot, path))

    def _deliver(self, packet: bytes, peer: _Peer, path: Path) -> None:
        """Check the inner packet and queue it without its padding."""
        try:
            size = ip.true_length(packet)
        except BadPacket as refusal:
            if packet[0] == CONTROL_FIRST_BYTE:
                self._report_frame(packet, len(packet), peer, path)
            else:
                self._note_inner(packet, peer, path)
                self._drop(refusal.reason)
            return
        self._note_inner(packet[:size], peer, path)
        owner = self._table.routes.lookup(ip.source(packet))
        if owner != peer.slot and not _is_shared_with(peer.slot, owner):
            self._drop(DropReason.BAD_SOURCE)
            return
        self._packets.append(packet if size == len(packet) else packet[:size])

    def _note_inner(self, packet: bytes, peer: _Peer, path: Path) -> None:
        if self._tap.sides:
            self._tap.note(
                TUNNEL_IN,
                packet,
                slot=peer.slot,
                path=self._arrival,
                channel=channel_of(path.remote),
            )

    def _report_frame(
        self, frame: bytes, size: int, peer: _Peer, path: Path | None
    ) -> None:
        """Queue a control frame, if the peer and all together sent few enough."""
        if size > MAX_PADDED_FRAME:
            # A probe of the path's size: what fills it up goes no further.
            frame = frame[: min(frame_end(frame), MAX_PADDED_FRAME)]
        if peer.frames is None:
            peer.frames = TokenBucket(FRAMES_PER_SECOND, FRAMES_PER_SECOND)
        if self._waiting_frames < MAX_WAITING_FRAMES and peer.frames.take(self._now):
            self._waiting_frames += 1
            cut = size - len(frame)
            self._reports.append(ControlReceived(peer.slot, frame, cut, path))
        else:
            self.drops[DropReason.CONTROL_FULL] += 1

    def _record(self) -> None:
        """Write what was received since the last call, once a peer."""
        for slot, peer in self._active.items():
            has_resumed = False
            if peer.data_packets:
                has_resumed = self._recorder.received_data(
                    slot, peer.data_packets, peer.data_bytes, self._now
                )
                peer.data_packets = peer.data_bytes = 0
            if peer.keepalives:
                self._recorder.received_keepalive(
                    slot, peer.keepalive_bytes, self._now, packets=peer.keepalives
                )
                peer.keepalives = peer.keepalive_bytes = 0
            if has_resumed:
                self._reports.append(TrafficResumed(slot))
        self._active.clear()

    def _refresh_sources(self, command: Command) -> None:
        """Keep the gate's known sources equal to the paths of the peers in use.

        Who decides about a path wants to hear anew by which others the peer comes.
        """
        match command:
            case ProgramComplete():
                for slot in self._sources.slots() - self._table.peers.keys():
                    self._sources.set(slot, None)
                for slot, peer in self._table.peers.items():
                    self._sources.set(slot, peer.path)
                    peer.heard = ()
            case SetEndpoint(slot, _) | RemovePeer(slot):
                known = self._table.peers.get(slot)
                self._sources.set(slot, known.path if known else None)
                if known:
                    known.heard = ()
