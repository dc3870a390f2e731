"""The trace names datagrams, answers questions and hashes everything."""

import struct

import pytest

from meshnode.codec.wireguard import CookieReply, Initiation, Response
from meshnode.simulation.trace import Flight, Mark, Trace, authentic_part, describe
from meshnode.types import Endpoint

HERE, THERE = Endpoint("198.18.0.1", 1), Endpoint("198.18.1.1", 1)
INITIATION = Initiation(1, b"e" * 32, b"s" * 48, b"t" * 28).serialise()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (INITIATION, "initiation"),
        (Response(1, 2, b"e" * 32, b"n" * 16).serialise(), "response"),
        (CookieReply(1, b"n" * 24, b"c" * 32).serialise(), "cookie"),
        (struct.pack("<IIQ", 4, 9, 3) + bytes(16), "keepalive #3"),
        (struct.pack("<IIQ", 4, 9, 2**60) + bytes(32), f"data #{2**60}"),
        (struct.pack("<IIQ", 8, 9, 3) + bytes(16), "AES keepalive #3"),
        (struct.pack("<IIQ", 8, 9, 4) + bytes(32), "AES data #4"),
        (b"", "garbage (0 B)"),
        (b"\4\0\0\0", "garbage (4 B)"),
        (b"\x09" * 40, "garbage (40 B)"),
    ],
)
def test_datagrams_have_names(data, name):
    """As the story shows them."""
    assert describe(data) == name


def test_mac2_is_not_part_of_what_counts():
    """For handshakes; of other messages every byte is."""
    assert authentic_part(INITIATION) == INITIATION[:-16]
    assert authentic_part(b"\4\0\0\0abc") == b"\4\0\0\0abc"


def flight(sent_at, data=INITIATION, sender="a"):
    """Return a datagram from *sender* to b."""
    return Flight(sender, "b", data, HERE, THERE, sent_at, sender)


def test_moments_are_those_of_sending():
    """Lost ones count, copies made on the way do not."""
    trace = Trace()
    trace.landed(flight(1.0), 2.0, Mark.NONE)
    trace.landed(flight(1.0), 3.0, Mark.DUPLICATE)
    trace.landed(flight(4.0), 4.0, Mark.LOST)
    trace.landed(flight(5.0, sender="c"), 6.0, Mark.NONE)
    assert trace.moments("a", "b", "init") == [1.0, 4.0]
    assert trace.moments("b", "a", "init") == []


def test_notes_are_found_by_their_beginning():
    """They belong to a host."""
    trace = Trace()
    trace.note(1.0, "a", "crashes")
    trace.note(2.0, "b", "crashes")
    trace.note(3.0, "a", "starts")
    assert [row.at for row in trace.notes("a", "crash")] == [1.0]
    assert len(trace.notes("a")) == 2


def test_only_the_last_rows_are_kept_if_so_wished():
    """The hash is of all."""
    short, full = Trace(keep=2), Trace()
    for trace in (short, full):
        for number in range(5):
            trace.note(float(number), "a", "x")
    assert len(short.rows) == 2
    assert len(full.rows) == 5
    assert short.digest == full.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda trace: trace.note(1.0, "a", "other"),
        lambda trace: trace.note(1.5, "a", "text"),
        lambda trace: trace.note(1.0, "b", "text"),
        lambda trace: trace.sent(flight(1.0)),
        lambda trace: trace.sent(flight(1.0, b"other")),
        lambda trace: trace.landed(flight(1.0), 1.0, Mark.NONE),
        lambda trace: trace.landed(flight(1.0), 1.0, Mark.LOST),
    ],
)
def test_the_hash_covers_everything(change):
    """Host, moment, text, bytes and fate."""
    one, other = Trace(), Trace()
    one.note(1.0, "a", "text")
    change(other)
    assert one.digest != other.digest
