"""Compiled sessions keep the contract of the reference's."""

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.crypto.primitives import aead_seal
from meshnode.dataplane.fast.sessions import OpenSession, SealSession, SessionMemory
from meshnode.forwarding import Session
from meshnode.wireguard.constants import REJECT_AFTER_MESSAGES, WINDOW
from meshnode.wireguard.replay import ReplayWindow

BORN_AT = 5.0


def secrets(*, is_initiator: bool = True) -> Session:
    """Build what control hands over."""
    return Session(7, 9, bytes(range(32)), bytes(range(32, 64)), BORN_AT, is_initiator)


def test_the_window_is_that_of_the_reference(rng: random.Random) -> None:
    """Forwards, backwards, by jumps and at both ends."""
    window, oracle = OpenSession(3, secrets()).window, ReplayWindow()
    at = 0
    for _ in range(20_000):
        at = max(0, at + rng.choice((-WINDOW, -65, -64, -1, 0, 1, 1, 1, 63, 64, 900)))
        if rng.random() < 0.001:
            at += rng.choice((WINDOW, 8192, 2**20))
        assert window.is_fresh(at) == oracle.is_fresh(at)
        if rng.random() < 0.9:
            assert window.accept(at) == oracle.accept(at)


@pytest.mark.parametrize("counter", [0, 1, WINDOW, REJECT_AFTER_MESSAGES - 1])
def test_the_first_counter_may_be_any(counter: int) -> None:
    """And is a replay from then on."""
    window = OpenSession(3, secrets()).window
    assert window.accept(counter)
    assert not window.is_fresh(counter)
    assert not window.accept(counter)


@pytest.mark.parametrize("counter", [REJECT_AFTER_MESSAGES, 2**64 - 1])
def test_counters_beyond_the_limit_are_never_fresh(counter: int) -> None:
    """Whatever the window is like."""
    window = OpenSession(3, secrets()).window
    assert not window.accept(counter)
    assert window.accept(REJECT_AFTER_MESSAGES - 1)
    assert not window.is_fresh(counter)


def test_a_session_carries_until_it_is_old_or_used_up() -> None:
    """As `reference.seal` asks it."""
    session = SealSession(3, secrets())
    assert session.can_carry(1, BORN_AT + 179.9)
    assert not session.can_carry(1, BORN_AT + 180.0)
    session.counter = REJECT_AFTER_MESSAGES - 2
    assert session.can_carry(2, BORN_AT)
    assert not session.can_carry(3, BORN_AT)
    assert not session.can_carry(2**64 - 1, BORN_AT)


@pytest.mark.parametrize(("is_initiator", "after"), [(True, 120.0), (False, None)])
def test_only_who_began_asks_for_the_next(
    is_initiator: bool, after: float | None
) -> None:
    """In time for sending; receiving has a time of its own."""
    made = secrets(is_initiator=is_initiator)
    sending, receiving = SealSession(3, made), OpenSession(3, made)
    if after is None:
        assert sending.rekey_at == receiving.rekey_at == float("inf")
    else:
        assert sending.rekey_at == BORN_AT + after
        assert receiving.rekey_at == BORN_AT + 165


def test_the_slow_ways_have_the_same_keys() -> None:
    """What one seals the other opens."""
    from meshnode.crypto.transport import Arena

    session = OpenSession(3, secrets())
    sealed = aead_seal(secrets().receive_key, 4, b"inner packet", b"")
    arena = Arena(len(sealed))
    arena.data[:] = sealed
    assert session.opener.open_from(arena, 0, len(sealed), 4) == b"inner packet"
    arena = Arena(100)
    SealSession(3, secrets()).sealer.seal_into(arena, 0, b"inner packet", 4)
    assert bytes(arena.data[:28]) == aead_seal(
        secrets().send_key, 4, b"inner packet", b""
    )


def test_a_key_of_another_length_is_refused() -> None:
    """Nothing is read beyond it."""
    for kind in (SealSession, OpenSession):
        with pytest.raises(ValueError, match="32 bytes"):
            kind(3, Session(7, 9, bytes(31), bytes(31), BORN_AT, True))


# --- several workers ---

RECORD = 272 * 8
PLACES = 3


def _placed(place: int) -> Session:
    return dataclasses.replace(secrets(), place=place)


def test_workers_claim_different_counters() -> None:
    """Of one session in one memory; another place is another session."""
    memory = memoryview(bytearray(PLACES * RECORD))
    first, second = [
        SealSession(1, _placed(1), SessionMemory(memory, holder)) for holder in (0, 1)
    ]
    assert [first.claim(3), second.claim(2), first.claim(1)] == [0, 3, 5]
    assert first.counter == second.counter == 6
    elsewhere = SealSession(1, _placed(2), SessionMemory(memory, 0))
    assert elsewhere.counter == 0


@given(
    st.lists(
        st.tuples(
            # A word of the ring knows 37 bits of a counter: see `sessions`.
            st.integers(0, 2),
            st.integers(0, 20_000) | st.integers(0, 2**37 - 1),
        ),
        max_size=200,
    )
)
def test_workers_share_one_window(seen: list[tuple[int, int]]) -> None:
    """Whoever receives, a counter is accepted once, and as one window would."""
    memory = memoryview(bytearray(PLACES * RECORD))
    windows = [
        OpenSession(1, _placed(2), SessionMemory(memory, 16 + number)).window
        for number in range(3)
    ]
    oracle = ReplayWindow()
    for worker, counter in seen:
        assert windows[worker].is_fresh(counter) is oracle.is_fresh(counter)
        assert windows[worker].accept(counter) is oracle.accept(counter)


def test_a_place_is_held_while_a_session_lives() -> None:
    """One bit a worker, so that control gives away no place in use."""
    memory = memoryview(bytearray(PLACES * RECORD))
    holders = memory[RECORD:].cast("Q")
    sealing = SealSession(1, _placed(1), SessionMemory(memory, 2))
    opening = OpenSession(1, _placed(1), SessionMemory(memory, 17))
    assert holders[0] == 1 << 2 | 1 << 17
    del sealing
    assert holders[0] == 1 << 17
    del opening
    assert holders[0] == 0


def test_a_place_beyond_the_memory_is_refused() -> None:
    """Before anything of it is touched."""
    memory = SessionMemory(memoryview(bytearray(PLACES * RECORD)), 0)
    with pytest.raises(IndexError):
        SealSession(1, _placed(PLACES), memory)
    with pytest.raises(IndexError):
        OpenSession(1, _placed(PLACES), memory)
    with pytest.raises(ValueError, match="no place"):
        SessionMemory(memoryview(bytearray(8)), 0)
    with pytest.raises(ValueError, match="64 bits"):
        SessionMemory(memoryview(bytearray(RECORD)), 64)
