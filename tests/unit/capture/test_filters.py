"""The filter language: what matches, and errors that name the word."""

import pytest

from meshnode.capture.filters import MAX_DEPTH, MAX_FILTER, parse_filter
from meshnode.codec.tap import TUNNEL_IN, UNDERLAY_IN, code_of
from meshnode.errors import DropReason, UsageError
from tests.inner_packets import ip_packet, tcp_packet, udp_packet
from tests.tap_parts import seen

# From port 1000 of .1 to port 2000 of .2, on its way out to paris.
TCP4, UDP6 = seen(), seen(data=udp_packet(6, b"x"))
PING = seen(peer="rome", data=ip_packet(4, 1, b"ping"), side=TUNNEL_IN)
LOST = seen(verdict=code_of(DropReason.NO_ROUTE))
OUTER = seen(data=b"sealed", side=UNDERLAY_IN, channel=3)
ALL = {"tcp4": TCP4, "udp6": UDP6, "ping": PING, "lost": LOST, "outer": OUTER}


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("", "tcp4 udp6 ping lost outer"),
        ("tcp", "tcp4 lost"),
        ("udp", "udp6 outer"),
        ("icmp", "ping"),
        ("ip", "tcp4 ping lost outer"),
        ("ip6", "udp6"),
        ("in", "ping outer"),
        ("out", "tcp4 udp6 lost"),
        ("tunnel", "tcp4 udp6 ping lost"),
        ("underlay", "outer"),
        ("dropped", "lost"),
        ("relayed", "outer"),
        ("peer rome", "ping"),
        ("proto 1", "ping"),
        ("proto 17", "udp6 outer"),
        ("host 10.0.0.2", "tcp4 ping lost"),
        ("src host 10.0.0.2", ""),
        ("dst host fd00::2", "udp6"),
        ("net 192.0.2.0/24", "outer"),
        ("src net 10.0.0.0/8", "tcp4 ping lost"),
        ("dst net fd00::/16", "udp6"),
        ("port 2000", "tcp4 udp6 lost"),
        ("tcp port 1000-1999", "tcp4 lost"),
        ("udp port 2000", "udp6"),
        ("src port 2000", ""),
        ("tcp src port 1000", "tcp4 lost"),
        ("udp dst port 0-65535", "udp6 outer"),
        ("less 44", "udp6 ping outer" if UDP6.length <= 44 else "ping outer"),
        ("greater 45", "tcp4 udp6 lost" if UDP6.length >= 45 else "tcp4 lost"),
        ("not tcp", "udp6 ping outer"),
        ("! tcp && ! udp", "ping"),
        ("tcp and not dropped", "tcp4"),
        ("icmp or tcp and dropped", "ping lost"),
        ("(icmp or tcp) and dropped", "lost"),
        ("not(udp||icmp)", "tcp4 lost"),
        ("not not tcp", "tcp4 lost"),
    ],
)
def test_a_filter_matches(text: str, matching: str) -> None:
    """These, and none of the others."""
    matches = parse_filter(text).matches
    assert [name for name, one in ALL.items() if matches(one)] == matching.split()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("hots 10.0.0.1", "'hots' is no test"),
        ("host", "ends where an address should be"),
        ("host paris", "'paris' is no address"),
        ("host 10.0.0.0/8", "'10.0.0.0/8' is no address"),
        ("net 10.0.0.1/8", "'10.0.0.1/8' is no prefix such as"),
        ("port http", "'http' is no port"),
        ("port 65536", "'65536' is no port"),
        ("port 1-", "'1-' is no port"),
        ("port ²", "'²' is no port"),
        ("src", "ends where host, net or port should be"),
        ("src tcp", "'tcp' cannot follow src"),
        ("tcp src host 10.0.0.1", "'host' stands where port should"),
        ("tcp udp", "'udp' is not expected here; join tests with and, or"),
        ("tcp and", "ends where a test should be"),
        ("(tcp", 'ends where ")" should be'),
        ("(tcp udp)", "'udp' stands where"),
        ("tcp)", "')' is not expected here"),
        ("peer", "ends where the name of a peer should be"),
        ("proto tcp", "'tcp' is not a protocol number up to 255"),
        ("less -1", "'-1' is not a number of bytes"),
        ("not", "ends where a test should be"),
    ],
)
def test_a_fault_is_named(text: str, fault: str) -> None:
    """On one line, with the word."""
    with pytest.raises(UsageError) as raised:
        parse_filter(text)
    assert str(raised.value).startswith("filter: ")
    assert fault in str(raised.value)
    assert "\n" not in str(raised.value)


def test_limits_hold() -> None:
    """No filter is too deep for the interpreter."""
    with pytest.raises(UsageError, match="longer than"):
        parse_filter("x" * (MAX_FILTER + 1))
    with pytest.raises(UsageError, match="nested more than"):
        parse_filter("(" * (MAX_DEPTH + 1))
    deep = "(" * (MAX_DEPTH - 1) + "tcp" + ")" * (MAX_DEPTH - 1)
    assert parse_filter(deep).matches(TCP4)


def test_the_peers_of_a_filter_are_known() -> None:
    """So that who misspelt one can be told."""
    assert parse_filter("peer a or not (peer b and tcp)").peers == ("a", "b")


def test_packets_without_ports_have_none() -> None:
    """A later fragment matches no port, not even by a range."""
    fragment = bytearray(tcp_packet(4, b"x"))
    fragment[7] = 9
    assert not parse_filter("port 0-65535").matches(seen(data=bytes(fragment)))
