"""Which of several paths to one member is taken.

Theory of operation. What counts first is the class: the same link, then direct, then
everything by somebody else. A better class that loses little is taken at once, and
never left for a worse one. Otherwise costs decide: the round trip, made worse by loss
and by each relay more. A path is left for a cheaper one only if that is cheaper by a
fifth and by 5 ms, three times in a row, and the present one has been in use for half a
minute; so no noise makes two paths alternate. From a path that is dead the best of the
others is taken at once.
"""

import enum
from collections.abc import Mapping
from typing import Final

from meshnode.ports import NEVER
from meshnode.types import Path
from meshnode.values import frozen

LOSSY: Final = 0.1
"""Share of lost probes from which a better class is none any more."""

DWELL: Final = 30.0
"""Seconds that a path is kept, unless it dies."""

STREAK: Final = 3
"""Times in a row that another path must be cheaper."""

_RATIO: Final = 0.8
_MARGIN: Final = 0.005
_LOSS_WEIGHT: Final = 8
_EXTRA_HOP: Final = 0.004
_UNKNOWN: Final = 1.0
"""Seconds that count for a round trip that nobody has measured."""


class PathKind(enum.Enum):
    """How a member is reached; the value is how users are told."""

    LAN = "lan"
    DIRECT = "direct"
    TLS = "tls"
    RELAYED = "relayed"


_CLASSES: Final = {
    PathKind.LAN: 0,
    PathKind.DIRECT: 1,
    PathKind.TLS: 2,
    PathKind.RELAYED: 2,
}


@frozen
class Measured:
    """A path as its probes show it.

    `seconds` is the smoothed round trip, None before the first; `loss` the share of the
    last probes that went unanswered; `hops` the relays on the way.
    """

    kind: PathKind
    seconds: float | None = None
    loss: float = 0.0
    hops: int = 0

    @property
    def cost(self) -> float:
        """Seconds, the less the better."""
        seconds = _UNKNOWN if self.seconds is None else self.seconds
        extra = max(self.hops - 1, 0)
        return seconds * (1 + _LOSS_WEIGHT * self.loss) + _EXTRA_HOP * extra

    @property
    def is_lossy(self) -> bool:
        """Whether so much is lost that a worse class may be better."""
        return self.loss > LOSSY

    @property
    def rank(self) -> tuple[int, float]:
        """What paths are sorted by if none is in use, the best first."""
        worst = max(_CLASSES.values())
        return (worst if self.is_lossy else _CLASSES[self.kind], self.cost)


def is_cheaper(one: Measured, other: Measured) -> bool:
    """Whether *one* is so much cheaper that it is worth a change."""
    if one.cost >= _RATIO * other.cost:
        return False
    return other.cost - one.cost > _MARGIN


def is_better_class(one: Measured, other: Measured) -> bool:
    """Whether *one* is of a better class and loses little."""
    return not one.is_lossy and _CLASSES[one.kind] < _CLASSES[other.kind]


class Chooser:
    """Keeps the path in use of one member, and changes it as the module says.

    Attributes that may be read: `path` in use, None for none, and `since` when.
    """

    __slots__ = ("_left_by_choice", "_streak", "_streak_path", "path", "since")

    # `_left_by_choice` is whether a path of a better class was, since it lost too much.

    def __init__(self) -> None:
        self.path: Path | None = None
        self.since = NEVER
        self._left_by_choice = False
        self._streak = 0
        self._streak_path: Path | None = None

    def use(self, path: Path | None, *, now: float) -> None:
        """Take note that *path* is in use, whoever decided that."""
        if path != self.path:
            self.path, self.since = path, now
            self._left_by_choice = False
            self._streak, self._streak_path = 0, None

    def choose(self, alive: Mapping[Path, Measured], *, now: float) -> Path | None:
        """Return the path to use of those *alive*, and keep it; call once a probe.

        The one in use is dead if it is not among them. If none is, it stays.
        """
        if not alive:
            return self.path
        present = None if self.path is None else alive.get(self.path)
        best = min(alive, key=lambda path: alive[path].rank)
        if present is None:
            self.use(best, now=now)
        elif best == self.path:
            self._streak, self._streak_path = 0, None
        elif is_better_class(alive[best], present):
            # What was left because it lost too much has to prove itself for longer.
            if not self._left_by_choice or now > self.since + DWELL:
                self.use(best, now=now)
        elif not is_better_class(present, alive[best]):
            self._compare(best, alive[best], present, now)
        return self.path

    def _compare(
        self, best: Path, measured: Measured, present: Measured, now: float
    ) -> None:
        if not is_cheaper(measured, present):
            self._streak, self._streak_path = 0, None
            return
        self._streak = self._streak + 1 if best == self._streak_path else 1
        self._streak_path = best
        if self._streak >= STREAK and now > self.since + DWELL:
            self.use(best, now=now)
            self._left_by_choice = _CLASSES[present.kind] < _CLASSES[measured.kind]
