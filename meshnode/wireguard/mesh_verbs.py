"""What a mesh asks of a WireGuard device, by public key; of who is gone, nothing.

The part of `Engine` that stock WireGuard does not have: several owners of a prefix,
places to try, control frames, paths and relay channels.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from meshnode.codec.messages import CONTROL_FIRST_BYTE
from meshnode.crypto.keys import PublicKey
from meshnode.deadlines import DeadlineHeap
from meshnode.forwarding import (
    MAX_CONTROL_FRAME,
    MAX_INNER,
    MIN_PROBE,
    CloseChannel,
    OpenChannel,
    SendControl,
    SendProbe,
    SetStandby,
)
from meshnode.ports import Traffic
from meshnode.types import Cipher, Endpoint, Path
from meshnode.wireguard.config import SharedPrefix
from meshnode.wireguard.configure import Configuration
from meshnode.wireguard.shared import Shared

_CONTROL_START: Final = bytes((CONTROL_FIRST_BYTE,))


class MeshVerbs:
    """The verbs, over what the engine shares with its parts."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._configuration = Configuration(shared)
        self._deadlines: DeadlineHeap[int] = DeadlineHeap()

    def share_prefixes(self, shared: Sequence[SharedPrefix], *, now: float) -> None:
        """Let exactly these prefixes have several owners.

        They are taken from whoever owns one alone; `configure` can take them back.
        Owners that are no peers are left out. It is not part of `state`: a later
        control process must be told again, best before it programs the workers.

        Raises:
            ConfigError: for more than 16 owners, a weight that is not 1–255, or a
                prefix named twice; nothing was changed.
        """
        self._configuration.share(shared, now=now)

    def set_candidates(
        self, public_key: PublicKey, endpoints: Iterable[Endpoint], *, now: float
    ) -> None:
        """Try the peer at the first eight of these whenever its path is in doubt.

        A handshake that waits for them begins at once.
        """
        peer = self._configuration.by_key.get(public_key)
        if peer is not None:
            peer.set_candidates(endpoints, now=now)
            self._refresh(peer.slot)

    def send_control(
        self,
        public_key: PublicKey,
        frame: bytes,
        *,
        path: Path | None = None,
        now: float,
    ) -> None:
        """Send a control frame; without a session a handshake begins first.

        With a *path* it goes by that very one, and without a session it is dropped.

        Raises:
            ValueError: if it does not begin with 0x01 or has more than 1,203 bytes.
        """
        if not frame.startswith(_CONTROL_START) or len(frame) > MAX_CONTROL_FRAME:
            raise ValueError("not a control frame of at most 1203 bytes")
        peer = self._configuration.by_key.get(public_key)
        if peer is not None:
            self._shared.command(SendControl(peer.slot, frame, path), now=now)

    def send_probe(
        self, public_key: PublicKey, frame: bytes, size: int, *, now: float
    ) -> None:
        """Send a control frame in a packet of *size* bytes, never in fragments.

        Without a session nothing happens.

        Raises:
            ValueError: if the frame is none, or too long, or *size* not 256 to 65,455.
        """
        if not frame.startswith(_CONTROL_START) or len(frame) > MIN_PROBE:
            raise ValueError("not a control frame of at most 256 bytes")
        if not MIN_PROBE <= size <= MAX_INNER:
            raise ValueError("not a size of a probe")
        peer = self._configuration.by_key.get(public_key)
        if peer is not None:
            self._shared.command(SendProbe(peer.slot, frame, size), now=now)

    def set_path(self, public_key: PublicKey, path: Path | None, *, now: float) -> None:
        """Speak to the peer by *path*, which has been proven; None: it is nowhere."""
        peer = self._configuration.by_key.get(public_key)
        if peer is not None:
            peer.dialler.set_path(path, now=now)

    def set_standby(
        self, public_key: PublicKey, path: Path | None, *, now: float
    ) -> None:
        """Send data to the peer by *path*, too; None ends that.

        As with channels, a later control process must say so again.
        """
        peer = self._configuration.by_key.get(public_key)
        if peer is not None:
            command = SetStandby(peer.slot, path)
            self._configuration.ways.set_standby(command)
            self._shared.command(command, now=now)

    def open_channel(
        self,
        channel: int,
        public_key: PublicKey,
        label: int,
        *,
        onward: PublicKey | None = None,
        rate: int = 0,
        quota: int = 0,
        now: float,
    ) -> None:
        """Take relayed datagrams with the number *channel* from a peer.

        See `forwarding.OpenChannel`. Channels are not part of `state`: a later control
        process must open them again.
        """
        peer = self._configuration.by_key.get(public_key)
        next_peer = None if onward is None else self._configuration.by_key.get(onward)
        if peer is None or (onward is not None and next_peer is None):
            return
        slot = None if next_peer is None else next_peer.slot
        command = OpenChannel(channel, peer.slot, label, slot, rate, quota)
        self._configuration.ways.open(command)
        self._shared.command(command, now=now)

    def close_channel(self, channel: int, *, now: float) -> None:
        """Take no more datagrams with this number."""
        if self._configuration.ways.close(channel):
            self._shared.command(CloseChannel(channel), now=now)

    def dial_again(self, public_key: PublicKey, *, now: float) -> None:
        """Send the peer another initiation, sooner than WireGuard would.

        If none is under way nothing happens.
        """
        peer = self._configuration.by_key.get(public_key)
        if peer is not None:
            peer.dial_again(now=now)
            self._refresh(peer.slot)

    def drop_waiting(self, public_key: PublicKey, *, now: float) -> None:
        """Throw away what waits for the peer and stop asking: it cannot be found."""
        peer = self._configuration.by_key.get(public_key)
        if peer is not None:
            peer.drop_waiting(now=now)
            self._refresh(peer.slot)

    def path_of(self, public_key: PublicKey) -> Path | None:
        """Return where the peer is spoken to at present."""
        peer = self._configuration.by_key.get(public_key)
        return None if peer is None else peer.path

    def traffic_of(self, public_key: PublicKey) -> Traffic:
        """Return what passed between us and the peer."""
        peer = self._configuration.by_key.get(public_key)
        return Traffic() if peer is None else self._shared.traffic.read(peer.slot)

    def is_wanted(self, public_key: PublicKey) -> bool:
        """Whether packets of users wait for a session with the peer."""
        peer = self._configuration.by_key.get(public_key)
        return peer is not None and peer.is_wanted

    def is_watched(self, public_key: PublicKey) -> bool:
        """Whether traffic with the peer is expected, so that none is news.

        `TrafficResumed` is only reported of a peer that is not.
        """
        peer = self._configuration.by_key.get(public_key)
        return peer is not None and peer.is_watched

    def has_session(self, public_key: PublicKey, *, now: float) -> bool:
        """Whether data can be sent to the peer without a handshake."""
        peer = self._configuration.by_key.get(public_key)
        return peer is not None and peer.keypairs.can_send(now=now)

    def sessions_of(self, public_key: PublicKey) -> tuple[int, ...]:
        """Return the indices by which the peer may send us data, at most 3."""
        peer = self._configuration.by_key.get(public_key)
        if peer is None:
            return ()
        return tuple([pair.local_index for pair in peer.keypairs.all()])

    def use_cipher(
        self, public_key: PublicKey, remote_index: int, cipher: Cipher, *, now: float
    ) -> None:
        """Send under *cipher* in the session that the peer knows by *remote_index*.

        If there is no such session any more, or not yet, nothing changes.
        """
        peer = self._configuration.by_key.get(public_key)
        if peer is not None:
            peer.use_cipher(remote_index, cipher, now=now)

    def _refresh(self, *slots: int) -> None:
        for slot in slots:
            peer = self._configuration.peers.get(slot)
            self._deadlines.set(slot, None if peer is None else peer.next_deadline())
