"""Cryptokey routing: ownership, moves and longest match."""

import ipaddress

import pytest

from meshnode.types import Prefix
from meshnode.wireguard.allowed_ips import CACHE_ENTRIES, AllowedIps


def p(text: str) -> Prefix:
    """Read a prefix."""
    return Prefix.parse(text)


def a(text: str) -> bytes:
    """Read an address as its octets."""
    return ipaddress.ip_address(text).packed


def table(**owners: str) -> AllowedIps[str]:
    """Build a table from owner="prefix prefix ..."."""
    built: AllowedIps[str] = AllowedIps()
    for owner, prefixes in owners.items():
        for prefix in prefixes.split():
            built.insert(p(prefix), owner)
    return built


def test_the_longest_prefix_wins() -> None:
    """A host inside a net inside the default route belongs to the nearest owner."""
    routes = table(all="0.0.0.0/0", net="10.0.0.0/8", host="10.1.2.3/32")
    assert routes.lookup(a("10.1.2.3")) == "host"
    assert routes.lookup(a("10.1.2.4")) == "net"
    assert routes.lookup(a("192.0.2.1")) == "all"


def test_the_families_are_apart() -> None:
    """An IPv4 default route owns no IPv6 address, and the other way round."""
    assert table(x="0.0.0.0/0").lookup(a("::1")) is None
    assert table(x="::/0").lookup(a("0.0.0.1")) is None
    assert table(x="::/0").lookup(a("::ffff:1.2.3.4")) == "x"


def test_inserting_moves_a_prefix() -> None:
    """A prefix given to another peer leaves the first, which is named."""
    routes = table(one="10.0.0.0/24", two="10.0.1.0/24")
    assert routes.insert(p("10.0.0.0/24"), "two") == "one"
    assert routes.lookup(a("10.0.0.1")) == "two"
    assert routes.prefixes_of("one") == []
    assert routes.prefixes_of("two") == [p("10.0.1.0/24"), p("10.0.0.0/24")]


def test_inserting_again_changes_nothing() -> None:
    """What an owner has already keeps its place in the list."""
    routes = table(one="10.0.0.0/24 10.0.1.0/24")
    assert routes.insert(p("10.0.0.0/24"), "one") == "one"
    assert routes.prefixes_of("one") == [p("10.0.0.0/24"), p("10.0.1.0/24")]


def test_a_false_owner_is_an_owner() -> None:
    """Slot 0 is a peer like any other."""
    routes: AllowedIps[int] = AllowedIps()
    assert routes.insert(p("10.0.0.0/8"), 0) is None
    assert routes.insert(p("10.0.0.0/8"), 1) == 0
    assert routes.insert(p("10.0.0.0/8"), 0) == 1
    assert routes.lookup(a("10.0.0.1")) == 0


def test_remove_only_from_its_owner() -> None:
    """Removing what belongs to another, or to nobody, is refused and harmless."""
    routes = table(one="10.0.0.0/24")
    assert not routes.remove(p("10.0.0.0/24"), "two")
    assert not routes.remove(p("10.0.0.0/25"), "one")
    assert routes.owner_of(p("10.0.0.0/24")) == "one"
    assert routes.remove(p("10.0.0.0/24"), "one")
    assert not routes.remove(p("10.0.0.0/24"), "one")
    assert routes.owner_of(p("10.0.0.0/24")) is None
    assert routes.prefixes_of("one") == []


def test_changes_are_seen_at_once() -> None:
    """No answer from before an insert or a removal is given after it."""
    routes = table(one="10.0.0.0/8")
    assert routes.lookup(a("10.0.0.1")) == "one"
    assert routes.lookup(a("192.0.2.1")) is None
    routes.insert(p("10.0.0.0/24"), "two")
    routes.insert(p("192.0.2.0/24"), "two")
    assert routes.lookup(a("10.0.0.1")) == "two"
    assert routes.lookup(a("192.0.2.1")) == "two"
    routes.remove(p("10.0.0.0/24"), "two")
    assert routes.lookup(a("10.0.0.1")) == "one"
    routes.remove_owner("two")
    assert routes.lookup(a("192.0.2.1")) is None


def test_removing_an_owner_uncovers_what_lay_under() -> None:
    """The prefixes of others stay, and match where the removed ones did."""
    routes = table(one="0.0.0.0/0 ::/0", two="10.0.0.0/8 fd00::/8 10.1.0.0/16")
    routes.remove_owner("two")
    routes.remove_owner("nobody")
    assert routes.lookup(a("10.1.0.1")) == "one"
    assert routes.lookup(a("fd00::1")) == "one"
    assert routes.prefixes_of("two") == []


def test_many_answers_do_not_fill_memory() -> None:
    """A scan over addresses leaves a bounded number of remembered answers."""
    routes = table(one="0.0.0.0/0")
    for number in range(2 * CACHE_ENTRIES):
        assert routes.lookup(number.to_bytes(4, "big")) == "one"
    assert len(routes._cache) <= CACHE_ENTRIES


@pytest.mark.parametrize("length", [0, 3, 5, 15, 17])
def test_only_addresses_are_looked_up(length: int) -> None:
    """Bytes that are no IP address are the caller's mistake."""
    with pytest.raises(ValueError, match="4 or 16"):
        table(x="0.0.0.0/0").lookup(bytes(length))


def test_a_table_as_large_as_an_attack() -> None:
    """65,280 prefixes of each family load, match and go."""
    routes: AllowedIps[int] = AllowedIps()
    for number in range(65_280):
        routes.insert(Prefix(4, number << 8, 24), 1)
        routes.insert(Prefix(6, number << 64, 64), 1)
    assert len(routes.prefixes_of(1)) == 130_560
    assert routes.lookup((1234 << 8 | 7).to_bytes(4, "big")) == 1
    assert routes.lookup((1234 << 64 | 7).to_bytes(16, "big")) == 1
    routes.remove_owner(1)
    assert routes.lookup((1234 << 8 | 7).to_bytes(4, "big")) is None
