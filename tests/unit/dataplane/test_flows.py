"""Flows: what belongs together, and where rendezvous hashing sends it."""

import struct

import pytest

from meshnode.dataplane.flows import choose_owner, flow_of
from meshnode.forwarding import ShareOfPrefix
from tests.inner_packets import ip_packet, tcp_packet, udp_packet

VERSIONS = pytest.mark.parametrize("version", [4, 6])


def echo(version: int, kind: int, identifier: int, sequence: int) -> bytes:
    """Build an ICMP message of that type."""
    body = struct.pack(">BBHHH", kind, 0, 0, identifier, sequence)
    return ip_packet(version, 1 if version == 4 else 58, body)


def fragment(packet: bytes, offset_and_flags: int) -> bytes:
    """Return an IPv4 packet as a fragment."""
    return packet[:6] + struct.pack(">H", offset_and_flags) + packet[8:]


@VERSIONS
@pytest.mark.parametrize("make", [udp_packet, tcp_packet])
def test_ports_tell_flows_apart(version: int, make) -> None:  # type: ignore[no-untyped-def]
    """Packets of one connection are one flow, whatever they carry."""
    one, again = make(version, b"a"), make(version, b"bb" * 50, number=9)
    assert flow_of(one) == flow_of(again)
    assert flow_of(one) != flow_of(make(version, b"a", source_port=1001))


@VERSIONS
def test_protocols_tell_flows_apart(version: int) -> None:
    """The same ports of another protocol are another flow."""
    assert flow_of(udp_packet(version, b"a")) != flow_of(tcp_packet(version, b"a"))


def test_ipv4_options_are_skipped() -> None:
    """Ports are where the header ends, not where it mostly ends."""
    plain = udp_packet(4, b"a")
    longer = bytes((0x46,)) + plain[1:20] + bytes(4) + plain[20:]
    assert flow_of(longer) == flow_of(plain)


@pytest.mark.parametrize("flags", [0x2000, 0x2001, 0x0001, 0x1FFF])
def test_all_fragments_of_a_packet_are_one_flow(flags: int) -> None:
    """Later ones have no ports, so those of the first do not count either."""
    first, later = udp_packet(4, b"a"), udp_packet(4, b"b", source_port=9)
    assert flow_of(fragment(first, flags)) == flow_of(fragment(later, 0x0010))
    assert flow_of(fragment(first, flags)) != flow_of(first)


def test_do_not_fragment_is_no_fragment() -> None:
    """The flag that most packets have hides no ports."""
    packet = udp_packet(4, b"a")
    assert flow_of(fragment(packet, 0x4000)) == flow_of(fragment(packet, 0))


@pytest.mark.parametrize(("version", "ask", "answer"), [(4, 8, 0), (6, 128, 129)])
def test_an_echo_is_a_flow_by_its_identifier(
    version: int, ask: int, answer: int
) -> None:
    """Two pings are two flows; what one of them sends is one."""
    assert flow_of(echo(version, ask, 7, 1)) == flow_of(echo(version, answer, 7, 2))
    assert flow_of(echo(version, ask, 7, 1)) != flow_of(echo(version, ask, 8, 1))


@pytest.mark.parametrize(("version", "error"), [(4, 3), (6, 1)])
def test_other_icmp_has_no_identifier(version: int, error: int) -> None:
    """What stands there in an error message tells nothing."""
    assert flow_of(echo(version, error, 7, 1)) == flow_of(echo(version, error, 8, 1))


def test_the_flow_label_does_not_count() -> None:
    """Some hosts give every packet another one."""
    packet = udp_packet(6, b"a")
    labelled = packet[:1] + b"\x01\x23\x45" + packet[4:]
    assert flow_of(labelled) == flow_of(packet)


@pytest.mark.parametrize("size", range(20, 30))
@pytest.mark.parametrize("protocol", [1, 6, 17, 58])
def test_cut_off_packets_are_flows_too(size: int, protocol: int) -> None:
    """A header that ends too soon raises nothing."""
    packet = bytearray(ip_packet(4, protocol, bytes(size - 20)))
    assert flow_of(bytes(packet))[:8] == bytes(packet[12:20])
    packet[0] = 0x41  # a header that claims to be shorter than any
    assert flow_of(bytes(packet)) == bytes(packet[12:20]) + bytes((protocol,))


def test_the_choice_is_known() -> None:
    """It must not change: flows would move with an update."""
    owners = [ShareOfPrefix(slot, 1) for slot in (1, 2, 3)]
    chosen = [choose_owner(bytes((n,)), owners) for n in range(16)]
    assert chosen == [1, 2, 3, 1, 1, 3, 2, 1, 1, 3, 1, 2, 1, 1, 2, 3]
    assert chosen == [choose_owner(bytes((n,)), owners[::-1]) for n in range(16)]


def test_a_single_owner_has_every_flow() -> None:
    """Whatever its weight is."""
    assert {choose_owner(bytes((n,)), [ShareOfPrefix(5, 1)]) for n in range(50)} == {5}
