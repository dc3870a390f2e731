"""The records of the tap, and the words for what became of a packet."""

import pytest

from meshnode.codec.tap import (
    FORWARDED,
    GIVEN_UP,
    PASSED,
    RECORD,
    TUNNEL_IN,
    TUNNEL_OUT,
    UNDERLAY_IN,
    code_of,
    is_dropped,
    padded,
    parse_records,
    ring_number,
    ring_of,
    tap_bytes,
    verdict_text,
)
from meshnode.errors import DropReason


def record(data: bytes, *, size: int | None = None, side: int = TUNNEL_OUT) -> bytes:
    """Build one record."""
    whole = padded(RECORD.size + len(data))
    head = RECORD.pack(
        *(whole if size is None else size, len(data), 99, side, PASSED, 4, 5, 6, 7),
        *(bytes(16), bytes(16), 8, 9),
    )
    return (head + data).ljust(whole, b"\0")


def test_records_are_read_one_behind_the_other() -> None:
    """With their bytes, whatever filled them up."""
    found, taken = parse_records(memoryview(record(b"abc") + record(b"")))
    assert [one.data for one in found] == [b"abc", b""]
    assert taken == 80 + 72
    first = found[0]
    assert (first.length, first.side, first.verdict, first.version) == (99, 1, 0, 4)
    assert (first.time_ns, first.slot, first.channel) == (5, 6, 7)
    assert (first.remote_port, first.local_port) == (8, 9)


@pytest.mark.parametrize("size", [0, 8, 72, 1000, 2**32 - 1])
def test_what_makes_no_sense_ends_the_list(size: int) -> None:
    """A record that is too small for its bytes, or too large for the rest."""
    data = record(b"abc") + record(b"defgh", size=size)
    found, taken = parse_records(memoryview(data))
    assert [one.data for one in found] == [b"abc"]
    assert taken == 80


def test_an_unknown_side_ends_the_list() -> None:
    """It is of no version of ours."""
    assert parse_records(memoryview(record(b"", side=4))) == ([], 0)


def test_every_reason_has_words_and_a_code_of_its_own() -> None:
    """Those that `meshnode status` shows; none is a verdict on what passed."""
    codes = [code_of(reason) for reason in DropReason]
    assert len(set(codes)) == len(codes)
    assert not {PASSED, FORWARDED, GIVEN_UP} & set(codes)
    for reason in DropReason:
        text = verdict_text(code_of(reason), side=TUNNEL_OUT)
        assert text == f"dropped: {reason.value}"
        assert is_dropped(code_of(reason))


def test_what_passed_is_told_by_its_side() -> None:
    """And what is none of ours is a number."""
    assert verdict_text(PASSED, side=TUNNEL_IN) == "delivered"
    assert verdict_text(PASSED, side=TUNNEL_OUT) == "sent"
    assert verdict_text(PASSED, side=UNDERLAY_IN) == "accepted"
    assert verdict_text(FORWARDED, side=UNDERLAY_IN) == "relayed"
    assert verdict_text(GIVEN_UP, side=TUNNEL_OUT) == "dropped: no session came"
    assert verdict_text(200, side=TUNNEL_OUT) == "verdict 200"
    assert not is_dropped(PASSED)
    assert not is_dropped(FORWARDED)


def test_every_writer_has_a_ring() -> None:
    """Two for each number of a worker, and one for control."""
    memory = memoryview(bytearray(tap_bytes(2)))
    numbers = [ring_number(n, is_egress=e) for n in range(2) for e in (False, True)]
    assert numbers == [0, 1, 2, 3]
    assert len(ring_of(memory, 4)) == len(memory) // 5
