"""Whose a prefix is: one peer's, or that of several who share its flows.

A worker asks for every packet, and most prefixes have one owner; so `lookup` is that
of `AllowedIps` itself, and gives a slot for them. Only a shared prefix gives an
`Owners`, which is asked again, with the packet.
"""

from collections.abc import Callable, Container

from meshnode.dataplane.flows import choose_owner, flow_of
from meshnode.forwarding import SharePrefix
from meshnode.types import Prefix
from meshnode.wireguard.allowed_ips import AllowedIps

FLOW_ENTRIES = 4096
"""Remembered flows of a shared prefix; beyond, all are forgotten and found again."""


class Owners:
    """Who shares a prefix: flows go to `forward`, sources are taken from `accept`.

    `accept` holds slots. It is compared as itself, for it is a key of many tables.
    """

    __slots__ = ("_slots", "accept", "forward")

    def __init__(self, share: SharePrefix) -> None:
        self.forward = share.forward
        self.accept = frozenset(share.accept)
        self._slots: dict[bytes, int] = {}

    def owner_of(self, packet: bytes) -> int:
        """Return the slot to which this packet goes, as do all others of its flow."""
        flow = flow_of(packet)
        slot = self._slots.get(flow)
        if slot is None:
            if len(self._slots) >= FLOW_ENTRIES:
                self._slots.clear()
            slot = self._slots[flow] = choose_owner(flow, self.forward)
        return slot


class Routes:
    """The prefixes of all peers, in *table* or an ordinary one.

    `lookup` returns, for a packed address, the slot or the `Owners` of the longest
    prefix that holds it, or None.
    """

    def __init__(self, table: AllowedIps[int | Owners] | None = None) -> None:
        self._table = AllowedIps() if table is None else table
        self._shares: dict[Prefix, SharePrefix] = {}
        self.lookup: Callable[[bytes], int | Owners | None] = self._table.lookup

    def insert(self, prefix: Prefix, slot: int) -> None:
        """Give *prefix* to one peer, taking it from whoever has it."""
        self._shares.pop(prefix, None)
        self._table.insert(prefix, slot)

    def remove(self, prefix: Prefix, slot: int) -> None:
        """Take *prefix* from a peer, if it alone has it."""
        self._table.remove(prefix, slot)

    def share(self, share: SharePrefix, known: Container[int]) -> None:
        """Give a prefix to several peers, as far as they are *known* slots.

        Without one to forward to, nothing changes. The same share again keeps
        what is remembered of its flows.
        """
        share = _restricted(share, lambda slot: slot in known)
        if share.forward and self._shares.get(share.prefix) != share:
            self._shares[share.prefix] = share
            self._table.insert(share.prefix, Owners(share))

    def unshare(self, prefix: Prefix) -> None:
        """Stop sharing *prefix*; one that a single peer owns stays its own."""
        owner = self._table.owner_of(prefix)
        if self._shares.pop(prefix, None) is not None and owner is not None:
            self._table.remove(prefix, owner)

    def remove_slot(self, slot: int) -> None:
        """Take every prefix and every share from the peer in *slot*."""
        self._table.remove_owner(slot)
        for prefix, share in list(self._shares.items()):
            rest = _restricted(share, lambda other: other != slot)
            if not rest.forward:
                self.unshare(prefix)
            elif rest != share:
                self._shares[prefix] = rest
                self._table.insert(prefix, Owners(rest))


def _restricted(share: SharePrefix, is_kept: Callable[[int], bool]) -> SharePrefix:
    return SharePrefix(
        share.prefix,
        tuple([one for one in share.forward if is_kept(one.slot)]),
        tuple([slot for slot in share.accept if is_kept(slot)]),
    )
