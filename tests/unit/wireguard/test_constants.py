"""The numbers that other implementations rely on, and how they hang together."""

from meshnode.wireguard import constants as c


def test_the_papers_numbers() -> None:
    """Section 6.1 of the paper, to the letter; our peers count on them."""
    assert c.REKEY_AFTER_MESSAGES == 2**60
    assert c.REJECT_AFTER_MESSAGES == 2**64 - 2**13 - 1
    assert (c.REKEY_AFTER_TIME, c.REJECT_AFTER_TIME) == (120, 180)
    assert (c.REKEY_ATTEMPT_TIME, c.REKEY_TIMEOUT, c.KEEPALIVE_TIMEOUT) == (90, 5, 10)
    assert (c.COOKIE_SECRET_MAX_AGE, c.COOKIE_SECRET_LATENCY) == (120, 5)
    assert (c.COOKIE_RATE, c.COOKIE_BURST) == (20, 5)
    assert (c.PADDING, c.DEFAULT_MTU, c.MAX_STAGED_PACKETS) == (16, 1420, 128)


def test_derived_numbers_follow_from_the_papers() -> None:
    """What is written as a number is what its comment says it is computed from."""
    assert c.MAX_HANDSHAKE_ATTEMPTS == c.REKEY_ATTEMPT_TIME / c.REKEY_TIMEOUT
    assert c.RECEIVE_REKEY_AGE == (
        c.REJECT_AFTER_TIME - c.KEEPALIVE_TIMEOUT - c.REKEY_TIMEOUT
    )
    assert c.ZERO_KEYS_AFTER == 3 * c.REJECT_AFTER_TIME
    assert c.INITIATION_INTERVAL == 1 / 50
    assert c.WINDOW == c.WINDOW_BITS - 64


def test_the_counter_limit_leaves_room_for_a_window() -> None:
    """No counter below the limit can be pushed over 2^64 by a window."""
    assert c.REJECT_AFTER_MESSAGES + c.WINDOW_BITS < 2**64
