"""WireGuard's control half for one device: all peers on one port, sans-IO.

How to drive it. Call an input verb; then drain `next_event()` until None,
`commands_to_forward()` and `datagrams_to_send()`, in this order: an event may ask for
something to be persisted before the datagrams leave. Then sleep until
`next_deadline()` or the next input, and call `handle_deadline` when it is due. Queued
output makes the next deadline "now".

All times are boottime seconds. Calls are synchronous, so each is one atomic step. Any
bytes from anyone raise nothing, cause no reply larger than they were, and change no
peer before they authenticated; what was dropped is counted by reason.

This object routes and drains; `peer` decides, `configure` plans changes, `describe`
says what there is.
"""

from collections import Counter
from collections.abc import Iterator

from meshnode.codec.wireguard import (
    CookieReply,
    Initiation,
    Response,
    parse_handshake,
)
from meshnode.crypto.keys import PrivateKey, PublicKey
from meshnode.deadlines import Deadline, earliest
from meshnode.errors import BadPacket, DropReason
from meshnode.forwarding import (
    MAX_INNER,
    Command,
    ControlReceived,
    EndpointMoved,
    HandshakeLoad,
    HeldSession,
    NeedSession,
    PathHeard,
    RekeyDue,
    Report,
    SessionConfirmed,
    SessionsHeld,
    SetIdentity,
    SetLink,
    TrafficResumed,
)
from meshnode.ports import Entropy, TrafficView
from meshnode.types import Datagram, Path
from meshnode.wireguard.config import (
    DeviceChange,
    DeviceState,
    DeviceStatus,
    PeerState,
)
from meshnode.wireguard.constants import DEFAULT_MTU, HANDSHAKE_QUEUE
from meshnode.wireguard.cookie import CookieChecker, LoadMonitor
from meshnode.wireguard.describe import (
    describe_peer,
    describe_state,
    describe_status,
    describe_table,
)
from meshnode.wireguard.events import (
    ControlFrame,
    DeviceUp,
    Event,
    PeerHeard,
    PeerTrafficResumed,
    TimestampsReserved,
)
from meshnode.wireguard.handshake import Identity, identify_initiator
from meshnode.wireguard.indices import IndexTable
from meshnode.wireguard.keypairs import KeyPair
from meshnode.wireguard.limiter import RateLimiter
from meshnode.wireguard.mesh_verbs import MeshVerbs
from meshnode.wireguard.peer import Peer
from meshnode.wireguard.shared import KeyLog, Shared
from meshnode.wireguard.timestamps import TimestampSource


