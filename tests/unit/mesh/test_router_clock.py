"""When a router's epoch says that it began anew."""

import pytest

from meshnode.mesh.router_clock import RouterClock


@pytest.mark.parametrize(
    ("epoch", "elapsed", "natpmp", "pcp"),
    [
        (1100, 100.0, False, False),
        (1098, 100.0, False, False),
        (1093, 100.0, False, False),  # 7 % slow
        (1087, 100.0, False, True),  # 13 % slow
        (1080, 100.0, True, True),
        (1300, 100.0, False, True),  # far too fast
        (0, 100.0, True, True),
        (999, 0.0, False, False),
        (998, 0.0, True, True),
        (1002, 0.5, False, False),
    ],
)
def test_epoch_must_move_as_time_does(
    epoch: int, elapsed: float, natpmp: bool, pcp: bool
) -> None:
    """RFC 6886, 3.6: no more than an eighth slower; RFC 6887, 8.5: a sixteenth."""
    for drift, both, lost in ((1 / 8, False, natpmp), (1 / 16, True, pcp)):
        clock = RouterClock(drift=drift, both=both)
        assert not clock.note(1000, now=50.0)
        assert clock.note(epoch, now=50.0 + elapsed) is lost
