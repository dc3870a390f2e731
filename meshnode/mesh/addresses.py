"""Which IPv4 address a new member gets.

The search begins at a place that a hash of the member's key chooses and goes on
upwards, so that two issuers, or one that lost its ledger, seldom choose the same
address for two members, and a member that joins anew often gets its old one.
"""

from collections.abc import Callable
from typing import Final

from meshnode.crypto.primitives import blake2s
from meshnode.types import Prefix

_LABEL: Final = b"meshnode/1 address"


def free_ranges(
    pools: tuple[Prefix, ...], excluded: tuple[Prefix, ...], network: Prefix
) -> tuple[range, ...]:
    """Return the addresses, as integers, that we may allot, in ascending order.

    These are the IPv4 *pools* within *network*, less everything in *excluded*, less
    the first and last address of *network* (its name and its broadcast address).
    """
    first, last = network.network + 1, _end(network) - 1
    ranges: list[range] = []
    for pool in sorted(pools, key=lambda pool: pool.network):
        if pool.version != 4:
            continue
        begin = max(pool.network, first, ranges[-1].stop if ranges else 0)
        ranges.append(range(begin, max(begin, min(_end(pool), last))))
    for hole in excluded:
        if hole.version == 4:
            ranges = [part for one in ranges for part in _without(one, hole)]
    return tuple(one for one in ranges if one)


def allot_address(
    key: bytes, ranges: tuple[range, ...], is_taken: Callable[[int], bool]
) -> int | None:
    """Return a free address of *ranges* for the member with this WireGuard *key*.

    Deterministic: the first that is not taken, from a place chosen by the key.
    None if all are taken.
    """
    size = sum(len(one) for one in ranges)
    if size == 0:
        return None
    start = int.from_bytes(blake2s(_LABEL + key)[:8], "little") % size
    for offset in range(size):
        address = _nth(ranges, (start + offset) % size)
        if not is_taken(address):
            return address
    return None


def _end(prefix: Prefix) -> int:
    return prefix.network + (1 << (32 - prefix.length))


def _without(one: range, hole: Prefix) -> tuple[range, range]:
    return (
        range(one.start, max(one.start, min(one.stop, hole.network))),
        range(min(one.stop, max(one.start, _end(hole))), one.stop),
    )


def _nth(ranges: tuple[range, ...], position: int) -> int:
    for one in ranges:
        if position < len(one):
            return one[position]
        position -= len(one)
    raise IndexError(position)
