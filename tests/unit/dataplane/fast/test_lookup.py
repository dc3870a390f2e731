"""The compiled tables beside the slow ones they replace."""

import random

import pytest

from meshnode.dataplane.fast.lookup import IndexTable, PrefixTable
from meshnode.dataplane.fast.sessions import OpenSession
from meshnode.forwarding import Session
from meshnode.types import Prefix
from meshnode.wireguard.allowed_ips import AllowedIps


def session(index: int) -> OpenSession:
    """Build a session; nothing of it matters but that it is one."""
    return OpenSession(0, Session(index, 1, bytes(32), bytes(32), 1.0, False))


@pytest.mark.parametrize("version", [4, 6])
def test_the_longest_prefix_is_found_whatever_came_and_went(
    version: int, rng: random.Random
) -> None:
    """As `AllowedIps` finds it, with few bits so that prefixes overlap."""
    bits = 32 if version == 4 else 128
    table, oracle = PrefixTable(version), AllowedIps[int]()
    for _ in range(3000):
        length = rng.choice((0, 1, 3, 8, 9, 24, 31, 32, bits - 1, bits))
        network = rng.getrandbits(6) << (bits - 6) | rng.getrandbits(2)
        network = network >> (bits - length) << (bits - length)
        prefix = Prefix(version, network, length)
        owner = oracle.owner_of(prefix)
        if owner is not None and rng.random() < 0.5:
            oracle.remove(prefix, owner)
            table.put(prefix, -1)
        else:
            owner = rng.randrange(9)
            oracle.insert(prefix, owner)
            table.put(prefix, owner)
        address = (rng.getrandbits(6) << (bits - 6) | rng.getrandbits(2)).to_bytes(
            bits // 8, "big"
        )
        found = oracle.lookup(address)
        assert table.get(address) == (-1 if found is None else found)
    assert len(table) > 20


def test_an_address_of_the_other_version_is_refused() -> None:
    """Nothing is read beyond what is there."""
    with pytest.raises(ValueError, match="other version"):
        PrefixTable(6).get(bytes(4))


def test_many_prefixes_of_one_length() -> None:
    """The table grows, and what was removed leaves room."""
    table = PrefixTable(4)
    for round_ in range(3):
        for number in range(5000):
            table.put(Prefix(4, number << 8, 24), number)
        for number in range(0, 5000, 7):
            assert table.get((number << 8 | 9).to_bytes(4, "big")) == number
        for number in range(5000):
            table.put(Prefix(4, number << 8, 24), -1)
        assert len(table) == 0, round_
        assert table.get(bytes(4)) == -1


def test_indices_name_sessions_until_they_are_taken_back(rng: random.Random) -> None:
    """As a dictionary does; equal low bits, 0 and the greatest are no exception."""
    table, oracle = IndexTable(), dict[int, OpenSession]()
    indices = [0, 2**32 - 1, *(n << 20 for n in range(1, 200)), *range(200)]
    for _ in range(5000):
        index = rng.choice(indices)
        if index in oracle and rng.random() < 0.5:
            del oracle[index]
            table.put(index, None)
        else:
            oracle[index] = session(index)
            table.put(index, oracle[index])
        probe = rng.choice(indices)
        assert (probe in table) == (probe in oracle)
    assert len(table) == len(oracle)
