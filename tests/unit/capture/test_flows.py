"""Packets added up."""

import pytest

from meshnode.capture import flows
from meshnode.capture.flows import FlowTable, describe_flow, flow_text
from meshnode.codec.tap import TUNNEL_IN, code_of
from meshnode.errors import DropReason
from tests.inner_packets import udp_packet
from tests.tap_parts import seen, udp_seen


def back(port: int) -> bytes:
    """Build the answer to a UDP packet from *port*."""
    packet = bytearray(udp_packet(4, b"answer", source_port=port))
    packet[12:16], packet[16:20] = packet[16:20], packet[12:16]
    packet[20:22], packet[22:24] = packet[22:24], packet[20:22]
    return bytes(packet)


def test_both_directions_are_one_flow() -> None:
    """Told by the first packet; drops are counted apart."""
    table = FlowTable()
    lost = udp_seen(5000, verdict=code_of(DropReason.NO_ENDPOINT))
    table.add([udp_seen(5000), seen(data=back(5000), side=TUNNEL_IN), lost])
    [flow] = table.top(10, seconds=2.0)
    assert (flow.packets, flow.octets, flow.dropped) == (3, 29 + 34 + 29, 1)
    assert flow.rate == 46.0
    assert flow_text(flow) == ("udp", "10.0.0.1:5000 > 10.0.0.2:2000")
    assert describe_flow(flow) == {
        "protocol": "udp",
        "source": "10.0.0.1",
        "destination": "10.0.0.2",
        "peer": "paris",
        "packets": 3,
        "bytes": 92,
        "dropped": 1,
        "bytesPerSecond": 46,
        "sourcePort": 5000,
        "destinationPort": 2000,
    }


def test_the_busiest_are_first() -> None:
    """By what they did since the last look, then by all they did."""
    table = FlowTable()
    table.add([udp_seen(1)] * 5 + [udp_seen(2)] + [udp_seen(3, peer="rome")] * 2)
    first = table.top(2, seconds=1.0)
    assert [one.headers.source_port for one in first] == [1, 3]
    table.add([udp_seen(2)])
    second = table.top(9, seconds=1.0)
    assert [one.headers.source_port for one in second] == [2, 1, 3]
    assert [one.rate for one in second] == [29.0, 0.0, 0.0]
    assert [one.rate for one in table.top(9, seconds=0.0)] == [0.0] * 3


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was silent longest is forgotten; what is no packet is no flow."""
    monkeypatch.setattr(flows, "MAX_FLOWS", 2)
    table = FlowTable()
    table.add([udp_seen(1), udp_seen(2), udp_seen(1), udp_seen(3), seen(data=b"?")])
    ports = {one.headers.source_port for one in table.top(9, seconds=1.0)}
    assert ports == {1, 3}
