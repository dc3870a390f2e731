"""How prefixes lie to each other: inside, overlapping, apart."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from meshnode.types import Prefix


def width(version: int) -> int:
    """Return how many bits an address of that IP version (4 or 6) has."""
    return 32 if version == 4 else 128


def host_prefix(address: bytes) -> Prefix:
    """Return the prefix of one address, given as its 4 or 16 bytes."""
    version = 4 if len(address) == 4 else 6
    return Prefix(version, int.from_bytes(address, "big"), width(version))


def contains(outer: Prefix, inner: Prefix) -> bool:
    """Whether every address of *inner* is in *outer*; a prefix holds itself."""
    if outer.version != inner.version or outer.length > inner.length:
        return False
    return (outer.network ^ inner.network) >> width(outer.version) - outer.length == 0


def overlaps(one: Prefix, other: Prefix) -> bool:
    """Whether the two have an address in common: one then holds the other."""
    return contains(one, other) or contains(other, one)


def order(prefix: Prefix) -> tuple[int, int, int]:
    """Return what prefixes are sorted by: version, network, shorter first."""
    return prefix.version, prefix.network, prefix.length


def minimal(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """Return the prefixes in order, without those that another one holds."""
    kept: list[Prefix] = []
    for prefix in sorted(prefixes, key=order):
        # In this order the last one kept is the only one that can hold it.
        if not kept or not contains(kept[-1], prefix):
            kept.append(prefix)
    return tuple(kept)


def part_of(prefixes: Sequence[Prefix], prefix: Prefix) -> tuple[Prefix, ...]:
    """Return what *prefix* and *prefixes*, which are `minimal`, have in common.

    That is *prefix* itself, some of *prefixes* inside it, or nothing.
    """
    # They are apart and in order, so the only one that can hold it comes just before
    # where it would stand, and those inside it follow.
    place = bisect_right(prefixes, order(prefix), key=order)
    if place and contains(prefixes[place - 1], prefix):
        return (prefix,)
    end = place
    while end < len(prefixes) and contains(prefix, prefixes[end]):
        end += 1
    return tuple(prefixes[place:end])
