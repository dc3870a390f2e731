"""The reader of the rings; the writers' tests read by it, too."""

from meshnode.capture.rings import Rings
from meshnode.codec.tap import (
    DROPPED,
    HEAD,
    HEADER_BYTES,
    RING_BYTES,
    TAIL,
    TUNNEL_OUT,
)
from meshnode.dataplane.tap import RingTap
from tests.tap_parts import memory, words_of

RING = HEADER_BYTES + RING_BYTES


def test_rings_are_read_in_the_order_of_time() -> None:
    """Whoever wrote first."""
    made = memory(3)
    clock = iter(range(100, 200))
    taps = [
        RingTap(made[n * RING : (n + 1) * RING], lambda: next(clock)) for n in (2, 0)
    ]
    for _ in range(2):
        for number, tap in enumerate(taps):
            tap.refresh()
            tap.note(TUNNEL_OUT, bytes([number]))
            tap.publish()
    found = Rings(made).read()
    assert [one.data for one in found] == [b"\0", b"\1", b"\0", b"\1"]


def test_losses_are_told_by_direction_and_once() -> None:
    """Those of before our time are nobody's."""
    made = memory(5)
    words_of(made, 0)[DROPPED] = 7
    rings = Rings(made)
    assert rings.lost() == (0, 0)
    for number in range(5):
        words_of(made, number)[DROPPED] += 10**number
    assert rings.lost() == (101, 11010)
    assert rings.lost() == (0, 0)


def test_a_ring_that_makes_no_sense_is_skipped() -> None:
    """A head behind the tail, too far ahead of it, or before no record."""
    made = memory()
    rings = Rings(made)
    words = words_of(made)
    for head, tail in ((8, 16), (RING_BYTES + 8, 0), (64, 0), (2**64 - 8, 0)):
        words[HEAD], words[TAIL] = head, tail
        assert rings.read() == []
        assert words[TAIL] == head
