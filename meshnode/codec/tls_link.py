"""Bytes of the messages between control and the process that speaks TLS.

A message is one msgpack array with the type's number first; the rest is strict. The
sockets of a `Dial` travel beside it, one for each attempt, in order.
"""

from typing import Final

from meshnode.codec.links import PLACE, decode_message, encode_message
from meshnode.codec.strict import BOOLEAN, Kind, many, octets, record, text, whole
from meshnode.types import Endpoint
from meshnode.values import frozen

MAX_MESSAGE_BYTES: Final = 4096
MAX_ATTEMPTS: Final = 8
"""Of one `Dial`."""

MAX_REASON_BYTES: Final = 1200


@frozen
class Setup:
    """Control begins: what was dialled before is to end. *port* is our UDP port."""

    port: int


@frozen
class Attempt:
    """Connect to *through*, and if that is a proxy, ask it for *target*."""

    through: Endpoint
    target: Endpoint


@frozen
class Dial:
    """Keep a connection to the server with the WireGuard key *key*, until told else.

    *scheme* is that of the proxy, "http" or "socks5", or "".
    """

    key: bytes
    scheme: str
    user: str
    password: str
    attempts: tuple[Attempt, ...]

    def __repr__(self) -> str:
        return f"Dial(key={self.key!r}, attempts={self.attempts!r})"


@frozen
class HangUp:
    """The connection is not wanted any more."""

    key: bytes


@frozen
class Proof:
    """The answer to `Prove`; b"" if the question was not for us."""

    number: int
    proof: bytes


@frozen
class Started:
    """Another process speaks TLS; it knows nothing."""


@frozen
class Connected:
    """The server with this key is behind 127.0.0.1:*port* (UDP) from now on."""

    key: bytes
    port: int


@frozen
class Lost:
    """There is no connection to the server any more, or none could be had.

    *is_impostor* if somebody else answered in its place.
    """

    key: bytes
    reason: str
    is_impostor: bool


@frozen
class Prove:
    """A client asks who we are: the challenge, and the hash of our certificate."""

    number: int
    sealed: bytes
    certificate_hash: bytes


ControlMessage = Setup | Dial | HangUp | Proof
TlsMessage = Started | Connected | Lost | Prove

_PORT: Final = whole(1, 65535)
_KEY: Final = octets(32)
_FROM_CONTROL: Final[dict[int, tuple[type, Kind]]] = {
    1: (Setup, record(Setup, _PORT)),
    2: (
        Dial,
        record(
            Dial,
            _KEY,
            text(8),
            text(255),
            text(255),
            many(record(Attempt, PLACE, PLACE), 1, MAX_ATTEMPTS),
        ),
    ),
    3: (HangUp, record(HangUp, _KEY)),
    4: (Proof, record(Proof, whole(0, 2**32 - 1), octets(0, 16))),
}
_FROM_TLS: Final[dict[int, tuple[type, Kind]]] = {
    1: (Started, record(Started)),
    2: (Connected, record(Connected, _KEY, _PORT)),
    3: (Lost, record(Lost, _KEY, text(MAX_REASON_BYTES), BOOLEAN)),
    4: (Prove, record(Prove, whole(0, 2**32 - 1), octets(0, 200), octets(32))),
}


def encode(message: ControlMessage | TlsMessage) -> bytes:
    """Return the bytes of *message*; raises `CodecError` if a field is out of range."""
    return encode_message(message, _FROM_CONTROL, _FROM_TLS)


def decode_from_control(data: bytes) -> ControlMessage:
    """Return the message for the TLS process in *data*; raises `CodecError`."""
    message: ControlMessage = decode_message(
        data, _FROM_CONTROL, max_bytes=MAX_MESSAGE_BYTES
    )
    return message


def decode_from_tls(data: bytes) -> TlsMessage:
    """Return the message for control in *data*; raises `CodecError`."""
    message: TlsMessage = decode_message(data, _FROM_TLS, max_bytes=MAX_MESSAGE_BYTES)
    return message
