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

Not decided here: whether a mac2 is right, for only control knows the cookie secret.
Anybody can write a wrong one or forge a peer's address; then that class suffers, the
others do not.
"""

from collections.abc import Set
from typing import Final

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
from meshnode.errors import DropReason
from meshnode.ports import NEVER
from meshnode.wireguard.cookie import has_valid_mac1, mac1_key

DEFAULT_RATE: Final = 1000.0
"""Messages a second of one class: what control answers in a part of one core."""

COOKIES_PER_MESSAGE: Final = 2
"""Strangers admitted for each one that control would answer in full."""

LOAD_INTERVAL: Final = 0.5
"""Seconds between two signs of load; half of how long control goes by one."""

DEFAULT_BURST: Final = 512
"""Messages of one class at once: half of the queue to control."""

_SIZES: Final = {
    INITIATION_TYPE: INITIATION_SIZE,
    RESPONSE_TYPE: RESPONSE_SIZE,
    COOKIE_REPLY_TYPE: COOKIE_REPLY_SIZE,
}


class _TokenBucket:
    """Allows *rate* events a second and *burst* at once; full at first."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = self._burst
        self._since = NEVER

    def take(self, now: float) -> bool:
        if now > self._since:
            earned = (now - self._since) * self._rate
            self._tokens = min(self._burst, self._tokens + earned)
            self._since = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


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
        self._from_peers = _TokenBucket(rate, burst)
        self._with_mac2 = _TokenBucket(rate, burst)
        self._others = _TokenBucket(COOKIES_PER_MESSAGE * rate, burst)
        self._answerable = _TokenBucket(rate, burst // 2)
        self._is_loaded = False
        self._load_told_at = NEVER

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
