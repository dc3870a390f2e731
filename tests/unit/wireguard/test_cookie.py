"""mac1, mac2, cookies and load: both sides, against vectors and against each other."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshnode.codec.wireguard import CookieReply, parse_handshake
from meshnode.crypto.primitives import mac
from meshnode.errors import BadPacket, DropReason
from meshnode.types import Endpoint
from meshnode.wireguard.cookie import (
    CookieChecker,
    CookieJar,
    LoadMonitor,
    has_last_mac1,
    has_valid_mac1,
    mac1_key,
)

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "wireguard_handshake.json").read_text()
)["transcripts"]
PUBLIC = bytes(range(32))
NONCE = bytes(range(24))
MESSAGE = b"\x01\0\0\0\x78\x56\x34\x12" + bytes(range(140))
REMOTE = Endpoint("192.0.2.1", 51820)


class CountingEntropy:
    """Give different bytes each time, and count the times."""

    def __init__(self) -> None:
        self.draws = 0

    def __call__(self, size: int) -> bytes:
        """Return that many bytes."""
        self.draws += 1
        return bytes([self.draws]) * size


def make_checker() -> CookieChecker:
    """Return a responder."""
    return CookieChecker(PUBLIC, CountingEntropy())


def exchange_cookie(
    checker: CookieChecker, jar: CookieJar, remote: Endpoint, now: float
) -> None:
    """Let the jar send a message and take the checker's reply to it."""
    sent = jar.stamp(MESSAGE, now=now)
    jar.consume_reply(checker.create_reply(sent, remote, nonce=NONCE, now=now), now=now)


