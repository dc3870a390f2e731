"""Admission of handshake messages before they cost control anything."""

import pytest

from meshnode.codec.probes import PROBE_SIZE, PROBE_TYPE
from meshnode.crypto.primitives import mac
from meshnode.dataplane.gate import (
    COOKIES_PER_MESSAGE,
    DEFAULT_BURST,
    DEFAULT_RATE,
    MAX_INTRODUCTION,
    MIN_INTRODUCTION,
    HandshakeGate,
)
from meshnode.errors import DropReason
from meshnode.wireguard.cookie import mac1_key

OURS = bytes(range(32))
HOST, PORT = "192.0.2.1", 51820
SIZES = {1: 148, 2: 92, 3: 64}


def message(kind: int, *, key: bytes = OURS, mac2: bytes = bytes(16)) -> bytes:
    """Build a message that is right as far as the gate can see."""
    if kind == 3:
        return kind.to_bytes(4, "little") + bytes(60)
    body = kind.to_bytes(4, "little") + bytes(SIZES[kind] - 36)
    return body + mac(mac1_key(key), body) + mac2


def gate(burst: int = 4) -> HandshakeGate:
    """Build a gate for our key that admits ten messages a second."""
    built = HandshakeGate(rate=10.0, burst=burst)
    built.set_identity(OURS)
    return built


def flood(built: HandshakeGate, data: bytes, host: str = HOST, now: float = 0.0) -> int:
    """Offer *data* until it is refused; return how often it was admitted."""
    admitted = 0
    while (reason := built.admit(data, host, PORT, now=now)) is None:
        admitted += 1
        assert admitted < 1000
    assert reason is DropReason.RATE_LIMITED
    return admitted


@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_right_messages_pass(kind: int, wrap: type) -> None:
    """Each of the three types passes, as bytes and as a view."""
    assert gate().admit(wrap(message(kind)), HOST, PORT, now=0.0) is None


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_every_other_length_is_refused(kind: int) -> None:
    """A message one byte or more off its type's length is not looked at."""
    data = message(kind) + bytes(8)
    for length in range(len(data) + 1):
        if length == SIZES[kind]:
            continue
        reason = gate().admit(data[:length], HOST, PORT, now=0.0)
        assert reason is DropReason.BAD_LENGTH, length


@pytest.mark.parametrize("kind", [0, 4, 5, 255, 0x101, 0x01000001, 2**32 - 1])
def test_other_types_are_refused(kind: int) -> None:
    """Data, unknown types and non-zero reserved bytes are no handshakes."""
    data = kind.to_bytes(4, "little") + message(1)[4:]
    assert gate().admit(data, HOST, PORT, now=0.0) is DropReason.BAD_TYPE


@pytest.mark.parametrize("kind", [1, 2])
def test_mac1_is_checked(kind: int) -> None:
    """A message for another key, or changed before or in mac1, is refused."""
    other = message(kind, key=bytes(32))
    assert gate().admit(other, HOST, PORT, now=0.0) is DropReason.BAD_MAC1
    for place in (4, SIZES[kind] - 33, SIZES[kind] - 32, SIZES[kind] - 17):
        data = bytearray(message(kind))
        data[place] ^= 1
        assert gate().admit(bytes(data), HOST, PORT, now=0.0) is DropReason.BAD_MAC1


def test_mac2_is_not_covered_by_mac1() -> None:
    """Only control can judge a mac2, so any passes."""
    data = message(1, mac2=b"\xff" * 16)
    assert gate().admit(data, HOST, PORT, now=0.0) is None


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_without_identity_nothing_passes(kind: int) -> None:
    """Before a key is set, and after it is taken away, all are refused."""
    fresh = HandshakeGate()
    refused = DropReason.NO_IDENTITY
    assert fresh.admit(message(kind), HOST, PORT, now=0.0) is refused
    fresh.set_identity(OURS)
    assert fresh.admit(message(kind), HOST, PORT, now=0.0) is None
    fresh.set_identity(b"")
    assert fresh.admit(message(kind), HOST, PORT, now=0.0) is refused


def test_a_new_identity_replaces_the_old() -> None:
    """After a change of keys only messages to the new one pass."""
    built = gate()
    built.set_identity(bytes(32))
    assert built.admit(message(1), HOST, PORT, now=0.0) is DropReason.BAD_MAC1
    assert built.admit(message(1, key=bytes(32)), HOST, PORT, now=0.0) is None


