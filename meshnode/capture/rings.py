"""Read the rings of the tap (`codec.tap`): the one reader there is.

The writers are other processes, which wait for nobody. What they wrote up to a head is
ours until we move the tail; a ring that makes no sense is skipped and never trusted.
"""

from meshnode.codec.tap import (
    DROPPED,
    HEAD,
    HEADER_BYTES,
    RING_BYTES,
    TAIL,
    Sighting,
    parse_records,
    ring_of,
)

MAX_BYTES = 2**20
"""Bytes read of one ring before the next has its turn."""


class Rings:
    """All rings of the tap in *memory*, from now on."""

    def __init__(self, memory: memoryview) -> None:
        count = len(memory) // (HEADER_BYTES + RING_BYTES)
        self._rings = [_Ring(ring_of(memory, number)) for number in range(count)]

    def read(self) -> list[Sighting]:
        """Return what was noted since the last time, a bounded number, in its order."""
        found = [one for ring in self._rings for one in ring.read()]
        found.sort(key=lambda one: one.time_ns)
        return found

    def lost(self) -> tuple[int, int]:
        """Return how many packets found no room since the last time, in and out.

        The rings of workers that receive are those with even numbers; the last ring is
        control's, and only sends.
        """
        counts = [ring.lost() for ring in self._rings]
        inbound = sum(counts[:-1:2])
        return inbound, sum(counts) - inbound


class _Ring:
    def __init__(self, memory: memoryview) -> None:
        self._words = memory[:HEADER_BYTES].cast("Q")
        self._data = memory[HEADER_BYTES:]
        self._dropped_before = self._words[DROPPED]

    def read(self) -> list[Sighting]:
        head, tail = self._words[HEAD], self._words[TAIL]
        if head == tail:
            return []
        if not 0 < head - tail <= RING_BYTES:
            self._words[TAIL] = head
            return []
        at = tail % RING_BYTES
        left = RING_BYTES - at
        if left <= head - tail and not any(self._data[at : at + 4]):
            # The room up to the end was too small for what came next.
            tail, at, left = tail + left, 0, RING_BYTES
        size = min(head - tail, left, MAX_BYTES)
        found, taken = parse_records(self._data[at : at + size])
        # What makes no sense is left out, and all behind it.
        self._words[TAIL] = tail + taken if taken else head
        return found

    def lost(self) -> int:
        dropped = self._words[DROPPED]
        count, self._dropped_before = dropped - self._dropped_before, dropped
        return count
