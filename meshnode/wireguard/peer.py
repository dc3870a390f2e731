"""One peer: its handshake, key pairs, timers, cookie and endpoint (paper 5, 6).

Theory of operation. Everything here is decided between two calls, without waiting:
consuming an initiation, answering it and deriving the keys are one step, so an own
initiation can never come between them. The order in each step is that of the
kernel's implementation, which is the norm where others differ.

Two peers that begin at the same time. In other implementations a valid initiation
overwrites the pending one; if two cross, both sides end as responders, each with a key
pair only the other could confirm, drop both responses, and try again 5 s later, maybe
to cross again. Here an initiation is answered in a handshake of its own, and ours goes
on: against a stock peer our side of the crossing then completes, and between two of us
both do, each side sending under the pair it began and receiving under either. What we
asked for is void as soon as a pair in which we answered is confirmed.
"""

from collections.abc import Iterable

from meshnode.codec.wireguard import (
    INITIATION_SIZE,
    RESPONSE_SIZE,
    CookieReply,
    Initiation,
    Response,
)
from meshnode.crypto.keys import PresharedKey, PublicKey
from meshnode.deadlines import Deadline
from meshnode.errors import BadPacket, DropReason
from meshnode.forwarding import (
    DropStaged,
    InstallSession,
    RetireSession,
    SendKeepalive,
    SetCipher,
    UseSession,
)
from meshnode.ports import NEVER
from meshnode.types import Cipher, Endpoint, Path
from meshnode.wireguard.config import PeerState
from meshnode.wireguard.constants import (
    INITIATION_INTERVAL,
    MAX_HANDSHAKE_ATTEMPTS,
    REKEY_TIMEOUT,
    ZERO_KEYS_AFTER,
)
from meshnode.wireguard.cookie import CookieJar
from meshnode.wireguard.dialling import Dialler
from meshnode.wireguard.events import (
    HandshakeCompleted,
    HandshakeGivenUp,
    PeerStateChanged,
)
from meshnode.wireguard.handshake import (
    DerivedKeys,
    Handshake,
    InitiatorClaim,
)
from meshnode.wireguard.keypairs import KeyPair, KeyPairs
from meshnode.wireguard.shared import IndexOwner, Shared
from meshnode.wireguard.timers import Timer, Timers

NO_TIMESTAMP = bytes(12)


