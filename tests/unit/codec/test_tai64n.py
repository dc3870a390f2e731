"""TAI64N labels: their bytes, their order, and how they are whitened."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec import tai64n

SECONDS = st.integers(-(2**40), 2**40)
NANOSECONDS = st.integers(0, 10**9 - 1)
TIMES = st.tuples(SECONDS, NANOSECONDS)


def test_the_epoch_has_the_label_every_implementation_gives_it() -> None:
    """1970 is 0x400000000000000a, big-endian, then the nanoseconds."""
    assert tai64n.encode(0, 0).hex() == "400000000000000a00000000"
    assert tai64n.encode(1, 0x01020304).hex() == "400000000000000b01020304"
    assert tai64n.encode(-11, 0).hex() == "3fffffffffffffff00000000"


@given(TIMES)
def test_decoding_undoes_encoding(time: tuple[int, int]) -> None:
    """Seconds and nanoseconds come back."""
    assert tai64n.decode(tai64n.encode(*time)) == time


@given(TIMES, TIMES)
def test_labels_sort_as_times_do(one: tuple[int, int], two: tuple[int, int]) -> None:
    """Comparing bytes compares times: that is all the responder does."""
    assert (tai64n.encode(*one) < tai64n.encode(*two)) == (one < two)


@given(TIMES)
def test_whitening_rounds_down_to_a_tick(time: tuple[int, int]) -> None:
    """The low 24 bits of the nanoseconds vanish and nothing else."""
    seconds, nanoseconds = tai64n.decode(tai64n.whiten(tai64n.encode(*time)))
    assert seconds == time[0]
    assert nanoseconds == time[1] & ~0xFFFFFF


def test_whitening_hides_ten_milliseconds_and_shows_twenty() -> None:
    """Labels 10 ms into a tick are equal, 20 ms later they are not."""
    start, soon, later = (
        tai64n.whiten(tai64n.encode(0, ms * 10**6)) for ms in (0, 10, 20)
    )
    assert start == soon < later


@given(TIMES)
def test_next_tick_is_the_smallest_whitened_label_above(
    time: tuple[int, int],
) -> None:
    """It is whitened, above, and its predecessor is not above."""
    label = tai64n.encode(*time)
    following = tai64n.next_tick(label)
    assert following > label
    assert tai64n.whiten(following) == following
    seconds, nanoseconds = tai64n.decode(following)
    if nanoseconds:
        assert tai64n.encode(seconds, nanoseconds - tai64n.TICK) <= label
    else:
        assert tai64n.encode(seconds - 1, 59 * tai64n.TICK) <= label


@pytest.mark.parametrize(
    ("seconds", "nanoseconds"),
    [(0, -1), (0, 10**9), (2**63, 0), (-tai64n.BASE - 1, 0)],
)
def test_times_without_a_label_are_refused(seconds: int, nanoseconds: int) -> None:
    """Nothing wraps around."""
    with pytest.raises(ValueError, match="TAI64N"):
        tai64n.encode(seconds, nanoseconds)


@pytest.mark.parametrize(
    "label",
    [b"", bytes(11), bytes(13), b"\x80" + bytes(11), bytes(8) + b"\xff" * 4],
)
def test_what_is_no_label_is_refused(label: bytes) -> None:
    """A wrong length, a reserved second, or a billion nanoseconds is an error."""
    for read in (tai64n.decode, tai64n.whiten, tai64n.next_tick):
        with pytest.raises(ValueError, match="TAI64N"):
            read(label)


def test_after_the_last_label_there_is_none() -> None:
    """The end of the scale is an error and does not wrap to its beginning."""
    last = tai64n.encode(2**63 - 1 - tai64n.BASE, 59 * tai64n.TICK)
    with pytest.raises(ValueError, match="TAI64N"):
        tai64n.next_tick(last)
