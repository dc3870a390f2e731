"""How much one source may ask."""

from meshnode.names.limits import BURST, MAX_SOURCES, RATE, SourceLimits


def test_one_source_is_bounded_and_others_are_not() -> None:
    """A burst at once, then so many a second."""
    limits = SourceLimits()
    assert all(limits.take("a", now=0.0) for _ in range(int(BURST)))
    assert not limits.take("a", now=0.0)
    assert limits.take("b", now=0.0)
    second = sum(limits.take("a", now=1.0) for _ in range(int(BURST)))
    assert second == RATE


def test_sources_are_forgotten_when_there_are_too_many() -> None:
    """The one that was silent longest is the first."""
    limits = SourceLimits()
    for _ in range(int(BURST)):
        limits.take("old", now=0.0)
    assert not limits.take("old", now=0.0)
    for number in range(MAX_SOURCES):
        limits.take(str(number), now=0.0)
    assert limits.take("old", now=0.0)