class Engine(MeshVerbs):
    """The handshakes, timers and configuration of one WireGuard device.

    Args:
        entropy: gives random bytes; the only source of chance.
        traffic: what the data plane did, by slot.
        wall_time: wall-clock seconds at *now*; read once, here.
        now: boottime seconds.
        timestamp_mark: the TAI64N label persisted by an earlier run, if any.
    """

    def __init__(
        self,
        *,
        entropy: Entropy,
        traffic: TrafficView,
        wall_time: float,
        now: float,
        timestamp_mark: bytes = b"",
    ) -> None:
        shared = Shared(
            entropy=entropy,
            traffic=traffic,
            timestamps=TimestampSource(
                wall_time=wall_time, now=now, mark=timestamp_mark
            ),
            indices=IndexTable(entropy),
            wall_offset=wall_time - now,
        )
        super().__init__(shared)
        self._checker: CookieChecker | None = None
        self._limiter = RateLimiter()
        self._load = LoadMonitor()
        self._dropped: Counter[DropReason] = Counter()
        self._mtu = DEFAULT_MTU
        self._most_padded = MAX_INNER

    # --- configuration and state ---

    def configure(self, change: DeviceChange, *, now: float) -> None:
        """Apply *change* whole.

        The port and the mark are the shell's to set on its sockets first; they are
        only kept here.

        Raises:
            ConfigError: if the change cannot be had; nothing was changed.
        """
        touched = self._configuration.apply(change, now=now)
        self._follow_identity()
        self._refresh(*touched)

    def set_listen_port(self, port: int) -> None:
        """Keep the port the sockets were really bound to."""
        self._configuration.listen_port = port

    def set_link(self, *, mtu: int, up: bool, now: float) -> None:
        """Follow the TUN device: its MTU in bytes, and whether it is up.

        Going down forgets all keys and stops all timers; coming up begins
        persistent keepalives.
        """
        self._mtu = min(mtu, self._most_padded)
        self._shared.command(SetLink(self._mtu, up), now=now)
        if up == self._shared.up:
            return
        self._shared.up = up
        if up:
            self._shared.report(DeviceUp(), now=now)
        for peer in self._peers():
            if up:
                peer.start(now=now)
            else:
                peer.stop(now=now)
            self._refresh(peer.slot)

    def limit_padding(self, mtu: int) -> None:
        """Pad packets up to *mtu* bytes only, even if the device's MTU is larger.

        Most paths carry no more than that, whatever some do. Call it before `set_link`.
        """
        self._most_padded = mtu

    def raise_timestamp_mark(self, mark: bytes) -> None:
        """Send no timestamp up to *mark*, a TAI64N label kept for our key."""
        self._shared.timestamps.raise_mark(mark)

    def mark_saved(self, mark: bytes) -> None:
        """Note that the mark of a `TimestampsReserved` event is durable."""
        self._shared.timestamps.mark_saved(mark)

    @property
    def private_key(self) -> PrivateKey | None:
        """Our static private key, if any; `status` has it too, but walks all peers."""
        return self._configuration.private_key

    def status(self) -> DeviceStatus:
        """Return what `wg show` presents."""
        return describe_status(self._configuration, self._shared.traffic)

    def log_keys(self, key_log: KeyLog | None) -> None:
        """Tell *key_log* the private key of each handshake from now on; None: nobody.

        For who must see into sessions of our own: it is the end of their secrecy.
        """
        self._shared.key_log = key_log

    def keys_by_slot(self) -> dict[int, PublicKey]:
        """Return who the peers are that the data plane knows by numbers."""
        return {
            slot: peer.public_key for slot, peer in self._configuration.peers.items()
        }

    def state(self) -> DeviceState:
        """Return all that a later control process needs to go on."""
        return describe_state(self._configuration)

    def peer_state(self, slot: int) -> PeerState | None:
        """Return the part of `state` for one peer, None if the slot is empty."""
        peer = self._configuration.peers.get(slot)
        return None if peer is None else describe_peer(self._configuration, peer)

    def restore(self, state: DeviceState, *, now: float) -> None:
        """Begin from what `state` returned in an earlier control process.

        Call it on a fresh engine, before `set_link`. It queues nothing: the shell
        sends `program()` to the workers.
        """
        self._configuration.restore(state, now=now)
        self._follow_identity()

    def program(self) -> Iterator[Command]:
        """Yield the whole table, for between `Reset` and `ProgramComplete`."""
        identity = self._shared.identity
        yield SetIdentity(b"" if identity is None else identity.public_key.raw)
        yield SetLink(self._mtu, self._shared.up)
        yield from describe_table(self._configuration)
        yield from self._configuration.ways.commands()

    def drop_counts(self) -> dict[DropReason, int]:
        """Return how many datagrams were dropped here, by reason."""
        return dict(self._dropped)

    # --- inputs ---

    def receive_datagram(
        self, data: bytes, path: Path, *, now: float, queued: int = 0
    ) -> None:
        """Take a datagram of type 1–3; *queued* is how many more wait behind it."""
        try:
            self._receive(data, path, now, queued)
        except BadPacket as bad:
            self._dropped[bad.reason] += 1

    def is_under_load(self, *, now: float) -> bool:
        """Whether strangers are asked for cookies at present (paper 5.3)."""
        return self._load.is_under_load(now=now)

    def handle_report(self, report: Report, *, now: float) -> None:
        """Take a report of the data plane; a peer gone meanwhile is ignored."""
        if isinstance(report, SessionsHeld):
            for held in report.sessions:
                self._adopt(held)
            return
        if isinstance(report, HandshakeLoad):
            self._load.observe(HANDSHAKE_QUEUE, now=now)
            return
        peer = self._configuration.peers.get(report.slot)
        if peer is None:
            return
        match report:
            case NeedSession(for_users=for_users):
                peer.is_wanted |= for_users
                peer.handle_need_session(now=now)
            case EndpointMoved(path=path):
                peer.dialler.set_path(path, now=now)
            case SessionConfirmed(local_index=index):
                peer.confirm_session(index, now=now)
            case RekeyDue(local_index=index):
                peer.handle_rekey_due(index, now=now)
            case ControlReceived(frame=frame, cut=cut, path=path):
                event = ControlFrame(peer.slot, peer.public_key, frame, cut, path)
                self._shared.report(event, now=now)
            case PathHeard(path=path):
                heard = PeerHeard(peer.slot, peer.public_key, path)
                self._shared.report(heard, now=now)
            case TrafficResumed():
                # The refresh below reads what resumed.
                resumed = PeerTrafficResumed(peer.slot, peer.public_key)
                self._shared.report(resumed, now=now)
        self._refresh(peer.slot)

    def handle_sessions_lost(self, *, now: float) -> None:
        """A worker died with the keys it held: make new sessions at once."""
        for peer in self._peers():
            peer.lose_sessions(now=now)
            self._refresh(peer.slot)

    def handle_deadline(self, *, now: float) -> None:
        """Do what is due at *now*; each overdue timer fires once."""
        for slot in self._deadlines.pop_due(now):
            peer = self._configuration.peers.get(slot)
            if peer is not None:
                peer.handle_deadline(now=now)
                self._refresh(slot)

    # --- outputs ---

    def next_event(self) -> Event | None:
        """Return the next event, or None.

        `TimestampsReserved` is repeated until `mark_saved` is called for it.
        """
        mark = self._shared.timestamps.unsaved_mark()
        if mark is not None:
            return TimestampsReserved(mark)
        events = self._shared.outbox.events
        return events.popleft() if events else None

    def commands_to_forward(self) -> list[Command]:
        """Return and forget the commands queued for the data plane."""
        outbox = self._shared.outbox
        commands, outbox.commands = outbox.commands, []
        return commands

    def datagrams_to_send(self) -> list[Datagram]:
        """Return and forget the datagrams queued for the UDP port."""
        outbox = self._shared.outbox
        datagrams, outbox.datagrams = outbox.datagrams, []
        return datagrams

    def next_deadline(self) -> Deadline | None:
        """Return when `handle_deadline` or a drain is due, and why."""
        return earliest(self._shared.outbox.next_deadline(), self._deadlines.next())

    # --- the steps ---

    def _peers(self) -> list[Peer]:
        return list(self._configuration.peers.values())

    def _follow_identity(self) -> None:
        identity = self._shared.identity
        if identity is None:
            self._checker = None
        elif (
            self._checker is None or self._checker.public_key != identity.public_key.raw
        ):
            self._checker = CookieChecker(
                identity.public_key.raw, entropy=self._shared.entropy
            )

    def _receive(self, data: bytes, path: Path, now: float, queued: int) -> None:
        message = parse_handshake(data)
        identity, checker = self._shared.identity, self._checker
        if identity is None or checker is None:
            raise BadPacket(DropReason.NO_IDENTITY)
        if not self._shared.up:
            raise BadPacket(DropReason.DEVICE_DOWN)
        self._load.observe(queued, now=now)
        if isinstance(message, CookieReply):
            self._receive_cookie(message, now)
            return
        self._admit(message, data, path, checker, now)
        if isinstance(message, Initiation):
            self._receive_initiation(message, identity, path, now)
        else:
            self._receive_response(message, path, now)

    def _admit(
        self,
        message: Initiation | Response,
        data: bytes,
        path: Path,
        checker: CookieChecker,
        now: float,
    ) -> None:
        """Let a message pass to the handshake, or answer with a cookie (5.4.7)."""
        if not checker.has_valid_mac1(data):
            raise BadPacket(DropReason.BAD_MAC1)
        if not self._load.is_under_load(now=now):
            return
        if not checker.has_valid_mac2(data, path.remote, now=now):
            reply = checker.create_reply(
                data, path.remote, nonce=self._shared.entropy(24), now=now
            )
            self._shared.send(reply.serialise(), path, now=now)
            raise BadPacket(DropReason.BAD_MAC2)
        if not self._limiter.allow(path.remote.host, now=now):
            raise BadPacket(DropReason.RATE_LIMITED)

    def _receive_initiation(
        self, initiation: Initiation, identity: Identity, path: Path, now: float
    ) -> None:
        claim = identify_initiator(identity, initiation)
        peer = self._configuration.by_key.get(claim.public_key)
        if peer is None:
            raise BadPacket(DropReason.UNKNOWN_PEER)
        peer.receive_initiation(claim, initiation, path, now=now)
        self._refresh(peer.slot)

    def _receive_response(self, response: Response, path: Path, now: float) -> None:
        owner = self._shared.indices.lookup(response.receiver)
        if owner is None or owner.is_keypair:
            raise BadPacket(DropReason.UNKNOWN_INDEX)
        peer = self._configuration.peers[owner.slot]
        peer.receive_response(response, path, now=now)
        self._refresh(peer.slot)

    def _receive_cookie(self, reply: CookieReply, now: float) -> None:
        owner = self._shared.indices.lookup(reply.receiver)
        if owner is None:
            raise BadPacket(DropReason.UNKNOWN_INDEX)
        self._configuration.peers[owner.slot].receive_cookie(reply, now=now)

    def _adopt(self, held: HeldSession) -> None:
        peer = self._configuration.peers.get(held.slot)
        if peer is not None:
            pair = KeyPair(
                held.local_index,
                held.remote_index,
                held.born_at,
                held.is_initiator,
                held.cipher,
            )
            peer.adopt(pair, in_use=held.in_use)
            self._refresh(peer.slot)
