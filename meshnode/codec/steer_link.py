"""Bytes of the messages between control and the process that carries what is steered.

A message is one msgpack array with the type's number first; the rest is strict. The
sockets of `OpenDoor` travel beside it, in the order of their kinds.
"""

from typing import Any, Final

from meshnode.codec.links import decode_message, encode_message
from meshnode.codec.strict import Kind, many, record, text, whole
from meshnode.steering import MAX_DOORS
from meshnode.types import Target
from meshnode.values import frozen

MAX_MESSAGE_BYTES: Final = 4096
MAX_DESCRIPTORS: Final = 4
"""Of one door: TCP and UDP, IPv4 and IPv6."""

MAX_PLACES: Final = 4
_MAX_TARGET: Final = 280

TCP: Final = "tcp"
UDP: Final = "udp"


@frozen
class OpenDoor:
    """What is handed in at this door leaves by the first of *places* that answers.

    *scheme* is "socks5" or "http". *sockets* says of each socket beside the message
    whether it is "tcp" or "udp"; none if the door has them already. Connections that
    are there go on as they are.
    """

    number: int
    scheme: str
    places: tuple[Target, ...]
    user: str
    password: str
    sockets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"OpenDoor(number={self.number}, places={self.places!r})"


@frozen
class CloseDoor:
    """Nothing is handed in there any more."""

    number: int


@frozen
class Started:
    """Another process carries; it knows nothing."""


@frozen
class WantSocket:
    """Give me a UDP socket of IP *version* that may have an address of others."""

    number: int
    version: int


@frozen
class Answer:
    """The answer to `WantSocket`: the socket is beside, or *reason* says why not."""

    number: int
    reason: str


ControlMessage = OpenDoor | CloseDoor | Answer
CarrierMessage = Started | WantSocket

_NUMBER: Final = whole(0, 2**32 - 1)
_DOOR_NUMBER: Final = whole(1, MAX_DOORS)


def _unpack_target(plain: Any) -> Target:
    if type(plain) is not str or len(plain) > _MAX_TARGET:
        raise ValueError("not a place")
    host, _, port = plain.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5
    if not is_port or not 1 <= int(port) <= 65535:
        raise ValueError("not a port")
    target = Target(host.removeprefix("[").removesuffix("]"), int(port))
    if str(target) != plain:
        raise ValueError("not the usual form of a place")
    return target


def _sockets(values: Any) -> tuple[str, ...]:
    if type(values) not in (list, tuple) or len(values) > MAX_DESCRIPTORS:
        raise ValueError("not the kinds of a few sockets")
    if any(one not in (TCP, UDP) for one in values):
        raise ValueError("not the kind of a socket")
    return tuple(values)


_PLACES: Final = many(Kind(str, _unpack_target), 0, MAX_PLACES)
_FROM_CONTROL: Final[dict[int, tuple[type, Kind]]] = {
    1: (
        OpenDoor,
        record(
            OpenDoor,
            _DOOR_NUMBER,
            text(8),
            _PLACES,
            text(255),
            text(255),
            Kind(lambda values: list(_sockets(values)), _sockets),
        ),
    ),
    2: (CloseDoor, record(CloseDoor, _DOOR_NUMBER)),
    3: (Answer, record(Answer, _NUMBER, text(400))),
}
_FROM_CARRIER: Final[dict[int, tuple[type, Kind]]] = {
    1: (Started, record(Started)),
    2: (WantSocket, record(WantSocket, _NUMBER, whole(4, 6))),
}


def encode(message: ControlMessage | CarrierMessage) -> bytes:
    """Return the bytes of *message*; raises `CodecError` if a field is out of range."""
    return encode_message(message, _FROM_CONTROL, _FROM_CARRIER)


def decode_from_control(data: bytes) -> ControlMessage:
    """Return the message for the process in *data*; raises `CodecError`."""
    message: ControlMessage = decode_message(
        data, _FROM_CONTROL, max_bytes=MAX_MESSAGE_BYTES
    )
    return message


def decode_from_carrier(data: bytes) -> CarrierMessage:
    """Return the message for control in *data*; raises `CodecError`."""
    message: CarrierMessage = decode_message(
        data, _FROM_CARRIER, max_bytes=MAX_MESSAGE_BYTES
    )
    return message
