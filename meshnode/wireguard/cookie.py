"""Cookies: proof that an initiator receives at its address (paper 5.3, 5.4.4, 5.4.7).

Every handshake message ends in two MACs. *mac1* proves that the sender knows the
receiver's public key; a message without it is dropped in silence, always. *mac2*
proves that a cookie reached the sender's address; it is asked for, by a cookie
reply, only under load, and not even looked at otherwise.

A cookie reply itself carries no MAC. It is bound to the message it answers by that
message's mac1, which is the associated data of its encryption.
"""

from typing import Final

from meshnode.codec.wireguard import MAC_SIZE, ZERO_MAC, CookieReply
from meshnode.crypto.primitives import (
    blake2s,
    constant_time_equal,
    mac,
    xaead_open,
    xaead_seal,
)
from meshnode.errors import AuthenticationError, BadPacket, DropReason
from meshnode.ports import NEVER, Entropy
from meshnode.types import Endpoint
from meshnode.wireguard.constants import (
    COOKIE_SECRET_LATENCY,
    COOKIE_SECRET_MAX_AGE,
    HANDSHAKE_QUEUE,
    UNDER_LOAD_STICKY,
)

_LABEL_MAC1: Final = b"mac1----"
_LABEL_COOKIE: Final = b"cookie--"
_SECRET_SIZE: Final = 32
_SENDER_INDEX: Final = slice(4, 8)
# Where the MACs stand, counted from the end: mac1, then mac2.
_MACS: Final = 2 * MAC_SIZE
_BEFORE_MACS: Final = slice(None, -_MACS)
_MAC1: Final = slice(-_MACS, -MAC_SIZE)
_BEFORE_MAC2: Final = slice(None, -MAC_SIZE)
_MAC2: Final = slice(-MAC_SIZE, None)

_QUEUE_UNDER_LOAD: Final = HANDSHAKE_QUEUE // 8


def mac1_key(public_key: bytes) -> bytes:
    """Return the key of every mac1 sent to the owner of *public_key*."""
    return blake2s(_LABEL_MAC1 + public_key)


def has_valid_mac1(key: bytes, data: bytes) -> bool:
    """Whether a handshake message ends in the right mac1; *key* is from `mac1_key`.

    Takes any bytes, and the same time wherever the MACs differ.
    """
    return constant_time_equal(mac(key, data[_BEFORE_MACS]), data[_MAC1])


def has_last_mac1(key: bytes, data: bytes) -> bool:
    """Whether *data* ends in the right mac1 over all before it, and has no mac2."""
    return constant_time_equal(mac(key, data[_BEFORE_MAC2]), data[_MAC2])


class CookieChecker:
    """The responder's side: check MACs and hand out cookies. One for the device.

    `public_key` is our static one, 32 bytes. *entropy* gives the secret behind the
    cookies, which is replaced when first needed after 120 s: an idle node draws none.
    """

    def __init__(self, public_key: bytes, entropy: Entropy) -> None:
        self.public_key = public_key
        self._mac1_key = mac1_key(public_key)
        self._cookie_key = blake2s(_LABEL_COOKIE + public_key)
        self._entropy = entropy
        self._secret = b""
        self._secret_born_at = NEVER

    def has_valid_mac1(self, data: bytes) -> bool:
        """Whether the message was made for us; if not, it gets no answer, ever."""
        return has_valid_mac1(self._mac1_key, data)

    def has_valid_mac2(self, data: bytes, remote: Endpoint, *, now: float) -> bool:
        """Whether the message proves, by our cookie, that its sender is at *remote*."""
        if data[_MAC2] == ZERO_MAC:  # no secret is compared: most of a flood ends here
            return False
        expected = mac(self._cookie(remote, now), data[_BEFORE_MAC2])
        return constant_time_equal(expected, data[_MAC2])

    def create_reply(
        self, data: bytes, remote: Endpoint, *, nonce: bytes, now: float
    ) -> CookieReply:
        """Answer an initiation or response, whose mac1 is valid, with a cookie.

        *nonce* is 24 fresh random bytes.
        """
        cookie = self._cookie(remote, now)
        return CookieReply(
            receiver=int.from_bytes(data[_SENDER_INDEX], "little"),
            nonce=nonce,
            encrypted_cookie=xaead_seal(self._cookie_key, nonce, cookie, data[_MAC1]),
        )

    def _cookie(self, remote: Endpoint, now: float) -> bytes:
        if now - self._secret_born_at >= COOKIE_SECRET_MAX_AGE:
            self._secret = self._entropy(_SECRET_SIZE)
            self._secret_born_at = now
        # The text form is canonical, and nobody but us ever looks inside a cookie.
        return mac(self._secret, str(remote).encode("ascii"))


class CookieJar:
    """The initiator's side, one for each peer: stamp MACs, keep the peer's cookie.

    *remote_public* is the peer's static public key, 32 bytes. A cookie reply is
    taken once for each message stamped, and only if it answers the last one.
    """

    def __init__(self, remote_public: bytes) -> None:
        self._mac1_key = mac1_key(remote_public)
        self._cookie_key = blake2s(_LABEL_COOKIE + remote_public)
        self._cookie = b""
        self._cookie_born_at = NEVER
        # The mac1 of the last message, until a cookie reply answers it.
        self._unanswered_mac1: bytes | None = None

    def stamp(self, message: bytes, *, now: float) -> bytes:
        """Return the serialised *message* with mac1 and, if we have a cookie, mac2.

        A cookie serves for 115 s: the peer accepts it for 120, less the way here.
        """
        body = message[_BEFORE_MACS]
        mac1 = mac(self._mac1_key, body)
        self._unanswered_mac1 = mac1
        age = now - self._cookie_born_at
        if age >= COOKIE_SECRET_MAX_AGE - COOKIE_SECRET_LATENCY:
            return body + mac1 + ZERO_MAC
        return body + mac1 + mac(self._cookie, body + mac1)

    def consume_reply(self, reply: CookieReply, *, now: float) -> None:
        """Keep the cookie for later messages; it is no reason to send one now.

        Raises:
            BadPacket: UNSOLICITED_COOKIE if no message of ours waits for one;
                BAD_COOKIE if it does not answer the last. Nothing has changed then:
                a forged reply does not keep the true one out.
        """
        if self._unanswered_mac1 is None:
            raise BadPacket(DropReason.UNSOLICITED_COOKIE)
        try:
            cookie = xaead_open(
                self._cookie_key,
                reply.nonce,
                reply.encrypted_cookie,
                self._unanswered_mac1,
            )
        except AuthenticationError:
            raise BadPacket(DropReason.BAD_COOKIE) from None
        self._cookie = cookie
        self._cookie_born_at = now
        self._unanswered_mac1 = None


class LoadMonitor:
    """Say when handshakes must be proven by a cookie: queue 1/8 full, or lately so."""

    def __init__(self) -> None:
        self._loaded_at = NEVER

    def observe(self, queued: int, *, now: float) -> None:
        """Note that *queued* handshake messages wait."""
        if queued >= _QUEUE_UNDER_LOAD:
            self._loaded_at = now

    def is_under_load(self, now: float) -> bool:
        """Whether the queue was 1/8 full within the last second."""
        return now - self._loaded_at < UNDER_LOAD_STICKY
