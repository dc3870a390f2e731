"""The clocks of a simulated host: boottime that drifts, wall time that is set wrong.

World time is what the simulation counts, in seconds from its beginning. No host can
see it: each has a boottime of its own origin and rate, and a wall clock that differs
from the truth by an offset.
"""

from dataclasses import dataclass
from typing import Final

EPOCH: Final = 1_700_000_000.0
"""Unix time at world time 0, by a right clock."""


@dataclass(slots=True)
class Clock:
    """World time as one host sees it.

    `booted_at` is the world time at which boottime was 0, `drift` how much faster
    than the world it runs (1e-4 is 100 ppm), `wall_offset` the error of the wall
    clock in seconds.
    """

    booted_at: float = 0.0
    drift: float = 0.0
    wall_offset: float = 0.0

    def boottime(self, world_now: float) -> float:
        """Return boottime seconds at a moment of the world."""
        return (world_now - self.booted_at) * (1.0 + self.drift)

    def wall_time(self, world_now: float) -> float:
        """Return Unix seconds, as this host believes, at a moment of the world."""
        return EPOCH + world_now + self.wall_offset

    def world_time(self, boottime: float) -> float:
        """Return the moment of the world at which boottime is *boottime*."""
        return boottime / (1.0 + self.drift) + self.booted_at
