"""Probes as we send and take them: sealed to members' probe keys, and each once.

Our probe key is made anew by every process, so what an earlier one was sent opens no
more. Pings are numbered; each sender's go through a window, as WireGuard's packets do,
so a recorded ping is never answered again. Only probes of keys that we were told of,
by a signed record or inside a session, are opened at all: others cost the look into a
dictionary, and leave nothing behind.
"""

from dataclasses import dataclass, field
from typing import Final

from meshnode.codec.probes import (
    NONCE_SIZE,
    Probe,
    ProbeKind,
    SealedProbe,
    decode_plain,
    decode_sealed,
    encode_plain,
    encode_sealed,
    header_of,
)
from meshnode.crypto.box import box_key
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.primitives import xaead_open, xaead_seal
from meshnode.errors import (
    AuthenticationError,
    BadPacket,
    CodecError,
    DropReason,
)
from meshnode.ports import Entropy
from meshnode.types import Endpoint
from meshnode.values import frozen
from meshnode.wireguard.replay import ReplayWindow

_KEY_BYTES: Final = 32


@frozen
class Opened:
    """A probe that the member with the WireGuard key `key` made."""

    key: bytes
    probe: Probe


@dataclass(slots=True)
class _Member:
    """A member that may send us probes; `shared` is made when it is needed first."""

    probe_key: bytes
    shared: bytes = b""
    window: ReplayWindow | None = field(default=None)


class Probes:
    """Seals and opens probes; members are named by their WireGuard keys (32 bytes).

    `key` is what others seal to. All chance comes from *entropy*.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._private = PrivateKey(entropy(_KEY_BYTES))
        self._entropy = entropy
        self._number = 0
        self._members: dict[bytes, _Member] = {}
        self._by_probe_key: dict[bytes, bytes] = {}
        self.key = self._private.public_key().raw

    def know(self, key: bytes, probe_key: bytes) -> None:
        """Take it that the member *key* has this probe key now; b"" for none."""
        known = self._members.get(key)
        if known is not None and known.probe_key == probe_key:
            return
        self.forget(key)
        # Who claims another's key could keep that one from being heard.
        if probe_key and probe_key != self.key and probe_key not in self._by_probe_key:
            self._members[key] = _Member(probe_key)
            self._by_probe_key[probe_key] = key

    def forget(self, key: bytes) -> None:
        """Open nothing more of this member."""
        known = self._members.pop(key, None)
        if known is not None:
            del self._by_probe_key[known.probe_key]

    def can_reach(self, key: bytes) -> bool:
        """Return whether probes to the member can be sealed."""
        member = self._members.get(key)
        if member is None:
            return False
        try:
            self._shared(member)
        except AuthenticationError:
            self.forget(key)  # a key of low order
        return key in self._members

    def ping(self, key: bytes) -> tuple[int, bytes]:
        """Return the number of a new ping to the member, and its datagram.

        Raises:
            KeyError: unless `can_reach`.
        """
        self._number += 1
        return self._number, self._seal(key, Probe(ProbeKind.PING, self._number))

    def pong(self, key: bytes, ping: Probe, seen: Endpoint) -> bytes:
        """Return the answer to a *ping* of the member that came from *seen*."""
        told = None if seen.scope_id else seen
        return self._seal(key, Probe(ProbeKind.PONG, ping.number, told))

    def open(self, data: bytes) -> Opened:
        """Open a datagram; each ping opens once.

        Raises:
            BadPacket: UNKNOWN_PEER before anything is opened; BAD_LENGTH, BAD_TAG,
                BAD_INNER or REPLAY.
        """
        try:
            sealed = decode_sealed(data)
        except CodecError:
            raise BadPacket(DropReason.BAD_LENGTH) from None
        key = self._by_probe_key.get(sealed.sender)
        if key is None:
            raise BadPacket(DropReason.UNKNOWN_PEER)
        member = self._members[key]
        aad = header_of(sealed.sender) + self.key
        try:
            shared = self._shared(member)
            plain = xaead_open(shared, sealed.nonce, sealed.sealed, aad)
        except AuthenticationError:
            raise BadPacket(DropReason.BAD_TAG) from None
        try:
            probe = decode_plain(plain)
        except CodecError:
            raise BadPacket(DropReason.BAD_INNER) from None
        if probe.kind is ProbeKind.PING:
            member.window = member.window or ReplayWindow()
            if not member.window.accept(probe.number):
                raise BadPacket(DropReason.REPLAY)
        return Opened(key, probe)

    def _seal(self, key: bytes, probe: Probe) -> bytes:
        member = self._members[key]
        nonce = self._entropy(NONCE_SIZE)
        aad = header_of(self.key) + member.probe_key
        sealed = xaead_seal(self._shared(member), nonce, encode_plain(probe), aad)
        return encode_sealed(SealedProbe(self.key, nonce, sealed))

    def _shared(self, member: _Member) -> bytes:
        if not member.shared:
            member.shared = box_key(self._private, member.probe_key)
        return member.shared
