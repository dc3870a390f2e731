"""What the sending half tells the tap."""

from typing import Any

from meshnode.capture.rings import Rings
from meshnode.codec.tap import (
    GIVEN_UP,
    INNER,
    PASSED,
    TUNNEL_OUT,
    UNDERLAY_OUT,
    code_of,
)
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.reference.notes import Notes
from meshnode.dataplane.reference.seal import SealHalf
from meshnode.dataplane.tap import RingTap
from meshnode.dataplane.traffic import EgressRecorder
from meshnode.errors import DropReason
from meshnode.forwarding import DropStaged, SetLink
from tests.inner_packets import udp_packet
from tests.tap_parts import memory
from tests.unit.dataplane.reference.halves import (
    BORN_AT,
    PATH,
    SLOT,
    program,
    session,
    start_session,
    traffic_memory,
)

PACKET = udp_packet(4, b"hello")
ELSEWHERE = PACKET[:16] + bytes([10, 9, 9, 9]) + PACKET[20:]


class Tapped:
    """A sending half with a tap."""

    def __init__(self, wanted: int = 3) -> None:
        ring = memory(wanted=wanted)
        self.tap, self.rings = RingTap(ring), Rings(ring)
        self.tap.refresh()
        recorder = EgressRecorder(traffic_memory()[0])
        self.half = SealHalf(1, recorder, tap=self.tap)

    def apply(self, *commands: Any) -> None:
        """Obey commands."""
        for command in commands:
            self.half.apply(command, now=BORN_AT)

    def seen(self) -> list[tuple[int, int, int]]:
        """Return side, verdict and slot of what was noted."""
        self.half.bursts_to_send()
        self.tap.publish()
        return [(one.side, one.verdict, one.slot) for one in self.rings.read()]


def test_a_packet_and_its_datagram_are_noted() -> None:
    """The packet without its padding, the datagram with all."""
    tapped = Tapped()
    tapped.apply(*program(), *start_session(session()))
    tapped.half.send_packet(PACKET, now=BORN_AT)
    [burst] = tapped.half.bursts_to_send()
    tapped.tap.publish()
    inner, outer = tapped.rings.read()
    assert (inner.side, inner.data, inner.slot) == (TUNNEL_OUT, PACKET, SLOT)
    assert (outer.side, outer.data, outer.slot) == (UNDERLAY_OUT, burst.data, SLOT)
    assert outer.remote[:4] == inner.remote[:4] == bytes([192, 0, 2, 1])


def test_what_waits_is_noted_when_it_leaves() -> None:
    """Once, not when it began to wait."""
    tapped = Tapped(INNER)
    tapped.apply(*program())
    tapped.half.send_packet(PACKET, now=BORN_AT)
    assert tapped.seen() == []
    tapped.apply(*start_session(session()))
    assert tapped.seen() == [(TUNNEL_OUT, PASSED, SLOT)]


def test_what_goes_nowhere_is_noted_with_the_reason() -> None:
    """No route, no session, no endpoint, no room, no device."""
    tapped = Tapped(INNER)
    tapped.apply(*program())
    tapped.half.send_packet(ELSEWHERE, now=BORN_AT)
    assert tapped.seen() == [(TUNNEL_OUT, code_of(DropReason.NO_ROUTE), -1)]
    tapped.half.send_packet(PACKET, now=BORN_AT)
    tapped.apply(DropStaged(SLOT))
    assert tapped.seen() == [(TUNNEL_OUT, GIVEN_UP, SLOT)]
    for _ in range(129):
        tapped.half.send_packet(PACKET, now=BORN_AT)
    assert tapped.seen() == [(TUNNEL_OUT, code_of(DropReason.STAGED_FULL), SLOT)]
    tapped.apply(SetLink(1420, False))
    tapped.seen()
    tapped.half.send_packet(PACKET, now=BORN_AT)
    assert tapped.seen() == [(TUNNEL_OUT, code_of(DropReason.DEVICE_DOWN), -1)]
    nowhere = Tapped(INNER)
    nowhere.apply(*program(path=None))
    nowhere.half.send_packet(PACKET, now=BORN_AT)
    assert nowhere.seen() == [(TUNNEL_OUT, code_of(DropReason.NO_ENDPOINT), -1)]


def test_keepalives_and_control_frames_are_no_packets() -> None:
    """But datagrams they are, one each of a burst."""
    tapped = Tapped()
    notes = Notes(tapped.tap, tapped.half.table)
    notes.leaving(SLOT, PATH, [b"", b"\x01frame"])
    notes.dropped([b"\x01frame"], DropReason.NO_ROUTE)
    notes.burst(SLOT, Burst(PATH, 4, bytearray(b"onetwo")), 0)
    assert tapped.seen() == [(UNDERLAY_OUT, PASSED, SLOT)] * 2
