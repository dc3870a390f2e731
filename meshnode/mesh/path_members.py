"""The members that we speak to, and the ways to each that we know of."""

from collections.abc import Callable
from typing import Final

from meshnode.channels import channel_of
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.path_member import Member
from meshnode.mesh.path_ports import RelayWays
from meshnode.mesh.path_ways import Way, place_of
from meshnode.types import Endpoint, Path

MAX_DIRECT: Final = 16
"""Direct paths to one member that are known at once; the oldest makes room."""


class PathMembers:
    """Members by WireGuard key.

    Args:
        relays: give channels.
        kind_of: tells what kind a direct endpoint of a member is of.
    """

    def __init__(
        self, relays: RelayWays, kind_of: Callable[[bytes, Endpoint], PathKind]
    ) -> None:
        self.kind_of = kind_of
        self._relays = relays
        self._members: dict[bytes, Member] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._members

    def get(self, key: bytes) -> Member | None:
        """Return a member that we speak to, None for another."""
        return self._members.get(key)

    def items(self) -> list[tuple[bytes, Member]]:
        """Return all, with their keys."""
        return list(self._members.items())

    def meet(self, key: bytes) -> Member:
        """Return a member, from now on one that we speak to."""
        member = self._members.get(key)
        if member is None:
            member = self._members[key] = Member()
            self.add_relayed(key, member)
        return member

    def forget(self, key: bytes) -> bool:
        """Speak to it no more; return whether we did."""
        return self._members.pop(key, None) is not None

    def way(self, key: bytes, member: Member, path: Path) -> Way:
        """Return the way to a member that *path* is, a new one if need be."""
        place = place_of(path)
        way = member.ways.get(place)
        if way is None:
            is_relayed = channel_of(path.remote) != 0
            kind = PathKind.RELAYED if is_relayed else self.kind_of(key, path.remote)
            if not is_relayed:
                self._make_room(member)
            way = member.ways[place] = Way(path, kind)
        return way

    def _make_room(self, member: Member) -> None:
        """Forget the oldest direct path: who sends from many places is one member."""
        present = member.present
        direct = [place for place, way in member.ways.items() if not way.is_relayed]
        if len(direct) >= MAX_DIRECT:
            others = [place for place in direct if member.ways[place] is not present]
            del member.ways[others[0]]

    def add_relayed(self, key: bytes, member: Member) -> None:
        """Let exactly the channels that there are be among the ways."""
        known = self._relays.describe(key)
        listed = {one.endpoint for one in known}
        for place, way in list(member.ways.items()):
            if way.is_relayed and place[0] not in listed:
                del member.ways[place]
        for one in known:
            way = self.way(key, member, Path(one.endpoint))
            way.via, way.is_open = one.relays, one.is_open
            if way.quality.seconds is None and one.milliseconds is not None:
                way.quality.seconds = one.milliseconds / 1000
