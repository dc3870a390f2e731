"""What the compiled ways read beside the reference's tables, kept equal to them."""

from typing import Any

from meshnode.dataplane.channel_table import ChannelTable
from meshnode.dataplane.fast.channels import Channel, NumbersOfChannels
from meshnode.dataplane.fast.lookup import IndexTable, PrefixTable
from meshnode.dataplane.fast.sessions import OpenSession
from meshnode.dataplane.routes import Owners, Routes
from meshnode.types import Prefix
from meshnode.wireguard.allowed_ips import AllowedIps

_NOBODY = -1
_FIRST_SHARED = -2


class MirroredPrefixes(AllowedIps[int | Owners]):
    """Prefixes that stand in compiled tables, too.

    There an owner is a slot, or a number below -1 that `shared` knows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tables = {4: PrefixTable(4), 6: PrefixTable(6)}
        self.shared: dict[int, Owners] = {}
        self._numbers: dict[Owners, int] = {}
        self._next_number = _FIRST_SHARED

    def insert(self, prefix: Prefix, owner: int | Owners) -> int | Owners | None:
        """Give *prefix* to *owner*, taking it from any other."""
        previous = super().insert(prefix, owner)
        if isinstance(previous, Owners) and previous is not owner:
            self._forget(previous)
        self.tables[prefix.version].put(prefix, self._number(owner))
        return previous

    def remove(self, prefix: Prefix, owner: int | Owners) -> bool:
        """Take *prefix* from *owner*; return False if it is not theirs."""
        if not super().remove(prefix, owner):
            return False
        self.tables[prefix.version].put(prefix, _NOBODY)
        if isinstance(owner, Owners):
            self._forget(owner)
        return True

    def remove_owner(self, owner: int | Owners) -> None:
        """Take every prefix from *owner*."""
        prefixes = self.prefixes_of(owner)
        super().remove_owner(owner)
        for prefix in prefixes:
            self.tables[prefix.version].put(prefix, _NOBODY)
        if isinstance(owner, Owners):
            self._forget(owner)

    def _number(self, owner: int | Owners) -> int:
        if not isinstance(owner, Owners):
            return owner
        number = self._numbers.get(owner)
        if number is None:
            number = self._numbers[owner] = self._next_number
            self.shared[number] = owner
            self._next_number -= 1
        return number

    def _forget(self, owner: Owners) -> None:
        # Each share of a prefix is an object of its own.
        number = self._numbers.pop(owner, None)
        if number is not None:
            del self.shared[number]


class MirroredRoutes(Routes):
    """Routes over `MirroredPrefixes`."""

    def __init__(self) -> None:
        self.prefixes = MirroredPrefixes()
        super().__init__(self.prefixes)


class MirroredSessions(dict[int, OpenSession]):
    """Sessions by local index that stand in a compiled table, too."""

    def __init__(self) -> None:
        super().__init__()
        self.table = IndexTable()

    def __setitem__(self, index: int, session: OpenSession) -> None:
        super().__setitem__(index, session)
        self.table.put(index, session)

    def __delitem__(self, index: int) -> None:
        # First the table: it keeps no session alive.
        self.table.put(index, None)
        super().__delitem__(index)


class _MirroredNumbers(dict[int, Any]):
    """Compiled channels by number that stand in a compiled table, too."""

    def __init__(self) -> None:
        super().__init__()
        self.table = NumbersOfChannels()

    def __setitem__(self, number: int, channel: Channel) -> None:
        # First the table: it keeps no channel alive.
        self.table.put(number, channel)
        super().__setitem__(number, channel)

    def __delitem__(self, number: int) -> None:
        self.table.put(number, None)
        super().__delitem__(number)


class MirroredChannels(ChannelTable):
    """Channels that stand in the compiled table `numbers`, too."""

    def __init__(self) -> None:
        mirrored = _MirroredNumbers()
        super().__init__(Channel, mirrored)
        self.numbers = mirrored.table
