"""The prefixes that several peers own, as the data plane is told of them.

A mesh decides who they are; this keeps what it decided last, and says what changes.
"""

from collections.abc import Callable, Iterator, Sequence

from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError
from meshnode.forwarding import (
    MAX_OWNERS,
    MAX_WEIGHT,
    Command,
    ShareOfPrefix,
    SharePrefix,
    UnsharePrefix,
)
from meshnode.types import Prefix
from meshnode.wireguard.config import SharedPrefix

SlotOf = Callable[[PublicKey], int | None]


class Shares:
    """What is shared at present, by prefix."""

    def __init__(self) -> None:
        self._shares: dict[Prefix, SharePrefix] = {}

    def __iter__(self) -> Iterator[SharePrefix]:
        return iter(self._shares.values())

    def replace(self, wanted: Sequence[SharePrefix]) -> list[Command]:
        """Share exactly what is *wanted*; return the commands that make it so."""
        shares = {share.prefix: share for share in wanted}
        changes: list[Command] = [
            UnsharePrefix(prefix) for prefix in self._shares if prefix not in shares
        ]
        changes += [
            share
            for prefix, share in shares.items()
            if self._shares.get(prefix) != share
        ]
        self._shares = shares
        return changes

    def take(self, prefix: Prefix) -> None:
        """A single peer owns *prefix* now."""
        self._shares.pop(prefix, None)

    def remove_slot(self, slot: int) -> None:
        """The peer is gone, and with it every prefix that only it would carry."""
        for prefix, share in list(self._shares.items()):
            forward = tuple([one for one in share.forward if one.slot != slot])
            accept = tuple([other for other in share.accept if other != slot])
            if forward:
                self._shares[prefix] = SharePrefix(prefix, forward, accept)
            else:
                del self._shares[prefix]

    def by_first_owner(self) -> dict[int, list[Prefix]]:
        """Return the prefixes by the slot that is the first to forward to."""
        prefixes: dict[int, list[Prefix]] = {}
        for share in self:
            prefixes.setdefault(share.forward[0].slot, []).append(share.prefix)
        return prefixes


def resolve(shared: Sequence[SharedPrefix], slot_of: SlotOf) -> list[SharePrefix]:
    """Return *shared* with slots for keys; who is no peer (None) is left out.

    A prefix that nobody is left to forward to is left out, too.

    Raises:
        ConfigError: for too many owners, a weight out of range, or a prefix twice.
    """
    prefixes = {one.prefix for one in shared}
    if len(prefixes) != len(shared):
        raise ConfigError("a prefix is shared twice: name all its owners at once")
    resolved = [_resolve_one(one, slot_of) for one in shared]
    return [share for share in resolved if share.forward]


def _resolve_one(shared: SharedPrefix, slot_of: SlotOf) -> SharePrefix:
    if max(len(shared.forward), len(shared.accept)) > MAX_OWNERS:
        raise ConfigError(f"{shared.prefix} has more than {MAX_OWNERS} owners")
    if not all(1 <= weight <= MAX_WEIGHT for _, weight in shared.forward):
        raise ConfigError(f"{shared.prefix}: a weight is not 1 to {MAX_WEIGHT}")
    forward = [(slot_of(key), weight) for key, weight in shared.forward]
    accept = [slot_of(key) for key in shared.accept]
    return SharePrefix(
        shared.prefix,
        tuple([ShareOfPrefix(s, weight) for s, weight in forward if s is not None]),
        tuple([slot for slot in accept if slot is not None]),
    )
