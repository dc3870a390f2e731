"""Deadlines: when an object wants to be woken next, and why.

Every machine answers `next_deadline()` with a `Deadline` or None. A device with
many peers keeps them in a `DeadlineHeap`, so asking costs no walk over the peers.
"""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

from meshnode.values import frozen

Key = TypeVar("Key", bound=Hashable)


@frozen
class Deadline:
    """A moment in boottime seconds and the reason for waking then."""

    at: float
    reason: str


def earliest(*deadlines: Deadline | None) -> Deadline | None:
    """Return the deadline that comes first, or None if there is none."""
    return min(
        (d for d in deadlines if d is not None), key=lambda d: d.at, default=None
    )


def next_turn(now: float, pause: float) -> float:
    """Return the next moment at which everything with that *pause* is due together.

    It is later than *now*, though a quotient may be rounded down to the one before.
    """
    turn = now // pause
    while turn * pause <= now:
        turn += 1
    return turn * pause


class DeadlineHeap(Generic[Key]):
    """The next deadline of each key; superseded entries are skipped lazily."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Key]] = []
        self._current: dict[Key, tuple[int, Deadline]] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._current)

    def set(self, key: Key, deadline: Deadline | None) -> None:
        """Replace the deadline of *key*; None removes it."""
        known = self._current.get(key)
        if deadline is None:
            self._current.pop(key, None)
            return
        if known is not None and known[1].at == deadline.at:
            self._current[key] = (known[0], deadline)
            return
        self._sequence += 1
        self._current[key] = (self._sequence, deadline)
        heapq.heappush(self._heap, (deadline.at, self._sequence, key))
        if len(self._heap) > 64 + 4 * len(self._current):
            self._compact()

    def next(self) -> Deadline | None:
        """Return the earliest deadline of all, or None."""
        self._skip_superseded()
        return self._current[self._heap[0][2]][1] if self._heap else None

    def pop_due(self, now: float) -> list[Key]:
        """Remove and return the keys whose deadline is at or before *now*."""
        due = []
        self._skip_superseded()
        while self._heap and self._heap[0][0] <= now:
            key = heapq.heappop(self._heap)[2]
            del self._current[key]
            due.append(key)
            self._skip_superseded()
        return due

    def _skip_superseded(self) -> None:
        while self._heap:
            _, sequence, key = self._heap[0]
            known = self._current.get(key)
            if known is not None and known[0] == sequence:
                return
            heapq.heappop(self._heap)

    def _compact(self) -> None:
        self._heap = [(d.at, seq, key) for key, (seq, d) in self._current.items()]
        heapq.heapify(self._heap)
