"""What is remembered of passwords, and for how long."""

import pytest

from meshnode.proxy.password_guard import (
    MAX_FAILURES,
    MAX_REMEMBERED,
    MAX_SOURCES,
    PERIOD,
    REMEMBER,
    PasswordGuard,
)

PAIR = ("alice", "secret", "hash")


@pytest.fixture
def guard() -> PasswordGuard:
    """Nothing is known yet."""
    return PasswordGuard(bytes(32))


def test_what_was_right_is_known_for_a_while(guard: PasswordGuard) -> None:
    """That very pair, of that very hash: a new password ends it."""
    assert not guard.is_known(*PAIR, now=0.0)
    guard.right(*PAIR, now=0.0)
    assert guard.is_known(*PAIR, now=REMEMBER - 1)
    assert not guard.is_known(*PAIR, now=REMEMBER)
    for other in (
        ("alic", "esecret", "hash"),
        ("alice", "secre", "thash"),
        ("alice", "Secret", "hash"),
        ("alice", "secret", "hash2"),
    ):
        assert not guard.is_known(*other, now=1.0)


def test_the_password_is_nowhere(guard: PasswordGuard) -> None:
    """Not in the clear, and not as a hash that could be computed elsewhere."""
    guard.right(*PAIR, now=0.0)
    assert "secret" not in repr(vars(guard))
    other = PasswordGuard(bytes(31) + b"x")
    other.right(*PAIR, now=0.0)
    assert guard._right.keys() != other._right.keys()


def test_who_is_wrong_too_often_waits(guard: PasswordGuard) -> None:
    """Until a minute after the first of them; others do not."""
    for number in range(MAX_FAILURES):
        assert guard.may_try("192.0.2.1", now=float(number))
        guard.wrong("192.0.2.1", now=float(number))
    assert not guard.may_try("192.0.2.1", now=PERIOD - 1)
    assert guard.may_try("192.0.2.2", now=PERIOD - 1)
    assert guard.may_try("192.0.2.1", now=PERIOD)
    guard.wrong("192.0.2.1", now=PERIOD)
    assert guard.may_try("192.0.2.1", now=PERIOD)


def test_both_tables_are_bounded(guard: PasswordGuard) -> None:
    """The oldest are forgotten."""
    for number in range(MAX_SOURCES + 9):
        guard.wrong(str(number), now=0.0)
        guard.right("alice", str(number), "hash", now=0.0)
    assert len(guard._wrong) == MAX_SOURCES
    assert len(guard._right) == MAX_REMEMBERED
    assert not guard.is_known("alice", "0", "hash", now=0.0)


def test_the_key_has_its_length() -> None:
    """A short one is a mistake of ours."""
    with pytest.raises(ValueError, match="32 bytes"):
        PasswordGuard(b"short")
