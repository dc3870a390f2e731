"""What a SOCKS server hears and says, as values: versions 4, 4a and 5.

SOCKS4: the protocol of NEC's `SOCKS4.protocol`, with names by the extension 4a.
SOCKS5: RFC 1928, and RFC 1929 for user and password.
"""

import struct
from dataclasses import field
from ipaddress import IPv4Address
from typing import Final

from meshnode.codec.socks import NOWHERE, Command, encode_address
from meshnode.proxy.outlets import Refusal
from meshnode.types import Endpoint, Target
from meshnode.values import frozen

SOCKS4: Final = 4
SOCKS5: Final = 5

NO_AUTHENTICATION: Final = 0
USER_AND_PASSWORD: Final = 2
NO_METHOD: Final = 0xFF

LOGIN_VERSION: Final = 1
"""Of the negotiation of RFC 1929."""

GENERAL_FAILURE: Final = 1
COMMAND_UNSUPPORTED: Final = 7
ADDRESS_UNSUPPORTED: Final = 8
_SUCCEEDED: Final = 0
_GRANTED_4: Final = 90
_REJECTED_4: Final = 91

REPLY_CODES: Final = {
    Refusal.FAILED: GENERAL_FAILURE,
    Refusal.FORBIDDEN: 2,
    Refusal.NETWORK_UNREACHABLE: 3,
    Refusal.HOST_UNREACHABLE: 4,
    # Of names RFC 1928 says nothing; a host without an address cannot be reached.
    Refusal.NO_SUCH_NAME: 4,
    Refusal.REFUSED: 5,
    # "TTL expired" is what others say, too, when time was up.
    Refusal.TIMED_OUT: 6,
    Refusal.UNSUPPORTED: COMMAND_UNSUPPORTED,
    Refusal.BUSY: GENERAL_FAILURE,
}
"""The code of SOCKS5 for each refusal. SOCKS4 has one for all."""

REFUSALS: Final = {
    GENERAL_FAILURE: Refusal.FAILED,
    2: Refusal.FORBIDDEN,
    3: Refusal.NETWORK_UNREACHABLE,
    4: Refusal.HOST_UNREACHABLE,
    5: Refusal.REFUSED,
    6: Refusal.TIMED_OUT,
    COMMAND_UNSUPPORTED: Refusal.UNSUPPORTED,
    ADDRESS_UNSUPPORTED: Refusal.UNSUPPORTED,
}
"""What a code of SOCKS5 means, said by another proxy."""


@frozen
class Login:
    """Who a client says it is."""

    user: str
    password: str = field(repr=False)


@frozen
class Request:
    """What a client wants: `version` is 4 or 5, the host of `target` is checked."""

    version: int
    command: Command
    target: Target


def encode_granted(request: Request, place: Endpoint) -> bytes:
    """Return the answer that it is done; *place* is the address that goes with it."""
    if request.version == SOCKS4:
        return _encode_4(_GRANTED_4, place)
    return _encode_5(_SUCCEEDED, place)


def encode_refused(request: Request, refusal: Refusal) -> bytes:
    """Return the answer that it cannot be done."""
    if request.version == SOCKS4:
        return encode_rejected_4()
    return encode_failed_5(REPLY_CODES[refusal])


def encode_failed_5(code: int) -> bytes:
    """Return the answer of SOCKS5 with the reason *code*, 1–255."""
    return _encode_5(code, NOWHERE)


def encode_rejected_4() -> bytes:
    """Return the answer of SOCKS4 to what cannot be done."""
    return _encode_4(_REJECTED_4, NOWHERE)


def encode_method(method: int) -> bytes:
    """Return the choice of a method, one of those above."""
    return bytes([SOCKS5, method])


def encode_verdict(*, is_known: bool) -> bytes:
    """Return whether the login was right (RFC 1929, 2)."""
    return bytes([LOGIN_VERSION, 0 if is_known else 1])


def _encode_5(code: int, place: Endpoint) -> bytes:
    return bytes([SOCKS5, code, 0]) + encode_address(Target(place.host, place.port))


def _encode_4(code: int, place: Endpoint) -> bytes:
    host = place.host if place.version == 4 else NOWHERE.host
    return struct.pack(">BBH", 0, code, place.port) + IPv4Address(host).packed
