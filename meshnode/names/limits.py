"""How many questions one source may ask: a bucket of tokens each, and not too many."""

from typing import Final

RATE: Final = 500.0
"""Questions a second and source that are answered for long."""

BURST: Final = 1000.0
"""Questions that may come at once."""

MAX_SOURCES: Final = 4096
"""Sources that are remembered; a network's addresses are not cheap to have."""


class SourceLimits:
    """Says who has asked too much.

    A bucket that is full again is the same as none, so those that were silent
    longest are forgotten first.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, source: str, *, now: float) -> bool:
        """Whether *source* may ask once more at *now*, monotonic seconds."""
        level, at = self._buckets.pop(source, (BURST, now))
        level = min(BURST, level + (now - at) * RATE)
        may_ask = level >= 1.0
        self._buckets[source] = (level - 1.0 if may_ask else level, now)
        if len(self._buckets) > MAX_SOURCES:
            del self._buckets[next(iter(self._buckets))]
        return may_ask
