"""The sending half where paths are channels, doubled, or chosen by control."""

import pytest

from meshnode.channels import endpoint_of
from meshnode.codec.channels import encode_header, wrap
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.reference.seal import MAX_BURST_BYTES
from meshnode.errors import DropReason
from meshnode.forwarding import (
    AddPeer,
    CloseChannel,
    NeedSession,
    OpenChannel,
    ProgramComplete,
    Reset,
    SendControl,
    SendKeepalive,
    SendProbe,
    SetEndpoint,
    SetLink,
    SetStandby,
    UseSession,
)
from meshnode.types import Endpoint, Path
from tests.inner_packets import ip_packet
from tests.unit.dataplane.reference.halves import (
    OTHER_PATH,
    PATH,
    SLOT,
    open_data,
    session,
    start_session,
)
from tests.unit.dataplane.reference.test_seal import NOW, Egress

RELAY = SLOT + 1
RELAY_PATH = Path(Endpoint("198.51.100.1", 51820))
CHANNEL = OpenChannel(7, RELAY, 70)
BEHIND = Path(endpoint_of(7))
PACKET = ip_packet(4, 99, bytes(60))
FRAME = b"\1\2\0ab"


@pytest.fixture
def egress() -> Egress:
    """A half whose peer has a session, and a channel by a relay beside its path."""
    made = Egress()
    made.apply(*start_session(session()), AddPeer(RELAY))
    made.apply(SetEndpoint(RELAY, RELAY_PATH), CHANNEL)
    return made


def unwrapped(burst: Burst) -> list[bytes]:
    """Return the datagrams that a burst carries through the channel."""
    datagrams = burst.datagrams()
    assert all(one.startswith(encode_header(70)) for one in datagrams)
    return [one[8:] for one in datagrams]


def test_a_channel_leads_to_its_relay(egress: Egress) -> None:
    """Each datagram behind the header, and all of them in one burst."""
    egress.apply(SetEndpoint(SLOT, BEHIND))
    egress.send(*[PACKET] * 5)
    [burst] = egress.bursts()
    assert burst.path == RELAY_PATH
    assert burst.segment_size == 8 + 32 + len(PACKET)
    opened = [open_data(one) for one in unwrapped(burst)]
    assert opened == [(n, PACKET) for n in range(5)]
    # What the relay's headers cost is not the peer's.
    assert egress.view.read(SLOT).sent_bytes == 5 * (32 + len(PACKET))


def test_a_full_burst_does_not_grow_too_large(egress: Egress) -> None:
    """What no longer fits beside the headers goes by a second send."""
    egress.apply(SetEndpoint(SLOT, BEHIND))
    egress.send(*[ip_packet(4, 99, bytes(1400))] * 45)
    bursts = egress.bursts()
    assert [burst.count for burst in bursts] == [44, 1]
    assert all(len(burst.data) <= MAX_BURST_BYTES for burst in bursts)
    counters = [open_data(one)[0] for burst in bursts for one in unwrapped(burst)]
    assert counters == list(range(45))


@pytest.mark.parametrize(
    "change",
    [
        CloseChannel(7),
        SetEndpoint(RELAY, None),
        SetEndpoint(RELAY, BEHIND),
        OpenChannel(7, RELAY, 70, onward=SLOT),
    ],
)
def test_without_a_relay_there_is_no_way(egress: Egress, change) -> None:  # type: ignore[no-untyped-def]
    """A channel that is closed, not ours to send by, or behind a channel itself."""
    egress.apply(SetEndpoint(SLOT, BEHIND), change)
    egress.send(PACKET, PACKET)
    assert egress.bursts() == []
    assert egress.dropped() == {DropReason.NO_ENDPOINT: 2}


def test_data_goes_by_both_paths(egress: Egress) -> None:
    """The same bytes; a control frame and a keepalive by the first alone."""
    egress.apply(SetStandby(SLOT, BEHIND))
    egress.send(PACKET, PACKET)
    first, second = egress.bursts()
    assert (first.path, second.path) == (PATH, RELAY_PATH)
    assert second.data == wrap(first.data, first.segment_size, 70)
    assert egress.view.read(SLOT).sent_packets == 2
    egress.apply(SendControl(SLOT, FRAME))
    egress.apply(SendKeepalive(SLOT))
    assert [burst.path for burst in egress.bursts()] == [PATH, PATH]
    egress.apply(SetStandby(SLOT, None))
    egress.send(PACKET)
    assert [burst.path for burst in egress.bursts()] == [PATH]


def test_a_standby_may_be_any_path(egress: Egress) -> None:
    """An endpoint beside a channel."""
    egress.apply(SetEndpoint(SLOT, BEHIND), SetStandby(SLOT, OTHER_PATH))
    egress.send(PACKET)
    assert [burst.path for burst in egress.bursts()] == [RELAY_PATH, OTHER_PATH]


def test_a_standby_is_part_of_the_program(egress: Egress) -> None:
    """It holds until another program is whole that has none."""
    egress.apply(SetStandby(SLOT, OTHER_PATH), Reset(1), AddPeer(SLOT))
    egress.apply(SetEndpoint(SLOT, PATH), SetLink(1420, True))
    assert egress.half.table.peers[SLOT].standby == OTHER_PATH
    egress.apply(ProgramComplete())
    assert egress.half.table.peers[SLOT].standby is None
    egress.apply(Reset(1), AddPeer(SLOT), SetStandby(SLOT, OTHER_PATH))
    assert egress.half.table.peers[SLOT].standby is None
    egress.apply(ProgramComplete())
    assert egress.half.table.peers[SLOT].standby == OTHER_PATH


def test_a_frame_goes_by_the_path_that_control_names(egress: Egress) -> None:
    """At once, alone and padded; for the timers it is no data."""
    for path, way in ((OTHER_PATH, OTHER_PATH), (BEHIND, RELAY_PATH)):
        egress.apply(SendControl(SLOT, FRAME, path))
        [burst] = egress.bursts()
        assert burst.path == way
        assert burst.count == 1
        [data] = unwrapped(burst) if path == BEHIND else burst.datagrams()
        assert open_data(data)[1] == FRAME + bytes(11)
    facts = egress.view.read(SLOT)
    assert facts.sent_packets == 2
    assert facts.unanswered_since is None
    assert facts.last_sent_at == NOW


def test_a_frame_by_a_path_does_not_wait(egress: Egress) -> None:
    """Without a session it is dropped, and none is asked for."""
    egress.apply(UseSession(SLOT, 0), SendControl(SLOT, FRAME, OTHER_PATH))
    egress.apply(SendControl(SLOT + 3, FRAME, OTHER_PATH))
    assert egress.bursts() == []
    assert egress.reports() == []
    egress.apply(SendControl(SLOT, FRAME))
    assert egress.reports() == [NeedSession(SLOT, for_users=False)]


def test_a_probe_may_go_by_a_channel(egress: Egress) -> None:
    """Whole, or not at all."""
    egress.apply(SetEndpoint(SLOT, BEHIND), SendProbe(SLOT, FRAME, 8920))
    [burst] = egress.bursts()
    assert burst.is_probe
    assert (burst.path, len(burst.data)) == (RELAY_PATH, 8 + 32 + 8920)
