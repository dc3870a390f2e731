"""When to start a child again that has died; pure.

The first restart comes at once, as one crash is most likely by chance. Each further
one waits, 0.1 s at first and then twice as long up to 5 s. A child that lived for 30 s
has earned a clean slate.
"""

from typing import Final

FIRST_DELAY: Final = 0.1
"""Seconds before the second restart in a row."""

LONGEST_DELAY: Final = 5.0
"""Seconds between restarts at most."""

STEADY_AFTER: Final = 30.0
"""Seconds of life after which earlier crashes are forgotten."""


class Backoff:
    """The restarts of one child; times are boottime seconds."""

    def __init__(self) -> None:
        self._started_at = 0.0
        self._delay = 0.0

    def started(self, *, now: float) -> None:
        """The child was started."""
        self._started_at = now

    def died(self, *, now: float) -> float:
        """The child died; return the moment to start it again."""
        if now - self._started_at >= STEADY_AFTER:
            self._delay = 0.0
        at = now + self._delay
        self._delay = min(max(2 * self._delay, FIRST_DELAY), LONGEST_DELAY)
        return at
