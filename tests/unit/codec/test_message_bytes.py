"""Control frames: pinned bytes, bounds, padding, and what is no frame."""

from typing import Any

import msgpack
import pytest

from meshnode.codec import messages as m
from meshnode.codec.message_bytes import decode_message, encode_message
from meshnode.codec.records import Kind, Mapping, NatHint
from meshnode.errors import CodecError
from meshnode.types import Endpoint

KEY = b"\x11" * 32
KEY_HEX = "c420" + "11" * 32
EIGHT = bytes(range(8))
EIGHT_HEX = "c4080001020304050607"
SEEN = Endpoint("192.0.2.1", 51820)
SEEN_HEX = "c406c0000201ca6c"
PLACE = Endpoint("192.0.2.1", 5)
PLACE_HEX = "c406c00002010005"

# A message of every type, and the array that it is.
PINNED: list[tuple[m.Message, str]] = [
    (m.Hello(EIGHT, 3, 1, 0, True), f"9601{EIGHT_HEX}030100c3"),
    (m.Push((b"a", b"b")), "920292c40161c40162"),
    (
        m.Digests(b"\x0f\x00", tuple(bytes((n,)) * 8 for n in range(16))),
        "9303c4020f00c480" + "".join(f"{n:02x}" * 8 for n in range(16)),
    ),
    (m.Leaf(b"", ((EIGHT, KEY[:8]),)), "9304c400c410" + EIGHT.hex() + "11" * 8),
    (m.Want((EIGHT, KEY[:8])), "9205c410" + EIGHT.hex() + "11" * 8),
    (m.Ping(EIGHT), f"9206{EIGHT_HEX}"),
    (m.Pong(EIGHT, SEEN), f"9307{EIGHT_HEX}{SEEN_HEX}"),
    (m.Pong(EIGHT, None), f"9307{EIGHT_HEX}c0"),
    (m.Publish(b"e"), "9208c40165"),
    (m.Published(5, SEEN), f"930905{SEEN_HEX}"),
    (m.Lookup(KEY), f"920a{KEY_HEX}"),
    (m.Found(KEY, b""), f"930b{KEY_HEX}c400"),
    (
        m.JoinRequest(KEY, KEY, "pc", bytes(64)),
        f"950c{KEY_HEX}{KEY_HEX}a27063c440" + "00" * 64,
    ),
    (m.JoinReply(b"c", b"i"), "930dc40163c40169"),
    (m.Refused("used", "no more"), "930ea475736564a76e6f206d6f7265"),
    (m.RenewRequest(EIGHT), f"920f{EIGHT_HEX}"),
    (m.Renewed(b"c", b""), "9310c40163c400"),
    (m.Fetch(6, 2, 1000), "941106" + "02" + "cd03e8"),
    (m.Chunk(1, 2, 0, 3, b"abc"), "96120102" + "00" + "03" + "c403616263"),
    (m.Accepts((8,), (1, 2**32 - 1)), "9313" + "9108" + "9201ceffffffff"),
    (m.LargestSize(1280), "9214cd0500"),
    (m.SizeProven(EIGHT, 65_455), f"9316{EIGHT_HEX}cdffaf"),
    (
        m.RelayOpen(KEY, (KEY,), (), 5, (b"a", b"bc")),
        f"9617{KEY_HEX}91{KEY_HEX}900592c40161c4026263",
    ),
    (m.RelayOffer(KEY, 2**32 - 1, ()), f"9418{KEY_HEX}ceffffffff90"),
    (m.RelayAccept(1, 2), "93190102"),
    (m.RelayOpened(1, 2, 300), "941a0102cd012c"),
    (m.RelayClose(7, m.RelayReason.LOOP), "931b0705"),
    (m.Refresh(9), "922909"),
    (
        m.CallMe(
            *(7, True, KEY, (PLACE,), None),
            NatHint(Mapping.ENDPOINT_DEPENDENT, 5, 6),
            (),
        ),
        f"981e07c3{KEY_HEX}91{PLACE_HEX}c09302050690",
    ),
    (m.ProbeMe(KEY, PLACE), f"941f{KEY_HEX}{PLACE_HEX}c0"),
    (m.ProbeThem(KEY, KEY, PLACE), f"9420{KEY_HEX}{KEY_HEX}{PLACE_HEX}"),
    (m.ProbeKey(KEY, True), f"9321{KEY_HEX}c3"),
]
PROBE = (m.SizeProbe(EIGHT, 8920), f"9315{EIGHT_HEX}cd22d8")
"""The one that is longer than it is."""


