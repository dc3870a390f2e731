"""What names that rules speak of were last seen to mean: pure.

An application asks the mesh's resolver for a name and then speaks to an address; so
the address stands for the name, for as long as applications may remember it. Names
that share an address cannot be told apart by it.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from meshnode.steering import SteerRule, normal_name, rules_for_name

LEAST_LIFE: Final = 3600
"""Seconds that an answer counts at least: applications remember it for longer than
its time to live says."""

LONGEST_LIFE: Final = 86_400

MAX_ADDRESSES: Final = 20_000
"""Pairs of name and address; those that would be forgotten first make room."""


class LearntNames:
    """Names and addresses, each pair until some moment."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}

    def learn(
        self,
        rules: Sequence[SteerRule],
        name: str,
        addresses: Iterable[str],
        ttl: int,
        *,
        now: float,
    ) -> dict[tuple[int, str], int]:
        """Note an answer; return what the host has to be told before it leaves.

        Args:
            rules: those in force.
            name: the one asked for.
            addresses: numeric ones; of `CNAME` chains all that they end in.
            ttl: seconds that the answer may be kept.
            now: monotonic seconds.

        Returns:
            Seconds by index of the rule and address; what the host knows for as long
            as it needs to is left out.
        """
        indices = rules_for_name(rules, name)
        if not indices:
            return {}
        life = min(max(ttl, LEAST_LIFE), LONGEST_LIFE)
        fresh = {}
        for address in addresses:
            pair = (normal_name(name), address)
            left = self._until.get(pair, now) - now
            if left > life / 2:
                continue
            self._until[pair] = now + life
            fresh.update({(index, address): life for index in indices})
        if len(self._until) > MAX_ADDRESSES:
            self._make_room(now)
        return fresh

    def adopt(self, name: str, address: str, seconds: int, *, now: float) -> None:
        """Note what was learnt before, and holds for so many seconds more."""
        self._until[name, address] = now + seconds

    def known(
        self, rules: Sequence[SteerRule], *, now: float
    ) -> dict[tuple[int, str], int]:
        """Return for how many seconds each rule knows each address."""
        found: dict[tuple[int, str], int] = {}
        for (name, address), until in self._until.items():
            left = int(until - now)
            if left > 0:
                for index in rules_for_name(rules, name):
                    key = (index, address)
                    found[key] = max(left, found.get(key, 0))
        return found

    def names_of(self, address: str, *, now: float) -> list[str]:
        """Return the names that *address* stands for, in order."""
        return sorted(
            name
            for (name, known), until in self._until.items()
            if known == address and until > now
        )

    def _make_room(self, now: float) -> None:
        first = sorted(self._until, key=lambda pair: self._until[pair])
        for pair in first[: len(first) - MAX_ADDRESSES * 9 // 10]:
            del self._until[pair]
