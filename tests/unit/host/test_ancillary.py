"""Control messages of a UDP socket, byte by byte and back."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.host.ancillary import (
    IP_PKTINFO,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    UDP_GRO,
    UDP_SEGMENT,
    ancillary_for,
    path_from,
    sockaddr_of,
    split_segments,
)
from meshnode.types import Endpoint, Path, Source

V4 = Endpoint("192.0.2.9", 51820)
V6 = Endpoint("fe80::9", 51820, 3)


def test_v4_source_is_packed_as_in_pktinfo() -> None:
    """An IPv4 source is (interface, local address, zeros)."""
    path = Path(V4, Source("192.0.2.1", 7))
    assert ancillary_for(path) == [
        (IPPROTO_IP, IP_PKTINFO, struct.pack("=i", 7) + b"\xc0\0\2\1" + bytes(4))
    ]


def test_v6_source_is_packed_as_in6_pktinfo() -> None:
    """An IPv6 source is (local address, interface)."""
    path = Path(V6, Source("fe80::1", 3))
    packed = ipaddress.IPv6Address("fe80::1").packed + struct.pack("=i", 3)
    assert ancillary_for(path) == [(IPPROTO_IPV6, IPV6_PKTINFO, packed)]


def test_without_source_or_segments_there_is_nothing() -> None:
    """A plain path needs no control message."""
    assert ancillary_for(Path(V4)) == []


def test_segment_size_is_16_bits() -> None:
    """UDP_SEGMENT takes an unsigned 16-bit size, up to the last one."""
    messages = ancillary_for(Path(V4), 65535)
    assert messages == [(IPPROTO_UDP, UDP_SEGMENT, b"\xff\xff")]


def test_sockaddr_carries_the_zone_of_link_local_addresses() -> None:
    """IPv6 addresses keep their scope id, IPv4 ones have none."""
    assert sockaddr_of(V6) == ("fe80::9", 51820, 0, 3)
    assert sockaddr_of(V4) == ("192.0.2.9", 51820)


def test_v4_answer_comes_from_the_local_address_not_the_header() -> None:
    """For a broadcast the header's destination is no address of ours."""
    info = struct.pack("=i", 2) + b"\xc0\0\2\1" + b"\xc0\0\2\xff"
    path, _ = path_from(("192.0.2.9", 51820), [(IPPROTO_IP, IP_PKTINFO, info)])
    assert path.source == Source("192.0.2.1", 2)


@pytest.mark.parametrize("address", ["ff02::1", "::"])
def test_v6_group_is_no_source(address: str) -> None:
    """Nobody answers from a multicast or unspecified address."""
    info = ipaddress.IPv6Address(address).packed + struct.pack("=i", 2)
    path, _ = path_from(("fe80::9", 1, 0, 2), [(IPPROTO_IPV6, IPV6_PKTINFO, info)])
    assert path.source is None


def test_merged_payload_has_its_segment_size() -> None:
    """UDP_GRO tells the segment size as a C int."""
    ancdata = [(IPPROTO_UDP, UDP_GRO, struct.pack("=i", 1452))]
    assert path_from(("192.0.2.9", 1), ancdata)[1] == 1452


@given(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(
        lambda address: not (address.is_multicast or address.is_unspecified)
    ),
    st.integers(0, 2**31 - 1),
)
def test_source_survives_the_round_trip(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, interface: int
) -> None:
    """What is received as a source is sent as the same source."""
    remote = V4 if address.version == 4 else V6
    source = Source(str(address), interface)
    messages = ancillary_for(Path(remote, source))
    if address.version == 4:
        # On receive the kernel fills in the third field as well.
        messages = [(IPPROTO_IP, IP_PKTINFO, messages[0][2][:8] + address.packed)]
    path, _ = path_from(sockaddr_of(remote), messages)
    assert path == Path(remote, source)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, 1]),
            st.sampled_from([IP_PKTINFO, IPV6_PKTINFO, UDP_GRO, 99]),
            st.binary(max_size=40),
        )
    )
)
def test_odd_control_messages_never_raise(
    ancdata: list[tuple[int, int, bytes]],
) -> None:
    """Short or unknown control messages are passed over."""
    path, _ = path_from(("192.0.2.9", 1), ancdata)
    assert path.remote.host == "192.0.2.9"


@given(st.binary(min_size=1, max_size=300), st.integers(1, 100))
def test_segments_join_to_the_payload(payload: bytes, size: int) -> None:
    """Every segment but the last has the full size, and none is lost."""
    parts = split_segments(payload, size)
    assert b"".join(parts) == payload
    assert all(len(part) == size for part in parts[:-1])


@pytest.mark.parametrize("size", [None, 0, -1])
def test_payload_that_was_not_merged_stays_whole(size: int | None) -> None:
    """An empty datagram is one datagram too."""
    assert split_segments(b"", size) == [b""]


@pytest.mark.parametrize(
    ("remote", "level", "kind"),
    [(V4, IPPROTO_IP, IP_TTL), (V6, IPPROTO_IPV6, IPV6_HOPLIMIT)],
)
def test_hops_are_an_integer(remote: Endpoint, level: int, kind: int) -> None:
    """As the option of that name has it; none are said unless they are few."""
    message = (level, kind, struct.pack("=i", 3))
    assert ancillary_for(Path(remote), hops=3) == [message]
    assert ancillary_for(Path(remote)) == []
