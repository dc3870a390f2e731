"""Token buckets by source address, for handshakes under load (paper 5.3).

It is asked only about sources that proved their address with a cookie. A source is
one IPv4 address or one IPv6 /64, as a single user commonly has a whole /64.

A bucket left alone for `COOKIE_BURST / COOKIE_RATE` seconds is full and tells no more
than no bucket, so it is forgotten then; the buckets are kept in order of use, which
makes that cost nothing. When the table is full of younger ones, new sources are
*refused*. Forgetting a bucket in use instead would give its owner a full one again:
whoever has many addresses could go on for ever by cycling through them. The price is
that an attacker who owns as many addresses as the table has places can lock new
sources out while the attack lasts, a quarter of a second longer at most.
"""

import ipaddress
from typing import Final

from meshnode.wireguard.constants import COOKIE_BURST, COOKIE_RATE

# More than can prove their address to one Python process in the refill time.
DEFAULT_CAPACITY: Final = 8192
_REFILL_TIME: Final = COOKIE_BURST / COOKIE_RATE


class RateLimiter:
    """Allow each source 20 handshakes a second, five at once.

    Holds at most *capacity* sources; see the module for what happens beyond.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        # Tokens left, and when that was; the longest unused first.
        self._buckets: dict[str | int, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def allow(self, host: str, *, now: float) -> bool:
        """Take a token of the source that *host*, a numeric address, belongs to."""
        self._forget_full(now)
        source = _source_of(host)
        bucket = self._buckets.pop(source, None)
        if bucket is None:
            if len(self._buckets) >= self._capacity:
                return False
            bucket = (float(COOKIE_BURST), now)
        tokens, since = bucket
        tokens = min(float(COOKIE_BURST), tokens + (now - since) * COOKIE_RATE)
        allowed = tokens >= 1.0
        self._buckets[source] = (tokens - 1.0 if allowed else tokens, now)
        return allowed

    def _forget_full(self, now: float) -> None:
        while self._buckets:
            source, (_, since) = next(iter(self._buckets.items()))
            if now - since < _REFILL_TIME:
                return
            del self._buckets[source]


def _source_of(host: str) -> str | int:
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host)
    # All of IPv4 would share one /64 otherwise.
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return int(address) >> 64
