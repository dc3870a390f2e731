"""A tree of digests over a set of records, to find what two sets differ in.

Each entry is an id (8 bytes) with the fingerprint of its record (8 bytes). The
digest of a part of the set is the sum of its fingerprints modulo 2^64, so that adding
and removing cost the same however large the set is. A *prefix* is a byte string of
nibbles (0–15): the part of the set whose ids begin with them. The tree node at a
prefix has 16 children, one for each next nibble.

Sums of the first levels are kept; those further down are of few entries and are
added up when they are asked for. Ids and fingerprints lie in two sorted arrays: 16
bytes an entry.

Whoever makes many records of his own can find two that add up alike; he then hides
a difference in his own records, from those he told differently.
"""

from array import array
from bisect import bisect_left
from typing import Final

BRANCHES: Final = 16
ID_BYTES: Final = 8
MAX_DEPTH: Final = 2 * ID_BYTES

_KEPT_DEPTH: Final = 3
_MASK: Final = 2**64 - 1
# Where the nodes of each kept level begin in the array of sums.
_LEVELS: Final = (0, 1, 1 + 16, 1 + 16 + 256)


class DigestTree:
    """The ids and fingerprints of a set, and the digests of its parts."""

    def __init__(self) -> None:
        self._ids = array("Q")
        self._fingerprints = array("Q")
        self._sums = array("Q", bytes(8 * (_LEVELS[-1] + BRANCHES**_KEPT_DEPTH)))

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def root(self) -> tuple[bytes, int]:
        """The digest of the whole set (8 bytes) and how many entries it has."""
        return self._sums[0].to_bytes(8, "big"), len(self._ids)

    def add(self, id: bytes, fingerprint: bytes) -> None:
        """Add an entry, or give the one with this id another fingerprint."""
        number, value = _number(id), _number(fingerprint)
        at = bisect_left(self._ids, number)
        if at < len(self._ids) and self._ids[at] == number:
            self._change(number, value - self._fingerprints[at])
            self._fingerprints[at] = value
            return
        self._ids.insert(at, number)
        self._fingerprints.insert(at, value)
        self._change(number, value)

    def remove(self, id: bytes) -> None:
        """Remove the entry with this id, if there is one."""
        number = _number(id)
        at = bisect_left(self._ids, number)
        if at < len(self._ids) and self._ids[at] == number:
            self._change(number, -self._fingerprints[at])
            del self._ids[at]
            del self._fingerprints[at]

    def count(self, prefix: bytes) -> int:
        """Return how many ids begin with *prefix*, at most 16 nibbles."""
        first, end = self._range(prefix)
        return end - first

    def children(self, prefix: bytes) -> tuple[bytes, ...]:
        """Return the digests of the 16 children of *prefix*, at most 15 nibbles.

        Raises:
            ValueError: if it is longer: an id has no children.
        """
        depth = len(prefix)
        if depth >= MAX_DEPTH:
            raise ValueError("an id has no children")
        if depth < _KEPT_DEPTH:
            start = _LEVELS[depth + 1] + BRANCHES * _value(prefix)
            sums = list(self._sums[start : start + BRANCHES])
        else:
            sums = [self._sum(prefix + bytes((n,))) for n in range(BRANCHES)]
        return tuple([value.to_bytes(8, "big") for value in sums])

    def entries(self, prefix: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Return the ids below *prefix* with their fingerprints, ids ascending."""
        first, end = self._range(prefix)
        pairs = zip(self._ids[first:end], self._fingerprints[first:end], strict=True)
        return tuple(
            [(id.to_bytes(8, "big"), value.to_bytes(8, "big")) for id, value in pairs]
        )

    def fingerprint_of(self, id: bytes) -> bytes | None:
        """Return the fingerprint of the entry with this id, None if there is none."""
        number = _number(id)
        at = bisect_left(self._ids, number)
        if at == len(self._ids) or self._ids[at] != number:
            return None
        return self._fingerprints[at].to_bytes(8, "big")

    def _change(self, number: int, difference: int) -> None:
        for depth, start in enumerate(_LEVELS):
            at = start + (number >> (64 - 4 * depth))
            self._sums[at] = (self._sums[at] + difference) & _MASK

    def _sum(self, prefix: bytes) -> int:
        first, end = self._range(prefix)
        return sum(self._fingerprints[first:end]) & _MASK

    def _range(self, prefix: bytes) -> tuple[int, int]:
        shift = 64 - 4 * len(prefix)
        value = _value(prefix)
        first = bisect_left(self._ids, value << shift)
        end = len(self._ids)
        if value + 1 < 1 << (4 * len(prefix)):
            end = bisect_left(self._ids, (value + 1) << shift, first)
        return first, end


def _number(eight: bytes) -> int:
    if len(eight) != ID_BYTES:
        raise ValueError("ids and fingerprints have 8 bytes")
    return int.from_bytes(eight, "big")


def _value(prefix: bytes) -> int:
    if len(prefix) > MAX_DEPTH:
        raise ValueError("an id has 16 nibbles")
    value = 0
    for nibble in prefix:
        if nibble >= BRANCHES:
            raise ValueError("a nibble is below 16")
        value = value << 4 | nibble
    return value
