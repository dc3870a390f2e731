"""Any bytes where captures read: rings, packets, filters."""

import random

from hypothesis import given
from hypothesis import strategies as st

from meshnode.capture.filters import parse_filter
from meshnode.capture.flows import FlowTable, describe_flow
from meshnode.capture.headers import read_headers
from meshnode.capture.pcapng import packet
from meshnode.capture.rings import Rings
from meshnode.capture.seen import Seen, comment, describe, line
from meshnode.codec.tap import (
    HEAD,
    HEADER_BYTES,
    RECORD,
    RING_BYTES,
    TAIL,
    parse_records,
)
from meshnode.errors import UsageError
from tests.tap_parts import memory, seen, words_of

WORDS = (
    *("host", "net", "port", "src", "dst", "tcp", "udp", "icmp", "peer", "not", "and"),
    *("or", "(", ")", "!", "&&", "||", "10.0.0.1", "10.0.0.0/8", "80", "80-90", "::1"),
    *("less", "proto", "in", "dropped", "&", "|", "é", "\x00", "-", "/"),
)
RING = memory()


@given(st.binary(max_size=400))
def test_any_bytes_as_records(data: bytes) -> None:
    """Whatever is found lies within; all of it can be told."""
    found, taken = parse_records(memoryview(data))
    assert taken <= len(data)
    assert len(found) * RECORD.size <= taken
    for one in found:
        shown = Seen(one, "x", 1)
        assert line(shown, "now").count("\n") == 0
        assert describe(shown)["length"] == shown.length
        assert comment(shown)


@given(
    st.randoms(use_true_random=False),
    st.integers(0, 2**64 - 1) | st.integers(0, 2 * RING_BYTES),
    st.integers(-RING_BYTES, RING_BYTES),
)
def test_any_ring(rng: random.Random, tail: int, ahead: int) -> None:
    """Is read to its end in little time."""
    words = words_of(RING)
    words[TAIL] = tail
    words[HEAD] = (tail + ahead) % 2**64
    at = tail % RING_BYTES
    some = rng.randbytes(min(2000, RING_BYTES - at))
    RING[HEADER_BYTES + at : HEADER_BYTES + at + len(some)] = some
    rings = Rings(RING)
    for _ in range(64):
        rings.read()
        if words[TAIL] == words[HEAD]:
            return
    raise AssertionError("the ring is never read to its end")


@given(st.binary(max_size=120))
def test_any_packet(data: bytes) -> None:
    """Has headers or none, and ports in their range or none."""
    found = read_headers(data)
    assert found.version in (0, 4, 6)
    assert -1 <= found.source_port < 65536
    assert -1 <= found.destination_port < 65536
    shown = seen(data=data)
    table = FlowTable()
    table.add([shown])
    for flow in table.top(1, seconds=1.0):
        assert describe_flow(flow)["bytes"] == len(data)
    block = packet(0, 1, data, len(data), direction=1, comment=comment(shown))
    assert len(block) % 4 == 0


def outcome(text: str) -> None:
    """Parse *text*; a refusal is one line."""
    try:
        assert parse_filter(text).matches(seen()) in (True, False)
    except UsageError as error:
        refusal = str(error)
    else:
        return
    assert refusal.startswith("filter: ")
    assert "\n" not in refusal


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Is a filter, or refused."""
    outcome(text)


@given(st.lists(st.sampled_from(WORDS), max_size=40), st.sampled_from((" ", "")))
def test_any_words(words: list[str], between: str) -> None:
    """In any order."""
    outcome(between.join(words))
