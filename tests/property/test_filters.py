"""Filters against an oracle that knows no language: the tree they were written from."""

import ipaddress
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshnode.capture.filters import parse_filter
from meshnode.capture.seen import Seen
from tests.inner_packets import ip_packet, tcp_packet, udp_packet
from tests.tap_parts import seen

Oracle = Callable[[dict[str, Any]], bool]
HOSTS = ("10.0.0.1", "10.0.0.2", "10.3.0.9", "fd00::1", "fd00::2")
NETS = ("10.0.0.0/8", "10.0.0.0/31", "0.0.0.0/0", "fd00::/64", "::/0", "10.0.0.2/32")
PORTS = (1000, 2000, 53)


@st.composite
def packets(draw: st.DrawFn) -> tuple[Seen, dict[str, Any]]:
    """A packet, and what was put into it."""
    version = draw(st.sampled_from((4, 6)))
    kind = draw(st.sampled_from(("tcp", "udp", "icmp")))
    port = draw(st.sampled_from(PORTS))
    side = draw(st.integers(0, 1))
    peer = draw(st.sampled_from(("paris", "rome", "")))
    verdict = draw(st.sampled_from((0, 1, 24, 254, 255)))
    channel = draw(st.sampled_from((0, 9)))
    if kind == "icmp":
        data = ip_packet(version, 1 if version == 4 else 58, b"ping")
    else:
        make = tcp_packet if kind == "tcp" else udp_packet
        data = make(version, draw(st.binary(max_size=4)), source_port=port)
    found = seen(data=data, side=side, peer=peer, verdict=verdict, channel=channel)
    ends = ("10.0.0.1", "10.0.0.2") if version == 4 else ("fd00::1", "fd00::2")
    facts = {
        "kind": kind,
        "version": version,
        "ports": None if kind == "icmp" else (port, 2000),
        "ends": tuple(map(ipaddress.ip_address, ends)),
        "in": side == 0,
        "peer": peer,
        "dropped": verdict in (1, 24, 255),
        "relayed": bool(channel) or verdict == 254,
        "length": len(data),
    }
    return found, facts


def _ends(direction: str) -> slice:
    return {"": slice(0, 2), "src ": slice(0, 1), "dst ": slice(1, 2)}[direction]


@st.composite
def leaves(draw: st.DrawFn) -> tuple[str, Oracle]:
    """One test in words, and what it means."""
    direction = draw(st.sampled_from(("", "src ", "dst ")))
    which = _ends(direction)
    match draw(st.integers(0, 6)):
        case 0:
            host = draw(st.sampled_from(HOSTS))
            one = ipaddress.ip_address(host)
            return f"{direction}host {host}", lambda f: one in f["ends"][which]
        case 1:
            net = draw(st.sampled_from(NETS))
            whole = ipaddress.ip_network(net)
            return f"{direction}net {net}", lambda f: any(
                end in whole for end in f["ends"][which]
            )
        case 2:
            low, high = sorted(draw(st.tuples(*[st.sampled_from(PORTS)] * 2)))
            kind = draw(st.sampled_from(("", "tcp ", "udp ")))
            return (
                f"{kind}{direction}port {low}-{high}",
                lambda f: (
                    f["ports"] is not None
                    and kind.strip() in ("", f["kind"])
                    and any(low <= port <= high for port in f["ports"][which])
                ),
            )
        case 3:
            kind = draw(st.sampled_from(("tcp", "udp", "icmp")))
            return kind, lambda f: f["kind"] == kind
        case 4:
            peer = draw(st.sampled_from(("paris", "rome", "oslo")))
            return f"peer {peer}", lambda f: f["peer"] == peer
        case 5:
            size = draw(st.integers(20, 70))
            if draw(st.booleans()):
                return f"less {size}", lambda f: f["length"] <= size
            return f"greater {size}", lambda f: f["length"] >= size
    word = draw(st.sampled_from(("ip", "ip6", "in", "out", "dropped", "relayed")))
    return word, lambda f: {
        "ip": f["version"] == 4,
        "ip6": f["version"] == 6,
        "in": f["in"],
        "out": not f["in"],
        "dropped": f["dropped"],
        "relayed": f["relayed"],
    }[word]


def _grown(
    inner: st.SearchStrategy[tuple[str, Oracle]],
) -> st.SearchStrategy[tuple[str, Oracle]]:
    def negate(one: tuple[str, Oracle]) -> tuple[str, Oracle]:
        return f"not ({one[0]})", lambda f: not one[1](f)

    def both(two: tuple[tuple[str, Oracle], ...]) -> tuple[str, Oracle]:
        (a, x), (b, y) = two
        return f"({a}) and({b})", lambda f: x(f) and y(f)

    def either(two: tuple[tuple[str, Oracle], ...]) -> tuple[str, Oracle]:
        (a, x), (b, y) = two
        return f"({a} )||( {b})", lambda f: x(f) or y(f)

    pair = st.tuples(inner, inner)
    return inner.map(negate) | pair.map(both) | pair.map(either)


@given(
    st.recursive(leaves(), _grown, max_leaves=8),
    st.lists(packets(), min_size=1, max_size=8),
)
def test_a_filter_means_what_it_was_written_from(
    written: tuple[str, Oracle], sent: list[tuple[Seen, dict[str, Any]]]
) -> None:
    """For every packet."""
    text, oracle = written
    matches = parse_filter(text).matches
    for packet, facts in sent:
        assert matches(packet) == oracle(facts), text


@given(st.lists(leaves(), min_size=3, max_size=3), packets())
def test_and_binds_closer_than_or(
    written: list[tuple[str, Oracle]], sent: tuple[Seen, dict[str, Any]]
) -> None:
    """And not closer than both."""
    (a, x), (b, y), (c, z) = written
    packet, facts = sent
    found = parse_filter(f"{a} or not {b} and {c}").matches(packet)
    assert found == (x(facts) or (not y(facts) and z(facts)))
