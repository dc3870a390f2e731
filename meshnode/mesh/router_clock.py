"""Whether a router lost its mappings, from the epoch in its answers.

The epoch counts the seconds since the router began without mappings. If it does not
move as our own clock does, the router has begun anew (RFC 6886, 3.6; RFC 6887, 8.5).
"""

from typing import Final

SLACK: Final = 2.0
"""Seconds that rounding and a slow network explain."""


class RouterClock:
    """The epoch of one router.

    A router's clock may be slower than ours by the fraction *drift*. With *both* it may
    be no faster either: PCP says so, NAT-PMP does not.
    """

    def __init__(self, *, drift: float, both: bool) -> None:
        self._drift = drift
        self._both = both
        self._last: tuple[int, float] | None = None

    def note(self, epoch: int, *, now: float) -> bool:
        """Take the epoch of an answer; whether mappings from before it are lost."""
        last, self._last = self._last, (epoch, now)
        if last is None:
            return False
        theirs, ours = epoch - last[0], now - last[1]
        if theirs < -1 or theirs + SLACK < ours * (1 - self._drift):
            return True
        return self._both and ours + SLACK < theirs * (1 - self._drift)
