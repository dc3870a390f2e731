"""The wall time believed: never behind what has passed, never locked out."""

import pytest

from meshnode.mesh.clock import SAVE_INTERVAL, WallMark
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import KeepWallMark

WALL = 1_700_000_000
YEARS = 10 * 365 * 86400


class Host:
    """A host whose clock is wrong by `error`, and whose disk keeps the mark."""

    def __init__(self, mark: int = 0) -> None:
        self.now = 0.0
        self.error = 0.0
        self.mark = mark
        self.writes = 0
        self.start()

    def start(self) -> None:
        """Start the node, again or for the first time."""
        self.outbox = Outbox()
        self.clock = WallMark(self.mark, self.outbox, now=self.now)

    def believe(self, seconds: float = 0.0) -> float:
        """Let time pass; return how far what is believed is ahead of the truth."""
        self.now += seconds
        believed = self.clock.believe(WALL + self.now + self.error, now=self.now)
        self.save()
        return believed - (WALL + self.now)

    def witness(self, not_before: int) -> None:
        """Show a certificate that began then."""
        wall = WALL + self.now + self.error
        self.clock.witness(not_before, wall, now=self.now)
        self.save()

    def save(self) -> None:
        """Write what is to be kept."""
        for change in self.outbox.changes:
            assert isinstance(change, KeepWallMark)
            assert change.at > self.mark
            self.mark = change.at
            self.writes += 1
        self.outbox.changes.clear()


def test_a_right_clock_is_believed() -> None:
    """To the fraction of a second."""
    host = Host()
    host.witness(WALL)
    assert host.believe(3600.5) == 0.0


def test_a_clock_set_back_is_not_believed() -> None:
    """An hour, ten years or to 1970: what has passed has passed."""
    host = Host()
    host.witness(WALL)
    host.believe(1000.0)
    for error in (-3600.0, -YEARS, -float(WALL)):
        host.error = error
        assert -2.0 <= host.believe(1.0) <= 0.0
        assert host.clock.behind(WALL + host.now + error, now=host.now) > 3500


def test_a_clock_that_starts_in_1970_goes_on_from_the_mark() -> None:
    """After a restart with a dead battery, time moves on with boottime."""
    host = Host(mark=WALL)
    host.error = -float(WALL)
    assert -1.1 <= host.believe(1000.0) <= 0.0


@pytest.mark.parametrize("error", [1.0, 3600.0, float(YEARS)])
def test_a_clock_set_ahead_for_an_hour_leaves_no_trace(error: float) -> None:
    """It is believed while it lasts; then the truth is believed again."""
    host = Host()
    host.witness(WALL)
    host.believe(100.0)
    host.error = error
    for _ in range(60):
        assert host.believe(60.0) == error
    host.error = 0.0
    assert -4.0 <= host.believe(1.0) <= 4.0
    host.start()
    assert -4.0 <= host.believe(1.0) <= 4.0


def test_what_has_passed_stays_behind_the_truth_with_a_drifting_clock() -> None:
    """A wall clock 500 ppm slow or fast for ten days never disagrees with it."""
    for drift in (-5e-4, 5e-4):
        host = Host()
        host.witness(WALL)
        for _ in range(240):
            host.error += 3600 * drift
            assert host.believe(3600.0) == pytest.approx(host.error)


def test_a_certificate_moves_the_mark() -> None:
    """Unless it has not begun by our own clock."""
    host = Host(mark=WALL - YEARS)
    assert host.clock.passed(now=0.0) == WALL - YEARS
    host.witness(WALL + 10_000)
    assert host.clock.passed(now=0.0) == WALL - YEARS
    host.witness(WALL - 10)
    assert host.clock.passed(now=0.0) == WALL - 10
    host.witness(WALL - 20)
    assert host.clock.passed(now=0.0) == WALL - 10


def test_without_any_mark_nothing_has_passed() -> None:
    """A node that never saw a certificate believes its clock."""
    host = Host()
    host.error = -YEARS
    assert host.believe(10.0) == -YEARS
    assert host.writes == 0
    assert host.clock.behind(0.0, now=10.0) == 0.0


def test_the_mark_is_written_once_a_minute_at_most() -> None:
    """Asked every second for an hour, 60 writes."""
    host = Host()
    host.witness(WALL)
    for _ in range(3600):
        host.believe(1.0)
    assert 59 <= host.writes <= 3600 / SAVE_INTERVAL + 1


def test_restarts_lose_a_minute_at_most() -> None:
    """A hundred restarts, each 90 s after the other, with a clock at 1970."""
    host = Host(mark=WALL)
    host.error = -float(WALL)
    last = 0.0
    for _ in range(100):
        host.start()
        host.believe(1.0)
        host.believe(89.0)
        assert host.mark > last
        last = host.mark


def test_a_long_stop_of_the_loop_changes_nothing() -> None:
    """Boottime went on in a suspend of a day, and so did the mark."""
    host = Host()
    host.witness(WALL)
    host.believe(1.0)
    assert host.believe(86400.0) == 0.0
    host.error = -3600.0
    assert host.believe(1.0) > -1.0
