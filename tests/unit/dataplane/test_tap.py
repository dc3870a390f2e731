"""Both writers of the tap: what they note is what the reader finds."""

import importlib.util
from typing import Any

import pytest

from meshnode.capture.rings import Rings
from meshnode.channels import endpoint_of
from meshnode.codec.tap import (
    DROPPED,
    HEAD,
    INNER,
    OUTER,
    RECORD,
    RING_BYTES,
    TAIL,
    TUNNEL_IN,
    TUNNEL_OUT,
    UNDERLAY_IN,
    UNDERLAY_OUT,
    WANTED,
    code_of,
    padded,
)
from meshnode.dataplane.tap import NoTap, RingTap
from meshnode.errors import DropReason
from meshnode.types import Endpoint, Path, Source
from tests.tap_parts import memory, words_of

V4 = Path(Endpoint("192.0.2.9", 51820), Source("192.0.2.1", 2, 4001))
V6 = Path(Endpoint("2001:db8::9", 51821), Source("2001:db8::1", 2, 0))
HAS_FAST = importlib.util.find_spec("meshnode.dataplane.fast.taps") is not None


def _fast(ring: memoryview) -> Any:
    from meshnode.dataplane.fast.taps import Tap

    return Tap(ring)


WRITERS = [RingTap, *([_fast] if HAS_FAST else [])]


@pytest.fixture(params=WRITERS, ids=["reference", "fast"][: len(WRITERS)])
def made(request: pytest.FixtureRequest) -> Any:
    """How one writer is made."""
    return request.param


def test_what_is_noted_is_read(made: Any) -> None:
    """With path, slot and channel, and only after it was published."""
    ring = memory()
    tap, rings = made(ring), Rings(ring)
    tap.refresh()
    tap.note(TUNNEL_OUT, b"one", slot=3, path=V4, channel=7)
    tap.note(UNDERLAY_IN, bytearray(b"other"), path=V6)
    tap.note(TUNNEL_IN, memoryview(b"third"), path=Path(endpoint_of(5)))
    assert rings.read() == []
    tap.publish()
    first, second, third = rings.read()
    assert (first.data, first.length, first.side, first.slot) == (b"one", 3, 1, 3)
    assert (first.version, first.channel, first.remote_port) == (4, 7, 51820)
    assert first.remote[:4] == bytes([192, 0, 2, 9])
    assert (first.local[:4], first.local_port) == (bytes([192, 0, 2, 1]), 4001)
    assert (second.data, second.version, second.slot) == (b"other", 6, -1)
    assert second.remote[-1] == 9
    assert second.local[-1] == 1
    assert (third.data, third.version, third.remote) == (b"third", 0, bytes(16))
    assert first.time_ns > 1_600_000_000 * 10**9


def test_the_last_one_is_judged_and_named(made: Any) -> None:
    """Only if it was wanted; never one before it."""
    ring = memory(wanted=INNER)
    tap, rings = made(ring), Rings(ring)
    tap.refresh()
    tap.note(TUNNEL_IN, b"kept")
    tap.name(8)
    tap.judge(DropReason.BAD_SOURCE)
    tap.note(UNDERLAY_IN, b"not wanted")
    tap.name(9)
    tap.judge(DropReason.REPLAY)
    tap.publish()
    tap.refresh()
    tap.judge(DropReason.BAD_TAG)
    [found] = rings.read()
    assert (found.slot, found.verdict) == (8, code_of(DropReason.BAD_SOURCE))


@pytest.mark.parametrize(
    ("wanted", "sides"), [(0, []), (INNER, [0, 1]), (OUTER, [2, 3]), (3, [0, 1, 2, 3])]
)
def test_only_what_is_wanted_is_copied(
    made: Any, wanted: int, sides: list[int]
) -> None:
    """And found out anew at each refresh."""
    ring = memory(wanted=wanted)
    tap, rings = made(ring), Rings(ring)
    assert tap.sides == 0
    tap.refresh()
    assert tap.sides == wanted
    for side in (TUNNEL_IN, TUNNEL_OUT, UNDERLAY_IN, UNDERLAY_OUT):
        tap.note(side, b"x")
    tap.publish()
    assert [one.side for one in rings.read()] == sides
    words_of(ring)[WANTED] = 0
    tap.refresh()
    assert tap.sides == 0