@pytest.mark.parametrize(("message", "encoded"), PINNED)
def test_messages_have_these_bytes(message: m.Message, encoded: str) -> None:
    """A frame is 0x01, the length, then the array of number and fields."""
    array = bytes.fromhex(encoded)
    frame = b"\x01" + len(array).to_bytes(2, "little") + array
    assert encode_message(message) == frame
    decoded = decode_message(frame)
    assert decoded == message
    assert type(decoded) is type(message)


def test_every_message_is_pinned() -> None:
    """No type was forgotten."""
    pinned = [*PINNED, PROBE]
    assert {type(message) for message, _ in pinned} == set(m.Message.__args__)


@pytest.mark.parametrize("cut", [0, 1, 7000])
def test_a_probe_is_as_large_as_it_says(cut: int) -> None:
    """Whether its padding is here or was cut off; of no other size it is taken."""
    message, encoded = PROBE
    frame = encode_message(message)
    assert frame[3:].hex() == encoded
    whole = frame + bytes(8920 - len(frame))
    assert decode_message(whole[: 8920 - cut], cut) == message
    for other in (frame, frame + bytes(15), whole + b"\0", whole[:-1] + b"\1"):
        with pytest.raises(CodecError):
            decode_message(other)
    with pytest.raises(CodecError, match="another size"):
        decode_message(whole[: 8920 - cut], cut + 1)


@pytest.mark.parametrize("message", [message for message, _ in PINNED])
def test_padding_that_was_cut_off_counts(message: m.Message) -> None:
    """Nothing but a probe is filled up."""
    frame = encode_message(message)
    assert decode_message(frame, 15) == message
    for padding, cut in ((0, 16), (8, 8), (0, 8900)):
        with pytest.raises(CodecError, match="more than padding"):
            decode_message(frame + bytes(padding), cut)


@pytest.mark.parametrize("message", [message for message, _ in PINNED])
def test_padding_is_ignored_and_nothing_else(message: m.Message) -> None:
    """At most 15 zeros may follow; a cut, more, or anything but zeros is refused."""
    frame = encode_message(message)
    for padding in (1, 15):
        assert decode_message(frame + bytes(padding)) == message
    for other in (
        frame + bytes(16),
        frame + b"\x01",
        frame + bytes(14) + b"\x01",
        *(frame[:size] for size in range(len(frame))),
    ):
        with pytest.raises(CodecError):
            decode_message(other)


@pytest.mark.parametrize("more", [1, 255, 65535])
def test_a_length_beyond_the_frame_is_refused(more: int) -> None:
    """Even if what is there is a whole message."""
    data = encode_message(m.Ping(EIGHT))[3:]
    length = min(len(data) + more, 65535)
    with pytest.raises(CodecError, match="no control frame"):
        decode_message(b"\x01" + length.to_bytes(2, "little") + data)


@pytest.mark.parametrize("first", [0x00, 0x02, 0x45, 0x60, 0xFF])
def test_other_payloads_are_no_control_frames(first: int) -> None:
    """IP packets above all."""
    frame = encode_message(m.Ping(EIGHT))
    with pytest.raises(CodecError):
        decode_message(bytes((first,)) + frame[1:])


def frame_of(plain: Any) -> bytes:
    """Return the frame of any msgpack value."""
    data = msgpack.packb(plain)
    return b"\x01" + len(data).to_bytes(2, "little") + bytes(data)


DIGESTS = bytes(128)


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        [0],
        [19],
        [True, EIGHT],
        [6.0, EIGHT],
        ["6", EIGHT],
        [[6], EIGHT],
        [6],
        [6, EIGHT, 0],
        [6, bytes(7)],
        [6, "01234567"],
        [1, EIGHT, -1, 0, 0, True],
        [1, EIGHT, 0, 2**32, 0, True],
        [1, EIGHT, 0, 0, 0, 1],
        [2, [b""]],
        [2, [b"a", b"a"]],
        [2, [bytes((n,)) for n in range(17)]],
        [2, b"a"],
        [3, bytes(17), DIGESTS],
        [3, b"\x10", DIGESTS],
        [3, b"", DIGESTS[:-8]],
        [3, b"", DIGESTS + EIGHT],
        [3, b"", [EIGHT] * 16],
        [4, b"", bytes(8)],
        [4, b"", bytes(16 * 65)],
        [5, "01234567"],
        [5, bytes(7)],
        [5, bytes(8 * 65)],
        [7, EIGHT, b""],
        [7, EIGHT, bytes(6)],
        [7, EIGHT, ["192.0.2.1", 1, 0]],
        [8, b""],
        [9, -1, None],
        [9, 2**63, None],
        [10, KEY[1:]],
        [12, KEY, KEY, "No", bytes(64)],
        [12, KEY, KEY, "pc", bytes(63)],
        [13, b"", b""],
        [14, "a" * 33, ""],
        [14, "", "a" * 201],
        [14, "", "\x1b[31m"],
        [17, 2, 1, 0],
        [17, True, 1, 0],
        [17, 1, 1, 65537],
        [18, 6, 1, 0, 2, b"abc"],
        [18, 6, 1, 65536, 65536, b"a"],
        [18, 6, 1, 0, 65537, b"a"],
        [23, KEY, [KEY] * 3, [], 1, []],
        [23, KEY, [], [KEY] * 3, 1, []],
        [23, KEY, [], [], 0, []],
        [23, KEY, [], [], 1, [b""]],
        [23, KEY, [], [], 1, [b"a"] * 3],
        [23, KEY, [], [], 1, [bytes(540), bytes(541)]],
        [24, KEY[1:], 1, []],
        [25, 1, 2**32],
        [26, 1, 1, 3601],
        [27, 1, 7],
        [27, 1, True],
    ],
)
def test_other_arrays_are_refused(plain: Any) -> None:
    """Unknown numbers, wrong counts, types, ranges and lengths."""
    with pytest.raises(CodecError):
        decode_message(frame_of(plain))


