"""Timestamps that rise over restarts, whatever the wall clock does."""

import random

import pytest

from meshnode.codec import tai64n
from meshnode.wireguard.timestamps import RESERVATION, TimestampSource

WALL = 1_700_000_000.0
TICK = tai64n.TICK / 1e9


def seconds_of(label: bytes) -> float:
    """Return the Unix time of a label."""
    seconds, nanoseconds = tai64n.decode(label)
    return seconds + nanoseconds / 1e9


def following(source: TimestampSource, now: float) -> bytes:
    """Return the next label for a peer that was sent all labels before."""
    return source.next_after(source.latest, now=now)


class Disk:
    """Save marks as the module says; check each label against what is saved."""

    def __init__(self) -> None:
        self.mark = b""
        self.writes = 0

    def take(self, source: TimestampSource, now: float) -> bytes:
        """Take a label, saving first what must be saved."""
        label = following(source, now)
        mark = source.unsaved_mark()
        if mark is not None:
            self.mark = mark
            self.writes += 1
            source.mark_saved(mark)
        assert source.unsaved_mark() is None
        assert label <= self.mark
        return label


def test_a_label_is_the_wall_clock_whitened() -> None:
    """It names the time, rounded down to a tick."""
    source = TimestampSource(wall_time=WALL + 0.02, now=5.0)
    label = following(source, 5.0)
    assert label == tai64n.encode(int(WALL), tai64n.TICK)


def test_the_clock_goes_on_with_boottime() -> None:
    """The wall clock is read once; ten seconds later it is ten seconds later."""
    source = TimestampSource(wall_time=WALL, now=5.0)
    assert following(source, 15.0) == tai64n.encode(int(WALL) + 10, 0)


def test_labels_of_one_tick_differ() -> None:
    """Two labels at one instant rise by one tick."""
    source = TimestampSource(wall_time=WALL, now=5.0)
    first = following(source, 5.0)
    assert following(source, 5.0) == tai64n.next_tick(first)


def test_labels_rise_at_whatever_times_they_are_asked_for() -> None:
    """A thousand labels at random distances, zero among them, strictly rise."""
    seed = 11
    draw = random.Random(seed)
    source = TimestampSource(wall_time=WALL, now=0.0)
    now, last = 0.0, b""
    for _ in range(1000):
        now += draw.choice([0.0, 0.001, 0.016, 0.017, 1.0])
        label = following(source, now)
        assert label > last, f"seed {seed}"
        last = label


def test_labels_are_above_the_mark_of_an_earlier_life() -> None:
    """With a clock set back ten years, the first label is a tick above the mark."""
    mark = tai64n.encode(int(WALL), 5)
    source = TimestampSource(wall_time=WALL - 3e8, now=0.0, mark=mark)
    assert following(source, 0.0) == tai64n.next_tick(mark)
    assert following(source, 0.0) == tai64n.next_tick(tai64n.next_tick(mark))


def test_a_mark_behind_the_clock_changes_nothing() -> None:
    """With a clock that is right, the label names the time."""
    mark = tai64n.encode(int(WALL) - 10, 0)
    source = TimestampSource(wall_time=WALL, now=0.0, mark=mark)
    assert following(source, 0.0) == tai64n.encode(int(WALL), 0)


def test_a_mark_found_late_counts_too() -> None:
    """`raise_mark` lifts the next label above it, and lowers nothing."""
    source = TimestampSource(wall_time=WALL, now=0.0)
    mark = tai64n.encode(int(WALL) + 30, 0)
    source.raise_mark(mark)
    source.raise_mark(tai64n.encode(0, 0))
    assert following(source, 0.0) == tai64n.next_tick(mark)


def test_a_mark_must_be_saved_before_the_first_label_is_used() -> None:
    """The first label asks for a mark at or above it, at most a minute ahead."""
    source = TimestampSource(wall_time=WALL, now=0.0)
    assert source.unsaved_mark() is None
    label = following(source, 0.0)
    mark = source.unsaved_mark()
    assert mark is not None
    assert label <= mark
    assert seconds_of(mark) <= WALL + RESERVATION


def test_a_mark_stays_unsaved_until_it_is_said_to_be_saved() -> None:
    """A failed write is asked for again; an older success does not count."""
    source = TimestampSource(wall_time=WALL, now=0.0)
    label = following(source, 0.0)
    mark = source.unsaved_mark()
    assert mark == source.unsaved_mark()
    source.mark_saved(label)
    assert source.unsaved_mark() == mark
    assert mark is not None
    source.mark_saved(mark)
    assert source.unsaved_mark() is None


def test_the_disk_is_written_once_a_minute() -> None:
    """A handshake a second for an hour costs 60 writes, not 3600."""
    source, disk = TimestampSource(wall_time=WALL, now=0.0), Disk()
    for second in range(3600):
        disk.take(source, float(second))
    assert 59 <= disk.writes <= 60


def test_restarts_rise_and_do_not_run_ahead() -> None:
    """A hundred restarts in a minute: labels rise, the skew stays at a minute."""
    disk, last = Disk(), b""
    for restart in range(100):
        now = restart * 0.6
        source = TimestampSource(wall_time=WALL + now, now=now, mark=disk.mark)
        label = disk.take(source, now)
        assert label > last
        assert seconds_of(label) <= WALL + now + RESERVATION + 101 * TICK
        assert seconds_of(disk.mark) <= WALL + now + RESERVATION + 101 * TICK
        last = label


def test_two_restarts_within_one_tick_give_different_labels() -> None:
    """What would lock a stock implementation out does not lock us out."""
    disk = Disk()
    first = disk.take(TimestampSource(wall_time=WALL, now=0.0), 0.0)
    again = TimestampSource(wall_time=WALL, now=0.0, mark=disk.mark)
    assert disk.take(again, 0.001) > first


def test_a_clock_ten_years_ahead_once_does_not_lock_us_out() -> None:
    """After one run with a wild clock, labels still rise with the right one."""
    disk = Disk()
    wild = disk.take(TimestampSource(wall_time=WALL + 3e8, now=0.0), 0.0)
    source = TimestampSource(wall_time=WALL, now=10.0, mark=disk.mark)
    assert disk.take(source, 10.0) > wild


def test_many_peers_do_not_run_away_from_the_clock() -> None:
    """A thousand peers at one instant get that instant; each peer's labels rise."""
    source = TimestampSource(wall_time=WALL, now=0.0)
    firsts = {source.next_after(b"", now=0.0) for _ in range(1000)}
    assert firsts == {tai64n.encode(int(WALL), 0)}
    first = firsts.pop()
    assert source.next_after(first, now=0.0) == tai64n.next_tick(first)
    assert source.next_after(b"", now=0.0) == first


def test_labels_for_many_peers_are_above_the_mark_too() -> None:
    """An earlier life may have sent a label up to the mark to any of them."""
    mark = tai64n.encode(int(WALL) + 30, 0)
    source = TimestampSource(wall_time=WALL, now=0.0, mark=mark)
    assert source.next_after(b"", now=0.0) == tai64n.next_tick(mark)


def test_a_clock_before_1970_works() -> None:
    """A host without a clock may start at the epoch or before it."""
    source = TimestampSource(wall_time=-5.5, now=0.0)
    assert following(source, 0.0) < following(source, 6.0)


@pytest.mark.parametrize("mark", [b"x", bytes(13), b"\xff" * 12])
def test_a_damaged_mark_is_refused(mark: bytes) -> None:
    """What is no label is an error at the start, and not at the first handshake."""
    with pytest.raises(ValueError, match="TAI64N"):
        TimestampSource(wall_time=WALL, now=0.0, mark=mark)