def test_a_packet_is_cut_to_the_snaplen(made: Any) -> None:
    """Its length is told."""
    ring = memory(snaplen=10)
    tap, rings = made(ring), Rings(ring)
    tap.refresh()
    tap.note(TUNNEL_OUT, bytes(range(100)))
    tap.publish()
    [found] = rings.read()
    assert (found.data, found.length) == (bytes(range(10)), 100)


def test_a_full_ring_drops_and_counts(made: Any) -> None:
    """What is there stays; after it was read there is room again, round and round."""
    ring = memory()
    tap, rings = made(ring), Rings(ring)
    size = padded(RECORD.size + 60_000)
    for _ in range(5):
        tap.refresh()
        for number in range(200):
            tap.note(TUNNEL_OUT, number.to_bytes(2) * 30_000)
        tap.publish()
        read = []
        while found := rings.read():
            read += [int.from_bytes(one.data[:2]) for one in found]
        # At the end of the ring a little room may be left.
        assert read == list(range(len(read)))
        assert RING_BYTES // size - 1 <= len(read) <= RING_BYTES // size
        assert rings.lost() == (0, 200 - len(read))


def test_an_empty_datagram_is_one_too(made: Any) -> None:
    """Whatever holds its bytes."""
    ring = memory()
    tap, rings = made(ring), Rings(ring)
    tap.refresh()
    for empty in (b"", bytearray(), memoryview(bytearray())):
        tap.note(UNDERLAY_IN, empty, path=V4)
    tap.publish()
    assert [one.length for one in rings.read()] == [0, 0, 0]


@pytest.mark.parametrize("tail", [8, 2**63, 2**64 - 8, 2**64 - 1])
def test_nonsense_of_the_reader_does_no_harm(made: Any, tail: int) -> None:
    """A tail ahead of the head, or anywhere: nothing is written outside of the ring."""
    ring = memory()
    tap = made(ring)
    words_of(ring)[TAIL] = tail
    tap.refresh()
    for _ in range(200):
        tap.note(TUNNEL_OUT, bytes(65535))
    tap.publish()
    assert words_of(ring)[HEAD] <= 2 * RING_BYTES
    assert words_of(ring)[DROPPED] > 0


def test_the_next_process_goes_on_where_the_last_ended(made: Any) -> None:
    """What was not published before is gone."""
    ring = memory()
    rings = Rings(ring)
    first = made(ring)
    first.refresh()
    first.note(TUNNEL_OUT, b"a")
    first.publish()
    first.note(TUNNEL_OUT, b"lost")
    second = made(ring)
    second.refresh()
    second.note(TUNNEL_OUT, b"b")
    second.publish()
    assert [one.data for one in rings.read()] == [b"a", b"b"]


def test_where_nobody_captures_nothing_happens() -> None:
    """The tap of the simulation."""
    tap = NoTap()
    tap.refresh()
    tap.note(TUNNEL_OUT, b"x")
    tap.name(1)
    tap.judge(DropReason.REPLAY)
    tap.publish()
    assert tap.sides == 0


@pytest.mark.skipif(not HAS_FAST, reason="the fast engine is not compiled")
def test_the_compiled_tap_needs_a_whole_ring() -> None:
    """Or none at all."""
    with pytest.raises(ValueError, match="whole ring"):
        _fast(memoryview(bytearray(4096)))
    from meshnode.dataplane.fast.taps import Tap

    tap = Tap(None)
    tap.refresh()
    tap.note(TUNNEL_OUT, b"x")
    tap.publish()
    assert tap.sides == 0
