"""Where workers share what they know of a session; when a place is free again."""

import random

import pytest

from meshnode.dataplane import shared_sessions
from meshnode.dataplane.shared_sessions import (
    RECORD_WORDS,
    PlaceBook,
    egress_holder,
    ingress_holder,
)


def egress_bit(number: int) -> int:
    """Return the bit of that egress worker."""
    return 1 << egress_holder(number)


def ingress_bit(number: int) -> int:
    """Return the bit of that ingress worker."""
    return 1 << ingress_holder(number)


ALL = egress_bit(0) | egress_bit(1) | ingress_bit(0) | ingress_bit(1)


class Memory:
    """The memory of that many places, and the workers' way to it."""

    def __init__(self, places: int) -> None:
        self.octets = bytearray(8 * RECORD_WORDS * places)
        self.words = memoryview(self.octets).cast("Q")

    def holders(self, place: int) -> int:
        """Return the bits of a place."""
        return self.words[place * RECORD_WORDS]

    def let_go(self, place: int, bits: int = ALL) -> None:
        """Be workers that forget a session."""
        self.words[place * RECORD_WORDS] &= ~bits

    def use(self, place: int) -> None:
        """Be workers that send and receive."""
        start = place * RECORD_WORDS
        self.words[start + 1] = 1 << 40
        for word in range(8, 265):
            self.words[start + word] = 2**64 - 1

    def is_empty(self, place: int) -> bool:
        """Say whether nothing was sent and received."""
        start = place * RECORD_WORDS
        return not self.words[start + 1] and not any(
            self.words[start + 8 : start + RECORD_WORDS]
        )


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are given out again as soon as they can be."""
    monkeypatch.setattr(shared_sessions, "_RESTING", 0)


def give(book: PlaceBook) -> int:
    """Return a place; there is one."""
    place = book.give()
    assert place is not None
    return place


def test_bits_are_apart() -> None:
    """Sixteen workers of each direction have a bit each, in the lower half."""
    bits = [of(n) for of in (egress_bit, ingress_bit) for n in range(16)]
    assert sum(bits) == 2**32 - 1


def test_a_place_is_held_by_all_before_anybody_knows_of_it() -> None:
    """A worker that has read nothing yet counts, for it may send any moment."""
    memory = Memory(4)
    book = PlaceBook(memory.octets, ALL)
    assert [book.give() for _ in range(4)] == [0, 1, 2, 3]
    assert all(memory.holders(place) == ALL for place in range(4))
    assert book.give() is None


@pytest.mark.parametrize("last", [egress_bit(1), ingress_bit(0)])
@pytest.mark.usefixtures("no_rest")
def test_a_place_is_not_given_again_while_anybody_holds_it(last: int) -> None:
    """However long the slowest worker needs to let go."""
    memory = Memory(2)
    book = PlaceBook(memory.octets, ALL)
    place = give(book)
    memory.use(place)
    book.retire(place)
    memory.let_go(place, ALL & ~last)
    other = give(book)
    assert other != place
    assert book.give() is None
    assert not memory.is_empty(place), "whoever holds it may still count on it"
    memory.let_go(place)
    assert book.give() == place
    assert memory.is_empty(place)
    assert memory.holders(place) == ALL


@pytest.mark.usefixtures("no_rest")
def test_a_place_without_holders_is_not_free_before_it_was_retired() -> None:
    """Workers that were all replaced hold nothing; control may still use it."""
    memory = Memory(1)
    book = PlaceBook(memory.octets, ALL)
    memory.let_go(give(book))
    assert book.give() is None


def test_places_rest_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh ones are taken meanwhile; then the one that rested longest."""
    monkeypatch.setattr(shared_sessions, "_RESTING", 2)
    memory = Memory(100)
    book = PlaceBook(memory.octets, ALL)
    for place in (give(book), give(book), give(book)):
        memory.let_go(place)
    for place in (1, 0):
        book.retire(place)
    assert book.give() == 3
    book.retire(2)
    assert book.give() == 1
    assert book.give() == 4


def test_no_more_memory_is_used_than_rests() -> None:
    """A node that lives long comes back to the same places."""
    memory = Memory(1000)
    book = PlaceBook(memory.octets, ALL)
    given = set()
    for _ in range(5000):
        place = give(book)
        given.add(place)
        memory.let_go(place)
        book.retire(place)
    assert len(given) == 257


@pytest.mark.usefixtures("no_rest")
def test_a_dead_worker_holds_nothing_and_its_bit_is_left_alone() -> None:
    """Others may change theirs at the same moment, so control writes another word."""
    memory = Memory(2)
    book = PlaceBook(memory.octets, ALL)
    place = give(book)
    book.bury(egress_bit(1))
    assert memory.holders(place) == ALL
    book.retire(place)
    memory.let_go(place, ALL & ~egress_bit(1))
    assert book.give() == place
    # For the next session the new process counts as any other does.
    book.retire(place)
    memory.let_go(place, ALL & ~egress_bit(1))
    assert book.give() == 1
    assert book.give() is None


@pytest.mark.usefixtures("no_rest")
def test_the_next_control_process_learns_from_the_memory() -> None:
    """What has holders is taken, what has none is free; fresh ones are known."""
    memory = Memory(4)
    before = PlaceBook(memory.octets, ALL)
    held, free, dead = give(before), give(before), give(before)
    memory.let_go(free)
    memory.let_go(dead, ALL & ~egress_bit(0))
    before.bury(egress_bit(0))
    memory.words[held * RECORD_WORDS + 3] = 0
    after = PlaceBook(memory.octets, ALL)
    assert [after.give() for _ in range(4)] == [free, dead, 3, None]
    memory.let_go(held)
    assert after.give() == held


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.usefixtures("no_rest")
def test_no_place_is_ever_shared_by_two_sessions(seed: int) -> None:
    """Whoever dies, and whatever is slow: a place is empty and nobody else's."""
    rng = random.Random(seed)
    memory = Memory(40)
    bits = [egress_bit(0), egress_bit(1), ingress_bit(0)]
    everybody = sum(bits)
    book = PlaceBook(memory.octets, everybody)
    using: dict[int, int] = {}  # by place: who may still use it, whoever knows
    living: set[int] = set()  # places of sessions that were not retired
    for _ in range(3000):
        match rng.randrange(5):
            case 0 | 1:
                place = book.give()
                if place is not None:
                    assert not using.get(place), "somebody still sends under it"
                    assert place not in living
                    assert memory.is_empty(place)
                    memory.use(place)
                    using[place] = everybody
                    living.add(place)
            case 2 if living:
                place = rng.choice(sorted(living))
                living.remove(place)
                book.retire(place)
            case 3:
                gone = [p for p, who in using.items() if who and p not in living]
                if gone:
                    place, bit = rng.choice(gone), rng.choice(bits)
                    memory.let_go(place, bit)
                    using[place] &= ~bit
            case 4 if rng.random() < 0.1:
                if rng.random() < 0.5:
                    bit = rng.choice(bits)
                    using = {place: who & ~bit for place, who in using.items()}
                    book.bury(bit)
                else:
                    book = PlaceBook(memory.octets, everybody)
                    # What was given out and is still held ends with its holders.
                    living.clear()
