"""Token buckets: the rate, the burst, and clocks that stand still."""

from meshnode.dataplane.buckets import TokenBucket


def drain(bucket: TokenBucket, now: float) -> int:
    """Take tokens until there are none; return how many there were."""
    taken = 0
    while bucket.take(now):
        taken += 1
        assert taken < 1000
    return taken


def test_a_bucket_is_full_at_first() -> None:
    """Whenever it is asked first, it has its burst and no more."""
    assert drain(TokenBucket(10.0, 4), 12345.0) == 4


def test_tokens_come_back_at_the_rate() -> None:
    """One in each 1/rate seconds, up to the burst."""
    bucket = TokenBucket(10.0, 4)
    assert drain(bucket, 0.0) == 4
    assert drain(bucket, 0.05) == 0
    assert drain(bucket, 0.11) == 1
    assert drain(bucket, 99.0) == 4


def test_time_that_goes_back_earns_nothing() -> None:
    """An instant is paid for once."""
    bucket = TokenBucket(1.0, 2)
    assert drain(bucket, 10.0) == 2
    assert drain(bucket, 5.0) == 0
    assert drain(bucket, 10.0) == 0