def test_longer_spellings_are_refused() -> None:
    """A message has one encoding, as a record has."""
    data = b"\x92\xcc\x06" + bytes.fromhex(EIGHT_HEX)
    with pytest.raises(CodecError, match="canonical"):
        decode_message(b"\x01" + len(data).to_bytes(2, "little") + data)


@pytest.mark.parametrize(
    "message",
    [
        m.Hello(EIGHT[1:], 0, 0, 0, True),
        m.Push(tuple(bytes((n,)) for n in range(17))),
        m.Digests(b"", (EIGHT,) * 15),
        m.Digests(b"\x10", (EIGHT,) * 16),
        m.Digests(b"", (EIGHT,) * 15 + (KEY[:9],)),
        m.Leaf(b"", ((EIGHT, EIGHT),) * 65),
        m.Leaf(b"", ((KEY[:7], KEY[:9]),)),
        m.Want((EIGHT,) * 65),
        m.Pong(EIGHT, Endpoint("fe80::1", 1, 2)),
        m.Publish(b""),
        m.Refused("a", "ä"),
        m.Fetch(3, 1, 0),
        m.Chunk(1, 1, 1, 1, b"a"),
        m.Chunk(1, 1, 0, 65536, bytes(1201)),
        m.Accepts((8,), ()),
        m.Accepts((8,), (1, 2, 3, 4)),
        m.Accepts((8,), (2**32,)),
        m.Accepts((-1,), (1,)),
        m.Accepts(tuple(range(9)), (1,)),
        m.RelayOpen(KEY, (KEY,) * 3, (), 1, ()),
        m.RelayOpen(KEY, (), (), 0, ()),
        m.RelayOpen(KEY, (), (), 1, (bytes(1000), bytes(81))),
        m.RelayOffer(KEY, 1, (b"",)),
        m.RelayOpened(1, 1, 3601),
    ],
)
def test_fields_out_of_range_are_not_written(message: m.Message) -> None:
    """What could not be read is not sent."""
    with pytest.raises(CodecError):
        encode_message(message)


def test_the_longest_question_for_a_channel_fits() -> None:
    """With as many relays and datagrams as there may be."""
    for via in range(3):
        relays = (KEY, bytes(32))
        keys = relays[:via], relays[via:]
        datagrams = (bytes(932), bytes(148))
        message = m.RelayOpen(KEY, *keys, 2**32 - 1, datagrams)
        assert len(encode_message(message)) <= 1203


def test_a_message_has_at_most_1200_bytes() -> None:
    """Two records that are each allowed can be too many together."""
    assert encode_message(m.Push((bytes(1100),)))
    fitting = m.Push((bytes(1100), bytes(92)))
    frame = encode_message(fitting)
    assert len(frame) == 3 + 1200
    assert decode_message(frame) == fitting
    with pytest.raises(CodecError, match="too many"):
        encode_message(m.Push((bytes(1100), bytes(93))))


def test_what_is_bounded_by_count_fits() -> None:
    """The fullest leaf, want, and digests are messages that can be sent."""
    path = bytes(16)
    for message in (
        m.Leaf(path, ((EIGHT, EIGHT),) * 64),
        m.Want((EIGHT,) * 64),
        m.Digests(path, (EIGHT,) * 16),
    ):
        assert decode_message(encode_message(message)) == message


def test_document_kinds_may_be_named() -> None:
    """A `Kind` is sent as its number."""
    assert decode_message(encode_message(m.Fetch(Kind.POLICY, 0, 0))) == m.Fetch(
        6, 0, 0
    )


def test_an_empty_chunk_says_there_is_nothing() -> None:
    """No document has no bytes."""
    message = m.Chunk(6, 1, 0, 0, b"")
    assert decode_message(encode_message(message)) == message
