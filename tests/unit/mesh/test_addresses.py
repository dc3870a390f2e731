"""Allotting IPv4 addresses: what may be given, and which is chosen."""

import random

from meshnode.mesh.addresses import allot_address, free_ranges
from meshnode.types import Prefix

NETWORK = Prefix.parse("10.9.0.0/24")


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    """Return these prefixes."""
    return tuple(Prefix.parse(text) for text in texts)


def hosts(*ranges: range) -> set[int]:
    """Return the last octets of all addresses in the ranges."""
    return {address & 0xFF for one in ranges for address in one}


def test_all_hosts_of_a_network_but_its_ends() -> None:
    """The name of the network and its broadcast address are never given."""
    assert hosts(*free_ranges((NETWORK,), (), NETWORK)) == set(range(1, 255))


def test_ends_of_a_pool_inside_are_hosts() -> None:
    """Only the network's own ends are special."""
    ranges = free_ranges(prefixes("10.9.0.16/29"), (), NETWORK)
    assert hosts(*ranges) == set(range(16, 24))


def test_others_pools_are_left_out() -> None:
    """Holes at the beginning, in the middle and at the end, and all of it."""
    holes = prefixes("10.9.0.0/29", "10.9.0.64/27", "10.9.0.192/26", "fd00::/8")
    expected = set(range(8, 64)) | set(range(96, 192))
    assert hosts(*free_ranges((NETWORK,), holes, NETWORK)) == expected
    assert free_ranges((NETWORK,), prefixes("10.0.0.0/8"), NETWORK) == ()


def test_overlapping_pools_count_once() -> None:
    """An address in two pools of ours is one address; strange pools are nothing."""
    pools = prefixes("10.9.0.128/25", "10.9.0.128/26", "192.0.2.0/24", "fd00::/8")
    ranges = free_ranges(pools, (), NETWORK)
    assert hosts(*ranges) == set(range(128, 255))
    assert sum(map(len, ranges)) == 127


def test_ranges_agree_with_counting(rng: random.Random, seed: int) -> None:
    """For random pools and holes, the ranges are what going through all gives."""
    for _ in range(300):

        def draw() -> tuple[Prefix, ...]:
            return tuple(
                Prefix.parse(f"10.9.{rng.randrange(2)}.{rng.randrange(256)}/{length}")
                for length in rng.choices(range(23, 33), k=rng.randrange(4))
            )

        pools, holes = draw(), draw()

        def inside(address: int, some: tuple[Prefix, ...]) -> bool:
            return any(
                address >> 32 - p.length == p.network >> 32 - p.length for p in some
            )

        base = NETWORK.network
        expected = [
            address
            for address in range(base + 1, base + 255)
            if inside(address, pools) and not inside(address, holes)
        ]
        ranges = free_ranges(pools, holes, NETWORK)
        assert [a for one in ranges for a in one] == expected, f"seed {seed}"


def test_the_choice_is_the_keys_own_and_spread(rng: random.Random) -> None:
    """The same key gets the same address; many keys seldom the same."""
    ranges = free_ranges(prefixes("10.9.0.0/16"), (), Prefix.parse("10.9.0.0/16"))
    keys = [rng.randbytes(32) for _ in range(100)]
    first = [allot_address(key, ranges, lambda _: False) for key in keys]
    assert first == [allot_address(key, ranges, lambda _: False) for key in keys]
    assert len(set(first)) > 95


def test_all_addresses_are_given_before_none_is(rng: random.Random) -> None:
    """Every host of two ranges is given exactly once, then there is none."""
    ranges = free_ranges(prefixes("10.9.0.0/28", "10.9.0.64/28"), (), NETWORK)
    taken: set[int] = set()
    for _ in range(31):
        address = allot_address(rng.randbytes(32), ranges, taken.__contains__)
        assert address is not None
        assert address not in taken
        taken.add(address)
    assert hosts(*ranges) == {address & 0xFF for address in taken}
    assert allot_address(rng.randbytes(32), ranges, taken.__contains__) is None


def test_no_range_no_address(rng: random.Random) -> None:
    """Without anything to give, nothing is given."""
    assert allot_address(rng.randbytes(32), (), lambda _: False) is None
