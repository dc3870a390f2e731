"""Local indices: random, unique, never zero."""

import random
from collections.abc import Iterable

import pytest

from meshnode.ports import Entropy
from meshnode.wireguard.indices import IndexTable


def scripted(draws: Iterable[int]) -> Entropy:
    """Return entropy that yields these 32-bit numbers in turn."""
    numbers = iter(draws)

    def draw(size: int) -> bytes:
        return next(numbers).to_bytes(size, "little")

    return draw


def test_an_index_stands_for_its_owner_until_released() -> None:
    """Allocate, look up, release, look up."""
    table: IndexTable[str] = IndexTable(scripted([7]))
    index = table.allocate("a")
    assert (index, table.lookup(index), len(table)) == (7, "a", 1)
    table.release(index)
    assert (table.lookup(index), len(table)) == (None, 0)


def test_zero_and_indices_in_use_are_drawn_again() -> None:
    """A collision costs another draw, not a session; zero means "none"."""
    table: IndexTable[str] = IndexTable(scripted([0, 5, 5, 0, 5, 6]))
    assert table.allocate("a") == 5
    assert table.allocate("b") == 6
    assert (table.lookup(5), table.lookup(6)) == ("a", "b")


def test_indices_use_all_32_bits() -> None:
    """Each index is exactly what the entropy gave: nothing about us is in it."""
    seed = 20
    draws = [random.Random(seed).getrandbits(32) | 1 for _ in range(1)]
    table: IndexTable[int] = IndexTable(scripted([0xFFFFFFFF, 0x80000000, *draws]))
    assert table.allocate(0) == 0xFFFFFFFF
    assert table.allocate(1) == 0x80000000
    assert table.allocate(2) == draws[0]


def test_broken_entropy_is_an_error_and_no_endless_loop() -> None:
    """A source that repeats itself for ever is reported."""
    table: IndexTable[str] = IndexTable(lambda size: b"\x01" * size)
    table.allocate("a")
    with pytest.raises(RuntimeError, match="entropy"):
        table.allocate("b")
    assert len(table) == 1


def test_replacing_keeps_the_index() -> None:
    """A handshake's index passes to its key pair; an unused one cannot pass."""
    table: IndexTable[str] = IndexTable(scripted([7]))
    index = table.allocate("handshake")
    table.replace(index, "key pair")
    assert table.lookup(index) == "key pair"
    with pytest.raises(KeyError):
        table.replace(8, "key pair")
    assert table.lookup(8) is None


@pytest.mark.parametrize("index", [0, -1, 2**32, 9])
def test_only_free_32_bit_indices_can_be_reserved(index: int) -> None:
    """Adopting never takes an index from its owner."""
    table: IndexTable[str] = IndexTable(scripted([]))
    table.reserve(9, "session")
    with pytest.raises(ValueError, match="reserved"):
        table.reserve(index, "thief")
    assert table.lookup(9) == "session"


def test_reserved_indices_are_not_given_out() -> None:
    """An adopted session keeps its index for itself."""
    table: IndexTable[str] = IndexTable(scripted([9, 10]))
    table.reserve(9, "session")
    assert table.allocate("handshake") == 10


def test_releasing_twice_or_never_held_does_nothing() -> None:
    """Whoever clears up need not know what is left; zero is "none"."""
    table: IndexTable[str] = IndexTable(scripted([7]))
    table.allocate("a")
    table.release(0)
    table.release(8)
    assert table.lookup(7) == "a"