# --- mac1 ---


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_stamping_gives_the_oracles_macs(vector: dict[str, Any]) -> None:
    """mac1, and mac2 from the oracle's own cookie reply, equal byte for byte."""
    jar = CookieJar(bytes.fromhex(vector["responder_public"]))
    initiation = bytes.fromhex(vector["initiation"])
    assert jar.stamp(initiation[:-32] + bytes(32), now=1.0) == initiation
    reply = parse_handshake(bytes.fromhex(vector["cookie_reply"]))
    assert isinstance(reply, CookieReply)
    jar.consume_reply(reply, now=2.0)
    expected = bytes.fromhex(vector["initiation_with_cookie"])
    assert jar.stamp(initiation, now=3.0) == expected


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_a_cookie_reply_equals_the_oracles(
    vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the oracle's cookie and nonce, the reply is the oracle's."""
    checker = CookieChecker(
        bytes.fromhex(vector["responder_public"]), CountingEntropy()
    )
    cookie = bytes.fromhex(vector["cookie"])
    monkeypatch.setattr(checker, "_cookie", lambda remote, now: cookie)
    nonce = bytes.fromhex(vector["cookie_nonce"])
    offending = bytes.fromhex(vector["initiation"])
    reply = checker.create_reply(offending, REMOTE, nonce=nonce, now=1.0)
    assert reply.serialise().hex() == vector["cookie_reply"]


def test_mac1_is_for_the_receivers_key() -> None:
    """A message stamped for us is valid for us and for nobody else."""
    sent = CookieJar(PUBLIC).stamp(MESSAGE, now=0.0)
    assert make_checker().has_valid_mac1(sent)
    assert has_valid_mac1(mac1_key(PUBLIC), sent)
    assert not has_valid_mac1(mac1_key(bytes(32)), sent)


def test_every_bit_before_mac2_counts_for_mac1() -> None:
    """Flip any bit up to the end of mac1: invalid. mac2 is not looked at."""
    checker = make_checker()
    sent = CookieJar(PUBLIC).stamp(MESSAGE, now=0.0)
    for bit in range(8 * len(sent)):
        changed = bytearray(sent)
        changed[bit // 8] ^= 1 << bit % 8
        in_mac2 = bit // 8 >= len(sent) - 16
        assert checker.has_valid_mac1(bytes(changed)) is in_mac2, bit


def test_any_bytes_can_be_asked_about() -> None:
    """Messages of every length are simply invalid, empty ones too."""
    checker = make_checker()
    for size in range(200):
        assert not checker.has_valid_mac1(bytes(size))
        assert not checker.has_valid_mac2(bytes(size), REMOTE, now=0.0)


# --- mac2 and cookies ---


def test_without_a_cookie_mac2_is_zero_and_invalid() -> None:
    """The first message cannot prove where it comes from."""
    sent = CookieJar(PUBLIC).stamp(MESSAGE, now=0.0)
    assert sent[-16:] == bytes(16)
    assert not make_checker().has_valid_mac2(sent, REMOTE, now=0.0)


def test_a_cookie_proves_the_next_message() -> None:
    """After one cookie reply the message carries a valid mac2, and a valid mac1."""
    checker, jar = make_checker(), CookieJar(PUBLIC)
    exchange_cookie(checker, jar, REMOTE, now=10.0)
    sent = jar.stamp(MESSAGE, now=15.0)
    assert checker.has_valid_mac1(sent)
    assert checker.has_valid_mac2(sent, REMOTE, now=15.0)


def test_every_bit_counts_for_mac2() -> None:
    """mac2 covers the whole message, mac1 included."""
    checker, jar = make_checker(), CookieJar(PUBLIC)
    exchange_cookie(checker, jar, REMOTE, now=10.0)
    sent = jar.stamp(MESSAGE, now=15.0)
    for bit in range(8 * len(sent)):
        changed = bytearray(sent)
        changed[bit // 8] ^= 1 << bit % 8
        assert not checker.has_valid_mac2(bytes(changed), REMOTE, now=15.0), bit


@pytest.mark.parametrize(
    "elsewhere",
    [
        Endpoint("192.0.2.2", 51820),
        Endpoint("192.0.2.1", 51821),
        Endpoint("2001:db8::1", 51820),
    ],
)
def test_a_cookie_is_bound_to_address_and_port(elsewhere: Endpoint) -> None:
    """It proves nothing for another host, nor for another port of the same host."""
    checker, jar = make_checker(), CookieJar(PUBLIC)
    exchange_cookie(checker, jar, REMOTE, now=10.0)
    sent = jar.stamp(MESSAGE, now=10.0)
    assert checker.has_valid_mac2(sent, REMOTE, now=10.0)
    assert not checker.has_valid_mac2(sent, elsewhere, now=10.0)


def test_the_secret_is_drawn_when_needed_and_replaced_after_120_seconds() -> None:
    """An idle checker draws nothing; one secret serves 120 s and not longer."""
    entropy = CountingEntropy()
    checker, jar = CookieChecker(PUBLIC, entropy), CookieJar(PUBLIC)
    checker.has_valid_mac1(MESSAGE)
    assert entropy.draws == 0
    exchange_cookie(checker, jar, REMOTE, now=10.0)
    sent = jar.stamp(MESSAGE, now=11.0)
    assert checker.has_valid_mac2(sent, REMOTE, now=129.9)
    assert entropy.draws == 1
    assert not checker.has_valid_mac2(sent, REMOTE, now=130.0)
    assert entropy.draws == 2


def test_a_held_cookie_is_used_for_115_seconds() -> None:
    """It is given up before the other side does."""
    checker, jar = make_checker(), CookieJar(PUBLIC)
    exchange_cookie(checker, jar, REMOTE, now=10.0)
    assert jar.stamp(MESSAGE, now=124.9)[-16:] != bytes(16)
    assert jar.stamp(MESSAGE, now=125.0)[-16:] == bytes(16)


def test_a_reply_answers_the_sender_of_an_initiation_or_response() -> None:
    """Its receiver is the sender index of the message; it is never longer."""
    checker = make_checker()
    for size, kind in ((148, 1), (92, 2)):
        sent = CookieJar(PUBLIC).stamp(
            bytes([kind, 0, 0, 0]) + b"\x78\x56\x34\x12" + bytes(size - 8), now=0.0
        )
        reply = checker.create_reply(sent, REMOTE, nonce=NONCE, now=0.0)
        assert reply.receiver == 0x12345678
        assert len(reply.serialise()) == 64 < size


# --- consuming replies ---


def reason_of(jar: CookieJar, reply: CookieReply, now: float) -> DropReason:
    """Return why the reply is refused."""
    with pytest.raises(BadPacket) as caught:
        jar.consume_reply(reply, now=now)
    return caught.value.reason


def test_a_reply_nobody_asked_for_is_refused() -> None:
    """Before we have sent a message there is nothing to answer."""
    sent = CookieJar(PUBLIC).stamp(MESSAGE, now=0.0)
    reply = make_checker().create_reply(sent, REMOTE, nonce=NONCE, now=0.0)
    assert reason_of(CookieJar(PUBLIC), reply, 0.0) is DropReason.UNSOLICITED_COOKIE


def test_one_reply_is_taken_for_each_message() -> None:
    """A second reply, even a good one, waits for the next message."""
    checker, jar = make_checker(), CookieJar(PUBLIC)
    sent = jar.stamp(MESSAGE, now=0.0)
    reply = checker.create_reply(sent, REMOTE, nonce=NONCE, now=0.0)
    jar.consume_reply(reply, now=1.0)
    assert reason_of(jar, reply, 2.0) is DropReason.UNSOLICITED_COOKIE


def test_a_reply_to_an_earlier_message_is_refused() -> None:
    """Only the last mac1 we sent is answered; the true reply is still taken."""
    checker, jar = make_checker(), CookieJar(PUBLIC)
    first = jar.stamp(MESSAGE, now=0.0)
    second = jar.stamp(MESSAGE[:8] + bytes(140), now=5.0)
    late = checker.create_reply(first, REMOTE, nonce=NONCE, now=5.0)
    assert reason_of(jar, late, 5.0) is DropReason.BAD_COOKIE
    jar.consume_reply(
        checker.create_reply(second, REMOTE, nonce=NONCE, now=5.0), now=5.0
    )


def test_a_reply_of_somebody_else_is_refused() -> None:
    """Whoever lacks the peer's public key cannot give us a cookie."""
    jar = CookieJar(PUBLIC)
    sent = jar.stamp(MESSAGE, now=0.0)
    other = CookieChecker(bytes(32), CountingEntropy())
    reply = other.create_reply(sent, REMOTE, nonce=NONCE, now=0.0)
    assert reason_of(jar, reply, 0.0) is DropReason.BAD_COOKIE


def test_forged_replies_change_nothing() -> None:
    """Every flipped bit is refused, keeps the old cookie, and waits for the true."""
    checker, jar = make_checker(), CookieJar(PUBLIC)
    exchange_cookie(checker, jar, REMOTE, now=0.0)
    sent = jar.stamp(MESSAGE, now=1.0)
    reply = checker.create_reply(sent, REMOTE, nonce=NONCE, now=1.0)
    for bit in range(8 * 56):
        changed = bytearray(reply.nonce + reply.encrypted_cookie)
        changed[bit // 8] ^= 1 << bit % 8
        forged = CookieReply(reply.receiver, bytes(changed[:24]), bytes(changed[24:]))
        assert reason_of(jar, forged, 50.0) is DropReason.BAD_COOKIE
    jar.consume_reply(reply, now=60.0)
    assert jar.stamp(MESSAGE, now=174.0)[-16:] != bytes(16)


# --- load ---


def test_load_is_an_eighth_of_the_queue() -> None:
    """127 waiting messages are no load, 128 are."""
    load = LoadMonitor()
    assert not load.is_under_load(0.0)
    load.observe(127, now=0.0)
    assert not load.is_under_load(0.0)
    load.observe(128, now=0.0)
    assert load.is_under_load(0.0)


def test_load_lasts_a_second() -> None:
    """It stays for a second after the queue was last that full."""
    load = LoadMonitor()
    load.observe(500, now=10.0)
    load.observe(0, now=10.5)
    assert load.is_under_load(10.99)
    assert not load.is_under_load(11.0)
    load.observe(128, now=20.0)
    load.observe(128, now=20.9)
    assert load.is_under_load(21.8)


def test_a_mac1_at_the_very_end_is_over_all_before_it() -> None:
    """Of messages without a mac2; any bytes can be asked about."""
    key = mac1_key(bytes(range(32)))
    data = b"anything" * 9
    good = data + mac(key, data)
    assert has_last_mac1(key, good)
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1
        assert not has_last_mac1(key, bytes(bad))
    for short in range(40):
        assert not has_last_mac1(key, good[:short])