def test_the_rate() -> None:
    """A full bucket admits its burst, then one message each 1/rate seconds."""
    proven = message(1, mac2=b"\1" * 16)
    built = gate(burst=4)
    assert flood(built, proven) == 4
    assert flood(built, proven, now=0.05) == 0
    assert flood(built, proven, now=0.11) == 1
    assert flood(built, proven, now=0.35) == 2
    assert flood(built, proven, now=1000.0) == 4


def test_time_that_stands_or_goes_back_gives_no_tokens() -> None:
    """Whatever the clock does, a flood at one instant stays refused."""
    proven = message(1, mac2=b"\1" * 16)
    built = gate(burst=2)
    assert flood(built, proven, now=5.0) == 2
    assert flood(built, proven, now=5.0) == 0
    assert flood(built, proven, now=4.0) == 0
    assert flood(built, proven, now=5.0) == 0
    assert flood(built, proven, now=5.11) == 1


def test_strangers_have_twice_the_rate() -> None:
    """Above the rate control only sends them cookies, which is cheap."""
    built = gate(burst=4)
    assert flood(built, message(1)) == 4
    assert flood(built, message(1), now=0.11) == 2
    assert flood(built, message(1), now=0.165) == 1


def test_load_is_told_when_strangers_exceed_the_rate() -> None:
    """Load begins above the rate that control answers in full, and is told anew."""
    built = gate(burst=4)
    assert not built.poll_load(now=0.0)
    for _ in range(2):
        assert built.admit(message(1), HOST, PORT, now=0.0) is None
    assert not built.poll_load(now=0.0)
    flood(built, message(1))
    assert built.poll_load(now=0.0)
    assert not built.poll_load(now=0.6), "nothing came since"
    flood(built, message(1), now=0.7)
    assert built.poll_load(now=0.7)
    flood(built, message(1), now=1.0)
    assert not built.poll_load(now=1.0), "told half a second ago"
    assert built.poll_load(now=1.2)


@pytest.mark.parametrize("mac2", [b"\1" * 16, bytes(16)])
def test_others_do_not_make_load(mac2: bytes) -> None:
    """Messages with a cookie and those of known peers need no further proof."""
    built = gate(burst=4)
    if mac2 == bytes(16):
        built.set_known_sources({(HOST, PORT)})
    flood(built, message(1, mac2=mac2))
    assert not built.poll_load(now=0.0)


def test_time_that_goes_back_takes_no_tokens() -> None:
    """A bucket that has tokens keeps them whatever the clock does."""
    built = gate(burst=3)
    assert built.admit(message(1), HOST, PORT, now=1000.0) is None
    assert flood(built, message(1), now=0.0) == 2


def test_classes_do_not_starve_each_other() -> None:
    """Each class still has its whole burst when the others are exhausted."""
    known, cookied = message(1), message(1, mac2=b"\x01" * 16)
    built = gate(burst=4)
    built.set_known_sources(frozenset({("198.51.100.7", PORT)}))
    assert flood(built, message(1)) == 4
    assert flood(built, message(3)) == 0
    assert flood(built, cookied) == 4
    assert flood(built, known, host="198.51.100.7") == 4
    assert flood(built, cookied, host="198.51.100.7") == 0


def test_a_known_source_is_host_and_port() -> None:
    """Another port of a peer's host is a stranger."""
    built = gate(burst=1)
    built.set_known_sources(frozenset({(HOST, PORT + 1)}))
    assert flood(built, message(1)) == 1
    assert built.admit(message(1), HOST, PORT + 1, now=0.0) is None


def test_known_sources_may_change_in_place() -> None:
    """A live set is asked each time, so roaming needs no copy."""
    sources: set[tuple[str, int]] = set()
    built = gate(burst=1)
    built.set_known_sources(sources)
    assert flood(built, message(1)) == 1
    sources.add((HOST, PORT))
    assert built.admit(message(1), HOST, PORT, now=0.0) is None


def test_a_cookie_reply_has_no_mac2() -> None:
    """The end of a cookie reply is a tag, and opens no other class."""
    built = gate(burst=1)
    reply = message(3)[:-16] + b"\xff" * 16
    assert flood(built, message(1)) == 1
    assert flood(built, reply) == 0


def test_bad_messages_spend_no_tokens() -> None:
    """A flood without mac1 leaves the buckets full."""
    built = gate(burst=4)
    for _ in range(100):
        built.admit(message(1, key=bytes(32)), HOST, PORT, now=0.0)
        built.admit(message(1)[:-1], HOST, PORT, now=0.0)
    assert flood(built, message(1)) == 4


def introduction(size: int = 300, *, key: bytes = OURS) -> bytes:
    """Build a datagram of type 7 that is right as far as the gate can see."""
    body = (7).to_bytes(4, "little") + bytes(size - 20)
    return body + mac(mac1_key(key), body)


