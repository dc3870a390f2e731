"""`Tunnels` over the WireGuard engine of this node."""

from typing import Final

from meshnode.codec.message_bytes import encode_message
from meshnode.codec.messages import (
    Lookup,
    Message,
    Ping,
    Publish,
    Refresh,
    RelayOpen,
)
from meshnode.crypto.keys import PublicKey
from meshnode.mesh.ports import SharedPrefix, TunnelPeer
from meshnode.ports import NEVER
from meshnode.types import Cipher, Endpoint, Path
from meshnode.wireguard import config
from meshnode.wireguard.config import DeviceChange, PeerChange
from meshnode.wireguard.engine import Engine

_QUESTIONS: Final = (Ping, Publish, Refresh, Lookup, RelayOpen)
"""What is answered at once by whoever gets it."""


class EngineTunnels:
    """Gives the engine's peers their mesh names: raw keys, and whole values.

    What is set already is not set again: every change of the engine's configuration
    is kept durably as a whole.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._peers: dict[bytes, TunnelPeer] = {}
        self._shared: tuple[SharedPrefix, ...] = ()
        self._waiting: list[PeerChange] = []
        self._now = NEVER
        self._questions: dict[bytes, Endpoint] = {}

    def set_peer(self, peer: TunnelPeer, *, now: float) -> None:
        """Add the peer or change it; sessions stay if it was there."""
        if self._peers.get(peer.key) == peer:
            return
        self._peers[peer.key] = peer
        self._waiting.append(
            PeerChange(
                PublicKey(peer.key),
                is_sought=peer.is_sought,
                persistent_keepalive=peer.keepalive,
                replace_allowed_ips=True,
                allowed_ips=[(True, prefix) for prefix in peer.prefixes],
            )
        )

    def remove_peer(self, key: bytes, *, now: float) -> None:
        """Forget the peer and cut its sessions; unknown ones are ignored."""
        if self._peers.pop(key, None) is not None:
            self._waiting.append(PeerChange(PublicKey(key), remove=True))

    def share_prefixes(self, shared: tuple[SharedPrefix, ...], *, now: float) -> None:
        """Let exactly these prefixes have several owners."""
        if shared == self._shared:
            return
        self._shared = shared
        self.flush(now=now)
        self._engine.share_prefixes(
            [
                config.SharedPrefix(
                    one.prefix,
                    tuple((PublicKey(s.key), s.weight) for s in one.forward),
                    tuple(PublicKey(key) for key in one.accept),
                )
                for one in shared
            ],
            now=now,
        )

    def set_candidates(
        self, key: bytes, candidates: tuple[Endpoint, ...], *, now: float
    ) -> None:
        """Try the peer at these endpoints whenever its path is not proven."""
        self.flush(now=now)
        self._engine.set_candidates(PublicKey(key), candidates, now=now)

    def send(self, key: bytes, message: Message, *, now: float) -> None:
        """Send a control frame; without a session a handshake begins first."""
        self.flush(now=now)
        self._note_question(key, message, self.path_of(key))
        self._engine.send_control(PublicKey(key), encode_message(message), now=now)

    def send_by(self, key: bytes, message: Message, path: Path, *, now: float) -> None:
        """Send a control frame by this very path; without a session it is dropped."""
        frame = encode_message(message)
        self._note_question(key, message, path.remote)
        self._engine.send_control(PublicKey(key), frame, path=path, now=now)

    def take_questions(self) -> dict[bytes, Endpoint]:
        """Return who was sent what is answered at once, and where."""
        questions, self._questions = self._questions, {}
        return questions

    def dial_again(self, key: bytes, *, now: float) -> None:
        """Send another initiation at once, if one is under way."""
        self._engine.dial_again(PublicKey(key), now=now)

    def set_path(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Speak to the peer by *path*, which has been proven; None: it is nowhere."""
        self._engine.set_path(PublicKey(key), path, now=now)

    def set_standby(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Send data to the peer by *path*, too; None ends that."""
        self._engine.set_standby(PublicKey(key), path, now=now)

    def open_channel(
        self,
        channel: int,
        key: bytes,
        label: int,
        *,
        onward: bytes | None = None,
        rate: int = 0,
        quota: int = 0,
        now: float,
    ) -> None:
        """Take relayed datagrams with our number *channel* from the peer *key*."""
        self.flush(now=now)
        self._engine.open_channel(
            channel,
            PublicKey(key),
            label,
            onward=None if onward is None else PublicKey(onward),
            rate=rate,
            quota=quota,
            now=now,
        )

    def close_channel(self, channel: int, *, now: float) -> None:
        """Take no more datagrams with this number."""
        self._engine.close_channel(channel, now=now)

    def send_probe(
        self, key: bytes, message: Message, size: int, *, now: float
    ) -> None:
        """Send a control frame in *size* bytes, whole or not at all."""
        frame = encode_message(message)
        self._engine.send_probe(PublicKey(key), frame, size, now=now)

    def drop_waiting(self, key: bytes, *, now: float) -> None:
        """Throw away what waits for the peer: it cannot be found."""
        self.flush(now=now)
        self._engine.drop_waiting(PublicKey(key), now=now)

    def path_of(self, key: bytes) -> Endpoint | None:
        """Return where the peer is spoken to at present."""
        path = self._engine.path_of(PublicKey(key))
        return None if path is None else path.remote

    def has_session(self, key: bytes) -> bool:
        """Whether a session with the peer is usable now."""
        return self._engine.has_session(PublicKey(key), now=self._now)

    def is_wanted(self, key: bytes) -> bool:
        """Whether packets of users wait for a session with the peer."""
        return self._engine.is_wanted(PublicKey(key))

    def is_watched(self, key: bytes) -> bool:
        """Whether traffic with the peer is expected: it will not be told as new."""
        return self._engine.is_watched(PublicKey(key))

    def sessions_of(self, key: bytes) -> tuple[int, ...]:
        """Return the indices by which the peer may send us data, at most 3."""
        return self._engine.sessions_of(PublicKey(key))

    def use_cipher(
        self, key: bytes, session: int, cipher: Cipher, *, now: float
    ) -> None:
        """Send under *cipher* in the session that the peer has that index for."""
        self._engine.use_cipher(PublicKey(key), session, cipher, now=now)

    def last_received(self, key: bytes) -> float:
        """Return when authenticated data last came from the peer, or `NEVER`."""
        return self._engine.traffic_of(PublicKey(key)).last_received_at

    def last_data_sent(self, key: bytes) -> float:
        """Return when data of users was last sent to the peer, or `NEVER`."""
        return self._engine.traffic_of(PublicKey(key)).last_sent_for_users_at

    def sent_to(self, key: bytes) -> tuple[int, int]:
        """Return how many datagrams were sent to the peer, and their bytes."""
        traffic = self._engine.traffic_of(PublicKey(key))
        return traffic.sent_packets, traffic.sent_bytes

    def _note_question(
        self, key: bytes, message: Message, endpoint: Endpoint | None
    ) -> None:
        if endpoint is not None and isinstance(message, _QUESTIONS):
            self._questions[key] = endpoint

    # --- for the shell ---

    def adopt(self, keys: list[bytes], *, now: float) -> None:
        """Remove the engine's peers that are not among *keys*.

        An earlier control process left them; what it did not live to remove goes.
        """
        kept = set(keys)
        for peer in self._engine.status().peers:
            if peer.public_key.raw not in kept:
                self._waiting.append(PeerChange(peer.public_key, remove=True))
        self.flush(now=now)

    def flush(self, *, now: float) -> None:
        """Give the engine the changes of peers that wait, all at once."""
        self._now = max(self._now, now)
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._engine.configure(DeviceChange(peers=waiting), now=now)
