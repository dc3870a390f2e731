"""Cryptokey routing: which peer owns an address (WireGuard paper, section 2).

Theory of operation: one dictionary for each prefix length in use, keyed by the leading
bits of the network. A lookup asks them from the longest length to the shortest, so
it costs as many dictionary reads as there are lengths, and few are ever used. A
trie visits up to 128 nodes, each an interpreted step, and was rejected for that.
Answers are kept by whole address, because packets of a flow share theirs.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from meshnode.types import Prefix

Owner = TypeVar("Owner", bound=Hashable)

CACHE_ENTRIES = 4096
"""Remembered answers; beyond, all are forgotten, so a scan cannot fill memory."""


class _Family(Generic[Owner]):
    """The prefixes of one IP version; *bits* is the width of its addresses."""

    __slots__ = ("_bits", "_by_length", "_longest_first")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._by_length: dict[int, dict[int, Owner]] = {}
        self._longest_first: list[tuple[int, dict[int, Owner]]] = []

    def get(self, prefix: Prefix) -> Owner | None:
        table = self._by_length.get(prefix.length)
        if table is None:
            return None
        return table.get(prefix.network >> (self._bits - prefix.length))

    def set(self, prefix: Prefix, owner: Owner) -> None:
        table = self._by_length.get(prefix.length)
        if table is None:
            table = self._by_length[prefix.length] = {}
            self._sort()
        table[prefix.network >> (self._bits - prefix.length)] = owner

    def delete(self, prefix: Prefix) -> None:
        table = self._by_length[prefix.length]
        del table[prefix.network >> (self._bits - prefix.length)]
        if not table:
            del self._by_length[prefix.length]
            self._sort()

    def longest_match(self, address: int) -> Owner | None:
        for shift, table in self._longest_first:
            owner = table.get(address >> shift)
            if owner is not None:
                return owner
        return None

    def _sort(self) -> None:
        self._longest_first = [
            (self._bits - length, self._by_length[length])
            for length in sorted(self._by_length, reverse=True)
        ]


class AllowedIps(Generic[Owner]):
    """A table of IP prefixes, each owned by one peer; longest match wins.

    An owner is any hashable value but None.

    Invariant: a prefix has one owner, in whose list it stands exactly once.
    """

    def __init__(self) -> None:
        self._v4: _Family[Owner] = _Family(32)
        self._v6: _Family[Owner] = _Family(128)
        self._owned: dict[Owner, dict[Prefix, None]] = {}
        self._cache: dict[bytes, Owner | None] = {}

    def lookup(self, address: bytes) -> Owner | None:
        """Return the owner of the longest prefix that holds *address*, or None.

        Args:
            address: 4 bytes for IPv4 or 16 bytes for IPv6, in network order.

        Raises:
            ValueError: if it has another length.
        """
        try:
            return self._cache[address]
        except KeyError:
            return self._look_up_and_remember(address)

    def owner_of(self, prefix: Prefix) -> Owner | None:
        """Return who owns exactly *prefix*, or None."""
        return self._family(prefix).get(prefix)

    def prefixes_of(self, owner: Owner) -> list[Prefix]:
        """Return the prefixes of *owner* in the order in which it got them.

        As in Linux, so `wg show` repeats what was configured.
        """
        return list(self._owned.get(owner, ()))

    def insert(self, prefix: Prefix, owner: Owner) -> Owner | None:
        """Give *prefix* to *owner*, taking it from any other.

        Inserting again what the owner has keeps its place in `prefixes_of`.

        Returns:
            The previous owner, perhaps the same, or None.
        """
        family = self._family(prefix)
        previous = family.get(prefix)
        if previous == owner:
            return previous
        if previous is not None:
            self._disown(prefix, previous)
        family.set(prefix, owner)
        self._owned.setdefault(owner, {})[prefix] = None
        self._cache.clear()
        return previous

    def remove(self, prefix: Prefix, owner: Owner) -> bool:
        """Take *prefix* from *owner*; return False if it is not theirs."""
        family = self._family(prefix)
        if family.get(prefix) != owner:
            return False
        family.delete(prefix)
        self._disown(prefix, owner)
        self._cache.clear()
        return True

    def remove_owner(self, owner: Owner) -> None:
        """Take every prefix from *owner*; the cost follows how many it had."""
        for prefix in self._owned.pop(owner, ()):
            self._family(prefix).delete(prefix)
        self._cache.clear()

    def _family(self, prefix: Prefix) -> _Family[Owner]:
        return self._v4 if prefix.version == 4 else self._v6

    def _disown(self, prefix: Prefix, owner: Owner) -> None:
        prefixes = self._owned[owner]
        del prefixes[prefix]
        if not prefixes:
            del self._owned[owner]

    def _look_up_and_remember(self, address: bytes) -> Owner | None:
        if len(address) == 4:
            owner = self._v4.longest_match(int.from_bytes(address, "big"))
        elif len(address) == 16:
            owner = self._v6.longest_match(int.from_bytes(address, "big"))
        else:
            raise ValueError("an IP address has 4 or 16 bytes")
        if len(self._cache) >= CACHE_ENTRIES:
            self._cache.clear()
        self._cache[address] = owner
        return owner