@pytest.mark.parametrize("size", [MIN_INTRODUCTION, 300, MAX_INTRODUCTION])
@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_introductions_pass(size: int, wrap: type) -> None:
    """Type 7 of every length allowed, as bytes and as a view."""
    assert gate().admit(wrap(introduction(size)), HOST, PORT, now=0.0) is None


@pytest.mark.parametrize("size", [20, MIN_INTRODUCTION - 1, MAX_INTRODUCTION + 1, 9999])
def test_introductions_of_other_lengths_are_refused(size: int) -> None:
    """What cannot be one is not looked at, however right its mac1."""
    reason = gate().admit(introduction(size), HOST, PORT, now=0.0)
    assert reason is DropReason.BAD_LENGTH


def test_the_limits_of_introductions() -> None:
    """Type, ephemeral key with tag, one byte, mac1; and what every path carries."""
    assert (MIN_INTRODUCTION, MAX_INTRODUCTION) == (4 + 48 + 1 + 16, 1280)


@pytest.mark.parametrize("place", [4, 100, 283, 284, 299])
def test_mac1_of_introductions_is_checked(place: int) -> None:
    """It is the last 16 bytes, over all before them, under the key of handshakes."""
    data = bytearray(introduction(300))
    data[place] ^= 1
    assert gate().admit(bytes(data), HOST, PORT, now=0.0) is DropReason.BAD_MAC1
    other = introduction(key=bytes(32))
    assert gate().admit(other, HOST, PORT, now=0.0) is DropReason.BAD_MAC1


def test_without_identity_no_introduction_passes() -> None:
    """There is nobody to introduce oneself to."""
    reason = HandshakeGate().admit(introduction(), HOST, PORT, now=0.0)
    assert reason is DropReason.NO_IDENTITY


def test_introductions_leave_handshakes_of_strangers_their_half() -> None:
    """However many come, from however known a place, the rest of the tokens stays."""
    built = gate(burst=8)
    built.set_known_sources({(HOST, PORT)})
    assert flood(built, introduction()) == 4
    assert flood(built, message(1), host="203.0.113.1") == 4


def test_introductions_share_the_tokens_of_strangers() -> None:
    """A flood of handshakes leaves nothing: control gets no more work by type 7."""
    built = gate(burst=8)
    assert flood(built, message(1)) == 8
    assert flood(built, introduction()) == 0
    # Strangers have twice ten a second, and introductions the half of it.
    assert flood(built, introduction(), now=0.21) == 4
    assert flood(built, introduction(), now=0.42) == 2


def test_refused_introductions_cost_no_token() -> None:
    """Who does not know our key cannot use up what others need."""
    built = gate(burst=8)
    for _ in range(50):
        built.admit(introduction(key=bytes(32)), HOST, PORT, now=0.0)
    assert flood(built, introduction()) == 4


def test_introductions_are_no_load() -> None:
    """They cannot be asked for cookies, so they make nobody else be asked."""
    built = gate()
    flood(built, introduction())
    assert not built.poll_load(now=0.0)


def test_several_workers_share_the_rates() -> None:
    """However a flood is spread over them, control gets no more of it."""
    gates = [HandshakeGate.one_of(4) for _ in range(4)]
    for one in gates:
        one.set_identity(OURS)
    assert sum(flood(one, message(1)) for one in gates) == DEFAULT_BURST
    later = [flood(one, message(1), now=0.1) for one in gates]
    assert sum(later) == COOKIES_PER_MESSAGE * DEFAULT_RATE * 0.1


PROBE = PROBE_TYPE.to_bytes(4, "little").ljust(PROBE_SIZE, b"x")


def test_probes_pass_by_their_length_alone() -> None:
    """Whose they are, the gate cannot know; without an identity they are nobody's."""
    built = gate()
    assert built.admit(PROBE, HOST, PORT, now=0.0) is None
    for data in (PROBE[:-1], PROBE + b"x", PROBE[:4]):
        assert built.admit(data, HOST, PORT, now=9.0) is DropReason.BAD_LENGTH
    built.set_identity(b"")
    assert built.admit(PROBE, HOST, PORT, now=9.0) is DropReason.NO_IDENTITY


def test_a_flood_of_probes_costs_nobody_else_anything() -> None:
    """They have their own tokens, and load is no matter of theirs."""
    built = gate(burst=8)
    assert flood(built, PROBE) == 2
    assert flood(built, message(1)) == 8
    assert built.admit(PROBE, HOST, PORT, now=0.1) is None
    other = gate(burst=8)
    flood(other, message(1))
    assert flood(other, PROBE) == 2
