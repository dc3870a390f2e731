"""Files of packets, and packets of the last seconds."""

import struct

import pytest

from meshnode.capture import recorder
from meshnode.capture.recorder import LastSeconds, Recorder
from tests.tap_parts import TIME, seen
from tests.unit.capture.test_pcapng import blocks, options


def made() -> Recorder:
    """Return a recorder that keeps 30 bytes."""
    return Recorder("meshnode", snaplen=30, now_ns=TIME)


def test_every_side_has_an_interface() -> None:
    """With its name."""
    kinds = blocks(made().begin())
    assert [kind for kind, _ in kinds] == [0x0A0D0D0A, 1, 1, 1, 1]
    names = [options(body[8:])[2] for kind, body in kinds if kind == 1]
    assert names == [b"tunnel-in", b"tunnel-out", b"underlay-in", b"underlay-out"]


def test_what_was_lost_is_told_with_the_next_packet_and_at_the_end() -> None:
    """Of its direction, once."""
    one = made()
    one.lost(inbound=3, outbound=4)
    [(_, first)], [(_, second)] = (blocks(one.packet(seen())) for _ in range(2))
    assert options(first[52:])[4] == struct.pack("<Q", 4)
    assert 4 not in options(second[52:])
    assert struct.unpack_from("<II", first, 12) == (30, 45)
    ends = [options(body[12:]) for _, body in blocks(one.end(TIME + 5))]
    dropped = [struct.unpack("<Q", end[5]) for end in ends]
    received = [struct.unpack("<Q", end[4]) for end in ends]
    assert dropped == [(3,), (4,), (0,), (0,)]
    assert received == [(3,), (6,), (0,), (0,)]


def test_only_the_last_seconds_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only so many bytes."""
    last = LastSeconds(2.0)
    packets = [seen(time_ns=TIME + n * 10**9) for n in range(5)]
    last.add(packets)
    last.forget(TIME + 4 * 10**9)
    assert last.packets() == packets[2:]
    monkeypatch.setattr(recorder, "MAX_KEPT_BYTES", 2 * 45)
    last.add([])
    assert last.packets() == packets[3:]
    assert len(last) == 2
