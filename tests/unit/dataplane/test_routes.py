"""Routes of one owner and of several, and what happens when an owner goes."""

from typing import Any

import pytest

from meshnode.dataplane import routes as module
from meshnode.dataplane.routes import Owners, Routes
from meshnode.forwarding import ShareOfPrefix, SharePrefix
from meshnode.types import Prefix
from tests.inner_packets import udp_packet

NET = Prefix.parse("10.0.0.0/24")
HOST = Prefix.parse("10.0.0.2/32")
INSIDE = bytes((10, 0, 0, 2))
KNOWN = range(10)


def share(
    *slots: int, prefix: Prefix = NET, accept: tuple[int, ...] = ()
) -> SharePrefix:
    """Share *prefix* evenly; sources are taken from the same peers and *accept*."""
    forward = tuple(ShareOfPrefix(slot, 1) for slot in slots)
    return SharePrefix(prefix, forward, slots + accept)


def owners(routes: Routes, address: bytes = INSIDE) -> Owners:
    """Return who shares the prefix of *address*."""
    found = routes.lookup(address)
    assert isinstance(found, Owners)
    return found


def slots_of(found: Owners) -> set[int]:
    """Return the slots that a hundred flows go to."""
    packets = [udp_packet(4, b"", source_port=1000 + n) for n in range(100)]
    return {found.owner_of(packet) for packet in packets}


@pytest.fixture
def routes() -> Routes:
    """A prefix shared by three, and a fourth who may only speak."""
    made = Routes()
    made.share(share(1, 2, 3, accept=(4,)), KNOWN)
    return made


def test_flows_are_spread_and_sources_accepted(routes: Routes) -> None:
    """Each of the three gets some; whoever accepts is known by slot."""
    assert slots_of(owners(routes)) == {1, 2, 3}
    assert owners(routes).accept == {1, 2, 3, 4}


def test_a_flow_stays(routes: Routes) -> None:
    """Asked again, before and after the memory of flows is lost, it is the same."""
    packets = [udp_packet(4, b"", source_port=1000 + n) for n in range(100)]
    before = [owners(routes).owner_of(packet) for packet in packets]
    routes.unshare(NET)
    routes.share(share(1, 2, 3, accept=(4,)), KNOWN)
    assert [owners(routes).owner_of(packet) for packet in packets] == before


def test_the_memory_of_flows_is_bounded(
    routes: Routes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan through all ports forgets; it does not fill memory."""
    monkeypatch.setattr(module, "FLOW_ENTRIES", 10)
    for number in range(95):
        owners(routes).owner_of(udp_packet(4, b"", source_port=number))
        assert len(owners(routes)._slots) <= 10


def test_the_same_share_again_keeps_the_memory(routes: Routes) -> None:
    """Commands may be repeated without harm."""
    before = owners(routes)
    routes.share(share(1, 2, 3, accept=(4,)), KNOWN)
    assert owners(routes) is before


def test_only_the_flows_of_who_goes_move(routes: Routes) -> None:
    """Those of the others stay where they are."""
    packets = [udp_packet(4, b"", source_port=1000 + n) for n in range(200)]
    before = [owners(routes).owner_of(packet) for packet in packets]
    routes.remove_slot(2)
    after = [owners(routes).owner_of(packet) for packet in packets]
    assert all(
        now == then for now, then in zip(after, before, strict=True) if then != 2
    )
    assert set(after) == {1, 3}
    assert owners(routes).accept == {1, 3, 4}


def test_a_share_ends_with_its_last_carrier(routes: Routes) -> None:
    """Who may only speak cannot hold a prefix."""
    for slot in (1, 2, 3):
        routes.remove_slot(slot)
    assert routes.lookup(INSIDE) is None
    routes.insert(NET, 5)
    routes.remove_slot(4)
    assert routes.lookup(INSIDE) == 5


def test_who_can_only_speak_goes_alone(routes: Routes) -> None:
    """The flows are not touched, but its sources are refused."""
    routes.remove_slot(4)
    assert owners(routes).accept == {1, 2, 3}
    assert slots_of(owners(routes)) == {1, 2, 3}


def test_unknown_owners_are_left_out() -> None:
    """A command that refers to peers that are gone gives them nothing."""
    made = Routes()
    made.share(share(1, 77, accept=(88, 2)), KNOWN)
    assert slots_of(owners(made)) == {1}
    assert owners(made).accept == {1, 2}
    made.share(share(77, prefix=HOST), KNOWN)
    assert owners(made).accept == {1, 2}


def test_exclusive_takes_from_shared_and_back(routes: Routes) -> None:
    """Whoever was given the prefix last has it."""
    routes.insert(NET, 7)
    assert routes.lookup(INSIDE) == 7
    routes.unshare(NET)  # too late: it is one peer's
    assert routes.lookup(INSIDE) == 7
    routes.share(share(1, 2), KNOWN)
    assert slots_of(owners(routes)) == {1, 2}
    routes.remove(NET, 7)
    assert slots_of(owners(routes)) == {1, 2}
    routes.unshare(NET)
    assert routes.lookup(INSIDE) is None


def test_the_longest_prefix_wins(routes: Routes) -> None:
    """Shared or not, as with prefixes of one owner."""
    routes.insert(HOST, 9)
    assert routes.lookup(INSIDE) == 9
    assert isinstance(routes.lookup(bytes((10, 0, 0, 3))), Owners)
    routes.remove(HOST, 9)
    routes.insert(Prefix.parse("10.0.0.0/8"), 8)
    assert isinstance(routes.lookup(INSIDE), Owners)
    assert routes.lookup(bytes((10, 9, 9, 9))) == 8


@pytest.mark.parametrize("version", [4, 6])
def test_both_families_are_shared(version: int) -> None:
    """IPv6 flows are spread as well."""
    made: Any = Routes()
    made.share(share(1, 2, prefix=Prefix(version, 0, 0)), KNOWN)
    found = made.lookup(bytes(4 if version == 4 else 16))
    ports = range(1000, 1060)
    chosen = {found.owner_of(udp_packet(version, b"", source_port=p)) for p in ports}
    assert chosen == {1, 2}
