"""Token buckets by source: rates, sources, and a table that cannot be flooded."""

import random

import pytest

from meshnode.wireguard.limiter import RateLimiter


def allowed_at(limiter: RateLimiter, host: str, now: float, tries: int) -> int:
    """Return how many of *tries* at one instant are allowed."""
    return sum(limiter.allow(host, now=now) for _ in range(tries))


def test_five_at_once_then_none() -> None:
    """A burst of five passes, the sixth does not."""
    assert allowed_at(RateLimiter(8), "192.0.2.1", 1.0, 10) == 5


def test_one_token_comes_back_every_fifty_milliseconds() -> None:
    """After the burst, one passes each 50 ms and none 49 ms after the last."""
    limiter = RateLimiter(8)
    allowed_at(limiter, "192.0.2.1", 1.0, 5)
    assert not limiter.allow("192.0.2.1", now=1.049)
    assert limiter.allow("192.0.2.1", now=1.05)
    assert not limiter.allow("192.0.2.1", now=1.099)
    assert limiter.allow("192.0.2.1", now=1.1)


def test_a_rest_gives_back_no_more_than_the_burst() -> None:
    """However long the silence, five pass at once."""
    limiter = RateLimiter(8)
    allowed_at(limiter, "192.0.2.1", 1.0, 5)
    assert allowed_at(limiter, "192.0.2.1", 1000.0, 20) == 5


def test_a_short_rest_gives_back_no_more_than_the_burst_either() -> None:
    """A bucket that is nearly full, and not forgotten yet, does not overflow."""
    limiter = RateLimiter(8)
    allowed_at(limiter, "192.0.2.1", 1.0, 1)
    assert allowed_at(limiter, "192.0.2.1", 1.2, 20) == 5


def test_hammering_does_not_pay_and_does_not_starve() -> None:
    """A thousand tries a second for ten seconds pass 20 a second and the burst."""
    limiter = RateLimiter(8)
    passed = sum(
        limiter.allow("192.0.2.1", now=100 + tick / 1000) for tick in range(10_000)
    )
    assert 199 <= passed <= 205


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%2", "fe80::2%3", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_64(
    one: str, other: str, same: bool
) -> None:
    """Addresses of one source share five tokens; others have their own."""
    limiter = RateLimiter(8)
    allowed_at(limiter, one, 1.0, 5)
    assert limiter.allow(other, now=1.0) is not same


def test_the_table_never_grows_beyond_its_bound() -> None:
    """Whatever comes, there are no more buckets than places."""
    seed = 7
    draw = random.Random(seed)
    limiter = RateLimiter(16)
    now = 0.0
    for _ in range(5000):
        now += draw.random() / 50
        limiter.allow(f"198.51.100.{draw.randrange(256)}", now=now)
        assert len(limiter) <= 16, f"seed {seed}"


def test_a_full_table_refuses_newcomers_and_forgets_no_flooder() -> None:
    """Cycling through many addresses does not give a used-up bucket back."""
    limiter = RateLimiter(4)
    allowed_at(limiter, "192.0.2.1", 1.0, 5)
    for last in range(2, 100):
        limiter.allow(f"192.0.2.{last}", now=1.0)
    assert not limiter.allow("192.0.2.1", now=1.0)
    assert limiter.allow("192.0.2.4", now=1.0)
    assert not limiter.allow("192.0.2.5", now=1.0)


def test_newcomers_are_let_in_a_quarter_second_after_the_flood() -> None:
    """Full buckets are forgotten, so that a flood leaves nothing behind."""
    limiter = RateLimiter(4)
    for last in range(4):
        allowed_at(limiter, f"192.0.2.{last}", 1.0, 5)
    assert not limiter.allow("198.51.100.1", now=1.24)
    assert limiter.allow("198.51.100.1", now=1.25)
    assert len(limiter) == 1


def test_a_bucket_in_use_is_not_forgotten_for_its_age() -> None:
    """What counts is the last use: a steady flooder is never taken for new."""
    limiter = RateLimiter(4)
    allowed_at(limiter, "192.0.2.1", 1.0, 5)
    for tick in range(1, 100):
        limiter.allow("192.0.2.1", now=1.0 + tick / 100)
    assert allowed_at(limiter, "192.0.2.1", 2.0, 5) <= 1


def test_a_steady_flooder_does_not_keep_the_buckets_of_others() -> None:
    """However old its own bucket is, the full ones behind it are forgotten."""
    limiter = RateLimiter(4)
    limiter.allow("192.0.2.1", now=1.0)
    for last in range(2, 5):
        limiter.allow(f"192.0.2.{last}", now=1.0)
    for tick in range(1, 30):
        limiter.allow("192.0.2.1", now=1.0 + tick / 100)
    assert len(limiter) == 1
    assert limiter.allow("198.51.100.1", now=1.3)
