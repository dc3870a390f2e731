"""Members and the ways to them."""

from meshnode.channels import endpoint_of
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.path_members import MAX_DIRECT, PathMembers
from meshnode.types import Endpoint, Path
from tests.unit.mesh.path_world import Relays

KEY = b"k" * 32


def members() -> PathMembers:
    """Return none yet; all direct endpoints are on the link."""
    return PathMembers(Relays(1), lambda key, endpoint: PathKind.LAN)


def test_who_is_met_has_the_channels_that_there_are() -> None:
    """Once."""
    all_members = members()
    assert all_members.get(KEY) is None
    member = all_members.meet(KEY)
    assert all_members.meet(KEY) is member
    assert KEY in all_members
    assert {way.kind for way in member.ways.values()} == {PathKind.RELAYED}
    assert all_members.items() == [(KEY, member)]
    assert all_members.forget(KEY)
    assert not all_members.forget(KEY)


def test_a_way_is_one_however_often_it_is_named() -> None:
    """Its kind is what the endpoint is to that member."""
    all_members = members()
    member = all_members.meet(KEY)
    path = Path(Endpoint("192.0.2.1", 1))
    way = all_members.way(KEY, member, path)
    assert all_members.way(KEY, member, path) is way
    assert way.kind is PathKind.LAN


def test_the_oldest_direct_way_that_is_not_in_use_makes_room() -> None:
    """Channels do not count."""
    all_members = members()
    member = all_members.meet(KEY)
    ways = [
        all_members.way(KEY, member, Path(Endpoint("192.0.2.1", port)))
        for port in range(1, MAX_DIRECT + 1)
    ]
    ways[0].prove(now=1.0)
    member.settle(ways[0], now=1.0)
    all_members.way(KEY, member, Path(Endpoint("192.0.2.1", 100)))
    left = list(member.ways.values())
    assert ways[0] in left
    assert ways[1] not in left


def test_channels_that_are_closed_are_no_ways() -> None:
    """Others stay."""
    all_members = members()
    member = all_members.meet(KEY)
    gone = all_members.way(KEY, member, Path(endpoint_of(99)))
    all_members.add_relayed(KEY, member)
    assert gone not in member.ways.values()
    assert member.ways
