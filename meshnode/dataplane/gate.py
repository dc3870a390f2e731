"""Which handshake messages are worth the control process's time (paper 5.3).

A handshake costs control far more than refusing one costs the ingress worker, which
therefore asks here before it passes a datagram of type 1-3 on. A message must have
its type's exact length and prove, by mac1, that its sender knows our public key; then
it needs a token. Three classes have a bucket each, so that a flood of one cannot
starve the others: from where a peer is known to be; with a mac2; all the rest.

Strangers, the rest, may come faster than control could answer handshakes, because
above a lower rate it only sends them cookies, for a tenth of the cost: the gate says
so by `poll_load`. Who is among many strangers so soon has a cookie, and with it a
class that the flood is not in.

Introductions (type 7) are of the mesh: a mac1 is the last thing in them, and there is
no other. They come from strangers and share the strangers' tokens, half of them at
most, so handshakes have the other half.

Probes (type 6) are of the mesh, too, and come in numbers while two hosts look for a way
through their NATs. Nothing in them can be checked here but their length. They have a
bucket of their own, so a flood of them costs neither handshakes nor introductions.

Not decided here: whether a mac2 is right, for only control knows the cookie secret.
Anybody can write a wrong one or forge a peer's address; then that class suffers, the
others do not.
"""

from collections.abc import Set
from typing import Final

from meshnode.codec.probes import PROBE_SIZE, PROBE_TYPE
from meshnode.codec.wireguard import (
    COOKIE_REPLY_SIZE,
    COOKIE_REPLY_TYPE,
    INITIATION_SIZE,
    INITIATION_TYPE,
    MAC_SIZE,
    RESPONSE_SIZE,
    RESPONSE_TYPE,
    ZERO_MAC,
    message_type,
)
from meshnode.dataplane.buckets import TokenBucket
from meshnode.errors import DropReason
from meshnode.ports import NEVER
from meshnode.wireguard.cookie import has_last_mac1, has_valid_mac1, mac1_key

DEFAULT_RATE: Final = 1000.0
"""Messages a second of one class: what control answers in a part of one core."""

COOKIES_PER_MESSAGE: Final = 2
"""Strangers admitted for each one that control would answer in full."""

LOAD_INTERVAL: Final = 0.5
"""Seconds between two signs of load; half of how long control goes by one."""

DEFAULT_BURST: Final = 512
"""Messages of one class at once: half of the queue to control."""

INTRODUCTION_TYPE: Final = 7
"""The mesh's own datagram: who sends it will handshake, and says by what right."""

MIN_INTRODUCTION: Final = 4 + 48 + 1 + MAC_SIZE
"""Bytes of the shortest: type, ephemeral key with tag, one byte, mac1."""

MAX_INTRODUCTION: Final = 1280
"""Bytes of the longest: with its headers it passes every path, perhaps in fragments."""

_SIZES: Final = {
    INITIATION_TYPE: INITIATION_SIZE,
    RESPONSE_TYPE: RESPONSE_SIZE,
    COOKIE_REPLY_TYPE: COOKIE_REPLY_SIZE,
}


class HandshakeGate:
    """Admits handshake messages; its memory does not grow with their number.

    Each of the three classes gets *rate* messages a second (strangers
    `COOKIES_PER_MESSAGE` times that) and *burst* at once. Without an identity
    nothing is admitted.
    """

    def __init__(
        self, *, rate: float = DEFAULT_RATE, burst: int = DEFAULT_BURST
    ) -> None:
        self._mac1_key = b""
        self._known_sources: Set[tuple[str, int]] = frozenset()
        self._from_peers = TokenBucket(rate, burst)
        self._with_mac2 = TokenBucket(rate, burst)
        self._others = TokenBucket(COOKIES_PER_MESSAGE * rate, burst)
        self._introductions = TokenBucket(COOKIES_PER_MESSAGE * rate / 2, burst // 2)
        self._probes = TokenBucket(rate, burst // 4)
        self._answerable = TokenBucket(rate, burst // 2)
        self._is_loaded = False
        self._load_told_at = NEVER

    @classmethod
    def one_of(cls, count: int) -> "HandshakeGate":
        """Return a gate for one of *count* workers, which share the usual rates."""
        return cls(rate=DEFAULT_RATE / count, burst=DEFAULT_BURST // count)

    def set_identity(self, public_key: bytes) -> None:
        """Take mac1 for messages to *public_key*: 32 bytes, or b"" for no identity."""
        self._mac1_key = mac1_key(public_key) if public_key else b""

    def set_known_sources(self, sources: Set[tuple[str, int]]) -> None:
        """Prefer the (host, port) pairs where configured peers are at present.

        The set is asked each time and not copied, so it may be a live one.
        """
        self._known_sources = sources

    def admit(
        self,
        data: bytes | memoryview,
        remote_host: str,
        remote_port: int,
        *,
        now: float,
    ) -> DropReason | None:
        """Return why the datagram is dropped, or None if control shall have it.

        `remote_host` is canonical text, as in the known sources. Any bytes may come.
        Tokens are spent only by messages that are right in type, length and mac1.
        """
        message = bytes(data)
        kind = message_type(message)
        if kind == INTRODUCTION_TYPE:
            return self._admit_introduction(message, now)
        if kind == PROBE_TYPE:
            return self._admit_probe(message, now)
        reason = self._refuse(message, kind)
        if reason is not None:
            return reason
        bucket = self._others
        if (remote_host, remote_port) in self._known_sources:
            bucket = self._from_peers
        elif kind != COOKIE_REPLY_TYPE and message[-MAC_SIZE:] != ZERO_MAC:
            bucket = self._with_mac2
        if bucket is self._others and not self._answerable.take(now):
            self._is_loaded = True
        return None if bucket.take(now) else DropReason.RATE_LIMITED

    def poll_load(self, *, now: float) -> bool:
        """Return whether control shall be told of load, at most twice a second."""
        if not self._is_loaded or now - self._load_told_at < LOAD_INTERVAL:
            return False
        self._is_loaded = False
        self._load_told_at = now
        return True

    def _refuse(self, message: bytes, kind: int) -> DropReason | None:
        """Check what the message itself shows: type, length, mac1."""
        size = _SIZES.get(kind)
        if size is None:
            return DropReason.BAD_TYPE if len(message) >= 4 else DropReason.BAD_LENGTH
        if len(message) != size:
            return DropReason.BAD_LENGTH
        if not self._mac1_key:
            return DropReason.NO_IDENTITY
        # A cookie reply has no mac1; control knows whether it asked for one.
        if kind != COOKIE_REPLY_TYPE and not has_valid_mac1(self._mac1_key, message):
            return DropReason.BAD_MAC1
        return None

    def _admit_introduction(self, message: bytes, now: float) -> DropReason | None:
        """Check an introduction; half of the strangers' tokens is all they get."""
        if not MIN_INTRODUCTION <= len(message) <= MAX_INTRODUCTION:
            return DropReason.BAD_LENGTH
        if not self._mac1_key:
            return DropReason.NO_IDENTITY
        if not has_last_mac1(self._mac1_key, message):
            return DropReason.BAD_MAC1
        if self._introductions.take(now) and self._others.take(now):
            return None
        return DropReason.RATE_LIMITED

    def _admit_probe(self, message: bytes, now: float) -> DropReason | None:
        """Check a probe; whether it opens, control finds out."""
        if len(message) != PROBE_SIZE:
            return DropReason.BAD_LENGTH
        if not self._mac1_key:
            return DropReason.NO_IDENTITY
        return None if self._probes.take(now) else DropReason.RATE_LIMITED
