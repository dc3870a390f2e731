"""Which exit the traffic of this host leaves by: the best that answers, without haste.

Pure, and told everything. The first healthy of the list is taken at once when there is
none, or when the one in use fails. To a better one we go back only after it was
healthy for a while: `STEADY` seconds at first, twice as long after each failure that
followed soon upon the last change, at most `LONGEST`. So an exit that comes and goes
is left alone more and more, and flows are not cut for its sake.

Where none is healthy the choice stays: nothing gets through, and nothing leaves
elsewhere. The traffic that still goes to it keeps the questions of
`meshnode.mesh.health` going, so the first that answers is taken.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from meshnode.deadlines import Deadline

STEADY: Final = 30.0
"""Seconds that a better exit must have been healthy before we go back to it."""

LONGEST: Final = 600.0
"""Seconds, at most; and an exit that served so long is trusted as if it were new."""


class ExitChoice:
    """The exit in use, `chosen` by its WireGuard key; b"" for none."""

    def __init__(self) -> None:
        self.chosen = b""
        self._wanted: tuple[str, ...] = ()
        self._ranked: tuple[bytes, ...] = ()
        self._chosen_at = 0.0
        self._healthy_since: dict[bytes, float] = {}
        self._proof: dict[bytes, float] = {}

    def choose(
        self,
        wanted: tuple[str, ...],
        offers: Mapping[str, bytes],
        unhealthy: Collection[bytes],
        *,
        now: float,
    ) -> bytes:
        """Return the key of the exit to use, b"" if none of the list offers itself.

        Args:
            wanted: the names of exits, the best first; another list than the last
                time is a decision, and takes effect at once.
            offers: the keys of those that offer themselves, by name.
            unhealthy: who does not answer.
            now: boottime seconds.
        """
        if wanted != self._wanted:
            self._wanted, self.chosen = wanted, b""
            self._healthy_since, self._proof = {}, {}
        self._ranked = tuple(offers[name] for name in wanted if name in offers)
        self._note_health(unhealthy, now)
        best = self._best(now)
        if best != self.chosen:
            self.chosen, self._chosen_at = best, now
        return best

    @property
    def standby(self) -> tuple[bytes, ...]:
        """Who is better placed than the one in use: to be asked how it is."""
        return _before(self._ranked, self.chosen)

    @property
    def is_healthy(self) -> bool:
        """Whether the exit in use answers, as far as is known."""
        return self.chosen in self._healthy_since

    def next_deadline(self) -> Deadline | None:
        """Return when a better exit was healthy for long enough."""
        moments = [
            self._proven_at(key) for key in self.standby if key in self._healthy_since
        ]
        return Deadline(min(moments), "return to a better exit") if moments else None

    def _note_health(self, unhealthy: Collection[bytes], now: float) -> None:
        for key in list(self._healthy_since):
            if key in unhealthy or key not in self._ranked:
                del self._healthy_since[key]
                if key == self.chosen:
                    self._note_failure(key, now)
        for key in self._ranked:
            if key not in unhealthy:
                self._healthy_since.setdefault(key, now)

    def _note_failure(self, key: bytes, now: float) -> None:
        if now - self._chosen_at >= LONGEST:
            self._proof[key] = STEADY
        else:
            known = self._proof.get(key)
            self._proof[key] = STEADY if known is None else min(2 * known, LONGEST)

    def _best(self, now: float) -> bytes:
        healthy = [key for key in self._ranked if key in self._healthy_since]
        if self.chosen not in healthy:
            if healthy:
                return healthy[0]
            if self.chosen in self._ranked:
                return self.chosen
            return self._ranked[0] if self._ranked else b""
        for key in _before(healthy, self.chosen):
            if now >= self._proven_at(key):
                return key
        return self.chosen

    def _proven_at(self, key: bytes) -> float:
        return self._healthy_since[key] + self._proof.get(key, STEADY)


def _before(ranked: Sequence[bytes], chosen: bytes) -> tuple[bytes, ...]:
    if chosen not in ranked:
        return ()
    return tuple(ranked[: ranked.index(chosen)])
