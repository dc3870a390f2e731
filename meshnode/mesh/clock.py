"""The wall time we believe: never behind a mark that outlives us.

Certificates that have expired must not become valid again because a clock was set
back. So the time believed is never behind the *mark*. But a clock that is wrong once,
by ten years, must not lock us out for ten years: the mark therefore follows only time
that has passed for certain. That is

* time we lived through: the mark moves on with boottime, a little slower, so that no
  drift of either clock lets it overtake the truth, and up to the wall clock, if that
  shows about as much; and
* time that an issuer vouches for: the beginning of a certificate that the wall clock,
  too, says has begun (`witness`).

A wall clock that jumps ahead is believed while it lasts, and leaves no trace: what
cannot be undone goes by what has `passed`.
After a long time switched off, the mark is behind until a certificate shows how late
it is; so long a clock may be set back as far as that.
"""

import math
from typing import Final

from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import KeepWallMark

SAVE_INTERVAL: Final = 60.0
"""Seconds between two writes of the mark, at least."""

# More than crystals and their correction by NTP (500 ppm) differ together.
_DRIFT: Final = 1e-3


class WallMark:
    """The wall time believed, from the clock and the persisted mark.

    *mark* is wall seconds from the state store, 0 for none; *now* boottime seconds.
    """

    def __init__(self, mark: int, outbox: Outbox, *, now: float) -> None:
        self._outbox = outbox
        self._mark = float(mark)  # passed for certain at `_marked_at`
        self._marked_at = now
        self._saved = mark
        self._saved_at = -math.inf

    def believe(self, wall: float, *, now: float) -> float:
        """Return the wall seconds to use at *now*, when the clock says *wall*."""
        self._advance(wall, now)
        self._save(now)
        return max(wall, self._mark)

    def behind(self, wall: float, *, now: float) -> float:
        """Return by how many seconds the clock is behind what has passed, or 0.0."""
        return max(0.0, self._floor(now) - wall)

    def passed(self, *, now: float) -> float:
        """Return the wall seconds that have passed for certain at *now*.

        What must not be undone, such as forgetting what has ended, goes by this.
        """
        return self._floor(now)

    def witness(self, not_before: int, wall: float, *, now: float) -> None:
        """Let a verified certificate that began at *not_before* prove the time.

        One that has not begun by our own clock proves nothing.
        """
        self._advance(wall, now)
        if self._mark < not_before <= wall:
            self._mark = float(not_before)
            self._save(now)

    def _floor(self, now: float) -> float:
        return self._mark + max(0.0, now - self._marked_at) * (1.0 - _DRIFT)

    def _advance(self, wall: float, now: float) -> None:
        # A mark of 0 is no time that ever passed.
        if self._mark > 0.0:
            most = self._mark + max(0.0, now - self._marked_at) * (1.0 + _DRIFT)
            self._mark = max(self._floor(now), min(wall, most))
        self._marked_at = max(self._marked_at, now)

    def _save(self, now: float) -> None:
        mark = int(self._mark)
        if mark > self._saved and now >= self._saved_at + SAVE_INTERVAL:
            self._outbox.keep(KeepWallMark(mark), now=now)
            self._saved, self._saved_at = mark, now
