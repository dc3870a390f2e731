"""The delays between restarts."""

from meshnode.node.backoff import LONGEST_DELAY, STEADY_AFTER, Backoff


def crash(backoff: Backoff, times: int, *, at: float = 0.0) -> list[float]:
    """Return the delays of that many crashes, each right after its start."""
    delays = []
    for _ in range(times):
        backoff.started(now=at)
        delays.append(backoff.died(now=at) - at)
    return delays


def test_first_restart_is_at_once_and_then_delays_double() -> None:
    """A crash loop slows down to one start in five seconds."""
    expected = [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_DELAY, LONGEST_DELAY]
    assert crash(Backoff(), 9) == expected


def test_a_long_life_earns_a_clean_slate() -> None:
    """After half a minute of life the next restart is at once again."""
    backoff = Backoff()
    crash(backoff, 5)
    backoff.started(now=100.0)
    assert backoff.died(now=100.0 + STEADY_AFTER) == 100.0 + STEADY_AFTER
    assert crash(backoff, 1, at=200.0)[0] < 0.11


def test_a_short_life_does_not() -> None:
    """A child that dies just before that time is still in its crash loop."""
    backoff = Backoff()
    crash(backoff, 3)
    backoff.started(now=0.0)
    assert backoff.died(now=STEADY_AFTER - 1) - (STEADY_AFTER - 1) > 0.3
