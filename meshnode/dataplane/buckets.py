"""Token buckets: so many events a second, and so many at once."""

from meshnode.ports import NEVER


class TokenBucket:
    """Allows *rate* events a second and *burst* at once; full at first."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = self._burst
        self._since = NEVER

    def take(self, now: float) -> bool:
        """Take a token; False if there is none. Time that goes back earns nothing."""
        if now > self._since:
            earned = (now - self._since) * self._rate
            self._tokens = min(self._burst, self._tokens + earned)
            self._since = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