class Peer:
    """One peer of the device; `slot` is its name towards the data plane.

    Attributes that may be read: `path`, `latest_timestamp` (greatest TAI64N label
    accepted), `last_handshake` (wall seconds, 0.0 for never), `keypairs`,
    `persistent_keepalive`, `preshared_key`. `is_wanted` is whether packets of users
    wait for a session; who hears of one says so. `dialler` knows where the peer is; the
    engine tells it what was configured or authenticated.
    """

    def __init__(
        self,
        shared: Shared,
        slot: int,
        public_key: PublicKey,
        preshared_key: PresharedKey,
    ) -> None:
        self.slot = slot
        self.public_key = public_key
        self.keypairs = KeyPairs()
        self.latest_timestamp = NO_TIMESTAMP
        self.last_handshake = 0.0
        self.is_wanted = False
        self._shared = shared
        self._preshared_key = preshared_key
        self._handshake: Handshake | None = None
        self._cookies = CookieJar(public_key.raw)
        self.dialler = Dialler(shared, slot, public_key)
        self._timers = Timers()
        self._attempts = 0
        self._last_handshake_sent_at = NEVER
        self._last_initiation_at = NEVER
        # If it was removed and is added again, it remembers what we sent it before.
        self._last_timestamp_sent = shared.timestamps.latest
        self.is_watched = False
        self._timers.silence_jitter = shared.jitter()
        self._renew_handshake()

    # --- configuration ---

    @property
    def preshared_key(self) -> PresharedKey:
        """The preshared key; a new one takes effect at the next handshake."""
        return self._preshared_key

    @preshared_key.setter
    def preshared_key(self, key: PresharedKey) -> None:
        self._preshared_key = key
        if self._handshake is not None:
            self._handshake.preshared_key = key

    @property
    def persistent_keepalive(self) -> int:
        """Seconds between keepalives, 0 for off."""
        return self._timers.persistent_interval

    def set_persistent_keepalive(self, seconds: int, *, now: float) -> None:
        """Change the interval; from off to on while up sends a keepalive at once."""
        began = seconds and not self._timers.persistent_interval
        self._timers.persistent_interval = seconds
        if began and self._shared.up:
            self._send_persistent_keepalive(now)

    @property
    def path(self) -> Path | None:
        """Where the peer is spoken to, if anywhere."""
        return self.dialler.path

    def set_candidates(self, endpoints: Iterable[Endpoint], *, now: float) -> None:
        """Know where else the peer may be; a handshake in need goes there at once."""
        is_new = self.dialler.set_candidates(endpoints, now=now)
        if not is_new or self._timers.retransmit_at is None:
            return
        if not self.dialler.dial_others(now=now):
            self._send_initiation(now)

    def change_identity(self, *, now: float) -> None:
        """Follow a change of our static key: handshake anew at the next packet."""
        self._renew_handshake()
        self._retire(self.keypairs.stop_sending(), now)
        self._shared.command(UseSession(self.slot, 0), now=now)
        self._last_handshake_sent_at = NEVER
        self._timers.retransmit_at = None

    def start(self, *, now: float) -> None:
        """The interface came up: begin persistent keepalives."""
        if self._timers.persistent_interval:
            self._send_persistent_keepalive(now)

    def stop(self, *, now: float) -> None:
        """The interface went down, or the peer goes: forget handshake and keys."""
        interval = self._timers.persistent_interval
        self._timers = Timers(persistent_interval=interval)
        self._timers.silence_jitter = self._shared.jitter()
        self._clear_keys(now)
        self._drop_staged(now)
        self._last_handshake_sent_at = NEVER
        self._attempts = 0

    def restore(self, state: PeerState) -> None:
        """Set what an earlier control process knew of the peer."""
        self.dialler.path = state.path
        self.dialler.is_sought = state.is_sought
        self.latest_timestamp = state.latest_timestamp
        self.last_handshake = state.last_handshake

    def adopt(self, pair: KeyPair, *, in_use: bool) -> None:
        """Take over a session the data plane held while control restarted."""
        indices = self._shared.indices
        if indices.lookup(pair.local_index) is None:
            indices.reserve(pair.local_index, IndexOwner(self.slot, True))
        self.keypairs.adopt(pair, in_use=in_use)
        newest = max(known.born_at for known in self.keypairs.all())
        self._timers.zero_keys_at = newest + ZERO_KEYS_AFTER

    def lose_sessions(self, *, now: float) -> None:
        """The data plane lost the keys: handshake anew if there was a session."""
        had_session = bool(self.keypairs.all())
        self._retire(self.keypairs.clear(), now)
        if had_session:
            self._last_handshake_sent_at = NEVER
            self._attempts = 0
            # Not at once: an initiation of ours may have arrived just now, and the
            # peer takes no second one so soon.
            self._timers.retransmit_at = now + 2 * INITIATION_INTERVAL

    def use_cipher(self, remote_index: int, cipher: Cipher, *, now: float) -> None:
        """Send under *cipher* in the session that the peer knows by *remote_index*."""
        pair = self.keypairs.use_cipher(remote_index, cipher)
        if pair is not None:
            command = SetCipher(self.slot, pair.local_index, cipher)
            self._shared.command(command, now=now)

    # --- handshake ---

    def begin_handshake(self, *, now: float) -> None:
        """Ask for a new session; counts as the first attempt of up to 18 more.

        If we are asking already, the retransmission comes at its own time: two peers
        whose keepalives or packets keep step would else cross with each of them.
        """
        self._attempts = 0
        if self._timers.retransmit_at is None:
            self._send_initiation(now)
        elif not self.dialler.has_target():
            self.dialler.want(now=now)

    def dial_again(self, *, now: float) -> None:
        """Send another initiation at once, if one is under way: it may be lost."""
        if self._timers.retransmit_at is not None and self.dialler.has_target():
            self._last_handshake_sent_at = NEVER
            self._send_initiation(now)

    def drop_waiting(self, *, now: float) -> None:
        """Give up at once: nobody will find the peer."""
        self._timers.retransmit_at = None
        self._drop_staged(now)

    def receive_initiation(
        self, claim: InitiatorClaim, initiation: Initiation, path: Path, *, now: float
    ) -> None:
        """Answer an initiation; raises `BadPacket`, and then nothing changed.

        What we asked for ourselves stays as it is, so a crossing costs nothing.
        """
        handshake = self._ready_handshake()
        opened = handshake.open_initiation(claim, initiation)
        if opened.timestamp <= self.latest_timestamp:
            raise BadPacket(DropReason.OLD_TIMESTAMP)
        if now - self._last_initiation_at < INITIATION_INTERVAL:
            raise BadPacket(DropReason.INITIATION_FLOOD)
        answering = handshake.another()
        answering.accept_initiation(opened)
        self.dialler.note_answer()
        self.latest_timestamp = opened.timestamp
        self._last_initiation_at = now
        self.dialler.set_path(path, now=now)
        self._shared.traffic.count_handshake(
            self.slot, received=INITIATION_SIZE, now=now
        )
        self._send_response(answering, now)
        self._shared.report(PeerStateChanged(self.slot), now=now)

    def receive_response(self, response: Response, path: Path, *, now: float) -> None:
        """Finish our handshake; raises `BadPacket`, and then nothing changed."""
        handshake = self._ready_handshake()
        handshake.consume_response(response)
        self.dialler.note_answer()
        keys = handshake.derive_keys()
        self.dialler.set_path(path, now=now)
        self._shared.traffic.count_handshake(self.slot, received=RESPONSE_SIZE, now=now)
        pair = self._install(keys, now)
        self._retire(self.keypairs.add_as_initiator(pair), now)
        self._shared.command(
            UseSession(self.slot, pair.local_index),
            SendKeepalive(self.slot),
            now=now,
        )
        self._complete(pair, now)

    def receive_cookie(self, reply: CookieReply, *, now: float) -> None:
        """Keep the cookie for our next handshake message; raises `BadPacket`.

        Nothing is sent: the next retransmission carries it (paper 5.4.7).
        """
        self._cookies.consume_reply(reply, now=now)

    def confirm_session(self, local_index: int, *, now: float) -> None:
        """The first packet arrived under a session: a waiting one becomes current."""
        retired = self.keypairs.confirm(local_index)
        if retired is None:
            return
        self._abandon_initiation()
        self._retire(retired, now)
        pair = self.keypairs.current
        if pair is not None:
            self._shared.command(UseSession(self.slot, pair.local_index), now=now)
            self._complete(pair, now)

    # --- reports of the data plane ---

    def handle_need_session(self, *, now: float) -> None:
        """A packet is staged; ask for a session unless one was just announced."""
        current = self.keypairs.current
        is_new = current is not None and now - current.born_at < REKEY_TIMEOUT
        if is_new and self.path is not None:
            return  # the report crossed our `UseSession` on its way
        self.begin_handshake(now=now)

    def handle_rekey_due(self, local_index: int, *, now: float) -> None:
        """The session in use is old or used enough; ask for the next one."""
        current = self.keypairs.current
        if current is not None and current.local_index == local_index:
            self.begin_handshake(now=now)

    # --- time ---

    def handle_deadline(self, *, now: float) -> None:
        """Do what the timers that expired by *now* ask for."""
        traffic = self._shared.traffic.read(self.slot)
        for timer in self._timers.pop_expired(traffic, now=now):
            match timer:
                case Timer.RETRANSMIT_HANDSHAKE:
                    self._retransmit(now)
                case Timer.SEND_KEEPALIVE:
                    self._shared.command(SendKeepalive(self.slot), now=now)
                case Timer.NEW_HANDSHAKE:
                    self._shared.traffic.stop_waiting(self.slot)
                    self._timers.silence_jitter = self._shared.jitter()
                    self.dialler.doubt(now=now)
                    self.begin_handshake(now=now)
                case Timer.ZERO_KEY_MATERIAL:
                    self._clear_keys(now)
                case Timer.PERSISTENT_KEEPALIVE:
                    self._send_persistent_keepalive(now)

    def next_deadline(self) -> Deadline | None:
        """Return when to call `handle_deadline`, watching traffic only if needed."""
        if not self._shared.up:
            return None
        view = self._shared.traffic
        traffic = view.read(self.slot)
        awaits = self._timers.awaits_traffic(traffic)
        if awaits != self.is_watched:
            self.is_watched = awaits
            view.watch(self.slot, awaits)
            # Traffic that began between the read and the un-watching was not
            # reported; having un-watched, look again.
            traffic = view.read(self.slot)
            if not awaits and self._timers.awaits_traffic(traffic):
                self.is_watched = True
                view.watch(self.slot, True)
        return self._timers.next_deadline(traffic)

    # --- the steps ---

    def _ready_handshake(self) -> Handshake:
        if self._handshake is None:
            raise BadPacket(DropReason.NO_IDENTITY)
        return self._handshake

    def _renew_handshake(self) -> None:
        self._release_handshake_index()
        identity = self._shared.identity
        self._handshake = None
        if identity is not None:
            self._handshake = Handshake(identity, self.public_key, self._preshared_key)

    def _release_handshake_index(self) -> None:
        self.dialler.note_answer()
        if self._handshake is not None and self._handshake.local_index:
            self._shared.indices.release(self._handshake.local_index)

    def _send_initiation(self, now: float) -> bool:
        """Ask for a session; return whether that was an attempt."""
        if not self._shared.up or self._handshake is None:
            return False
        if not self.dialler.has_target():
            self.dialler.want(now=now)
            self._timers.retransmit_at = now + REKEY_TIMEOUT + self._shared.jitter()
            return True
        allowed_at = self._last_handshake_sent_at + REKEY_TIMEOUT
        if now < allowed_at:
            if self._timers.retransmit_at is None:
                self._timers.retransmit_at = allowed_at + self._shared.jitter()
            return False
        self._release_handshake_index()
        index = self._shared.indices.allocate(IndexOwner(self.slot, False))
        try:
            initiation = self._handshake.create_initiation(
                local_index=index,
                ephemeral=self._new_ephemeral(),
                timestamp=self._next_timestamp(now),
            )
        except BadPacket:  # a low-order public key: the peer can never be reached
            self._shared.indices.release(index)
            return False
        stamped = self._cookies.stamp(initiation.serialise(), now=now)
        self.dialler.dial(stamped, now=now)
        self._last_handshake_sent_at = now
        self._timers.retransmit_at = now + REKEY_TIMEOUT + self._shared.jitter()
        return True

    def _new_ephemeral(self) -> bytes:
        return self._shared.new_ephemeral(self.public_key, self.preshared_key)

    def _next_timestamp(self, now: float) -> bytes:
        label = self._shared.timestamps.next_after(self._last_timestamp_sent, now=now)
        self._last_timestamp_sent = label
        return label

    def _send_response(self, handshake: Handshake, now: float) -> None:
        index = self._shared.indices.allocate(IndexOwner(self.slot, False))
        try:
            response = handshake.create_response(
                local_index=index, ephemeral=self._new_ephemeral()
            )
        except BadPacket:
            self._shared.indices.release(index)
            raise
        if self.path is not None:
            data = self._cookies.stamp(response.serialise(), now=now)
            self._shared.send(data, self.path, now=now)
            self._shared.traffic.count_handshake(self.slot, sent=len(data), now=now)
            self._last_handshake_sent_at = now
        pair = self._install(handshake.derive_keys(), now)
        self._retire(self.keypairs.add_as_responder(pair), now)

    def _install(self, keys: DerivedKeys, now: float) -> KeyPair:
        """Hand the keys to the data plane; control keeps none."""
        self._shared.indices.replace(keys.local_index, IndexOwner(self.slot, True))
        self._shared.command(InstallSession(self.slot, keys.session(now)), now=now)
        self._timers.zero_keys_at = now + ZERO_KEYS_AFTER
        return KeyPair(keys.local_index, keys.remote_index, now, keys.is_initiator)

    def _complete(self, pair: KeyPair, now: float) -> None:
        self._timers.retransmit_at = None
        self._attempts = 0
        self.is_wanted = False
        self.last_handshake = now + self._shared.wall_offset
        self._shared.report(
            HandshakeCompleted(self.slot, self.public_key, pair.is_initiator), now=now
        )
        self._shared.report(PeerStateChanged(self.slot), now=now)

    def _retransmit(self, now: float) -> None:
        self.dialler.note_timeout(now=now)
        if self._attempts <= MAX_HANDSHAKE_ATTEMPTS:
            if self._send_initiation(now):
                self._attempts += 1
            return
        self._drop_staged(now)
        if self._timers.zero_keys_at is None:
            self._timers.zero_keys_at = now + ZERO_KEYS_AFTER
        self._shared.report(HandshakeGivenUp(self.slot, self.public_key), now=now)

    def _drop_staged(self, now: float) -> None:
        self.is_wanted = False
        self._shared.command(DropStaged(self.slot), now=now)

    def _send_persistent_keepalive(self, now: float) -> None:
        if not self.dialler.has_target() and not self.dialler.is_sought:
            return
        self._timers.persistent_base = now
        if self.keypairs.can_send(now=now):
            self._shared.command(SendKeepalive(self.slot), now=now)
        else:
            self.begin_handshake(now=now)

    def _abandon_initiation(self) -> None:
        self._release_handshake_index()
        if self._handshake is not None:
            self._handshake.clear()

    def _clear_keys(self, now: float) -> None:
        self._abandon_initiation()
        self._retire(self.keypairs.clear(), now)

    def _retire(self, pairs: list[KeyPair], now: float) -> None:
        for pair in pairs:
            self._shared.indices.release(pair.local_index)
            self._shared.command(RetireSession(self.slot, pair.local_index), now=now)
