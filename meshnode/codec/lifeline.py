"""Bytes of the messages between supervisor and control.

A message is one msgpack array: the type's number, then the fields in the order of
the dataclass. Descriptors travel beside a message, never in it. Decoding is strict,
so that neither process can be confused by the other.
"""

import enum
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

import msgpack

from meshnode.errors import CodecError
from meshnode.forwarding import MAX_WORKERS
from meshnode.values import frozen

MAX_MESSAGE_BYTES: Final = 2048
"""The longest message is a `Failed`; the others are far shorter."""

MAX_REASON: Final = 400
"""Characters of the reason of a failure."""

MAX_DESCRIPTORS: Final = 2 * MAX_WORKERS
"""The most descriptors beside a message: a socket of each family for each worker."""


class Direction(enum.Enum):
    """The two ways that packets are carried."""

    EGRESS = "egress"
    INGRESS = "ingress"


@frozen
class Worker:
    """One of the processes that carry packets; its number is 0–15 in its direction."""

    direction: Direction
    number: int = 0

    @classmethod
    def parse(cls, name: str) -> "Worker":
        """Return the worker called *name*; raises ValueError if none can be."""
        direction, dash, number = name.partition("-")
        worker = cls(Direction(direction), int(number) if dash else 0)
        if worker.name != name or not 0 <= worker.number < MAX_WORKERS:
            raise ValueError(f"no worker is called {name!r}")
        return worker

    @property
    def name(self) -> str:
        """How the process and its log are called: "egress", "egress-1" and so on."""
        role = self.direction.value
        return f"{role}-{self.number}" if self.number else role


def workers_of(count: int) -> tuple[Worker, ...]:
    """Return *count* workers for each direction, egress first."""
    return tuple(Worker(way, number) for way in Direction for number in range(count))


@frozen
class Begin:
    """First words of the supervisor: how things stand; the generation of each worker.

    Generations are by the worker's number; `mtu` is in bytes, `up` is that of the TUN
    device.
    """

    egress_generations: tuple[int, ...]
    ingress_generations: tuple[int, ...]
    mtu: int
    up: bool


@frozen
class WorkerStarted:
    """Another process is the worker now; it knows nothing."""

    worker: Worker
    generation: int


@frozen
class LinkChanged:
    """The TUN device has this MTU in bytes and is up or down."""

    mtu: int
    up: bool


@frozen
class Rebound:
    """The answer to `Rebind`: *errno* is 0, and descriptors of sockets are beside.

    Else it says why nothing changed. IPv4's come first, one for each worker of a
    direction; then as many of IPv6, which may be missing.
    """

    errno: int


@frozen
class Rebind:
    """Control asks for sockets on *port*, 0 for a random one, marked *fwmark*."""

    port: int
    fwmark: int


@frozen
class Ready:
    """Control serves, and the workers answered it."""


@frozen
class Failed:
    """Control cannot go on: the exit code (1–125) and line for who started the node."""

    code: int
    reason: str


@frozen
class KeepSocket:
    """A peer is spoken to by the UDP socket beside, on *port*: keep it for us."""

    port: int


@frozen
class DropSocket:
    """Nobody is spoken to any more by the socket on *port*: close it."""

    port: int


@frozen
class WantTls:
    """Control has something to say to the process that speaks TLS: start it."""


@frozen
class WantProxy:
    """Control has something to say to the process of applications: start it."""


@frozen
class WantCarrier:
    """Control has something for the process that carries what is steered: start it."""


SupervisorMessage = Begin | WorkerStarted | LinkChanged | Rebound
ControlMessage = (
    Rebind
    | Ready
    | Failed
    | KeepSocket
    | DropSocket
    | WantTls
    | WantProxy
    | WantCarrier
)

_Check = Callable[[Any], Any]


def _unsigned(greatest: int) -> _Check:
    def check(plain: Any) -> int:
        # `type`, not `isinstance`: True is an int, and must not pass for 1.
        if type(plain) is not int or not 0 <= plain <= greatest:
            raise ValueError(f"not an integer of 0 to {greatest}")
        return plain

    return check


def _boolean(plain: Any) -> bool:
    if type(plain) is not bool:
        raise ValueError("not a boolean")
    return plain


def _exit_code(plain: Any) -> int:
    if type(plain) is not int or not 1 <= plain <= 125:
        raise ValueError("not an exit code")
    return plain


def _reason(plain: Any) -> str:
    if type(plain) is not str or len(plain) > MAX_REASON:
        raise ValueError(f"not a text of at most {MAX_REASON} characters")
    return plain


def _generations(plain: Any) -> tuple[int, ...]:
    if type(plain) not in (list, tuple) or not 1 <= len(plain) <= MAX_WORKERS:
        raise ValueError(f"not generations of 1 to {MAX_WORKERS} workers")
    return tuple([_U64(generation) for generation in plain])


def _worker(plain: Any) -> Worker:
    if type(plain) is Worker:
        plain = plain.name
    if type(plain) is not str:
        raise ValueError("not the name of a worker")
    return Worker.parse(plain)


_U16 = _unsigned(2**16 - 1)
_U32 = _unsigned(2**32 - 1)
_U64 = _unsigned(2**64 - 1)

_FROM_SUPERVISOR: Final[dict[int, tuple[type, tuple[_Check, ...]]]] = {
    1: (Begin, (_generations, _generations, _U16, _boolean)),
    2: (WorkerStarted, (_worker, _U64)),
    3: (LinkChanged, (_U16, _boolean)),
    4: (Rebound, (_U16,)),
}
_FROM_CONTROL: Final[dict[int, tuple[type, tuple[_Check, ...]]]] = {
    1: (Rebind, (_U16, _U32)),
    2: (Ready, ()),
    3: (Failed, (_exit_code, _reason)),
    4: (KeepSocket, (_U16,)),
    5: (DropSocket, (_U16,)),
    6: (WantTls, ()),
    7: (WantProxy, ()),
    8: (WantCarrier, ()),
}


def encode(message: SupervisorMessage | ControlMessage) -> bytes:
    """Return the bytes of *message*.

    Raises:
        CodecError: if a field is out of range.
    """
    for catalogue in (_FROM_SUPERVISOR, _FROM_CONTROL):
        for number, (of, checks) in catalogue.items():
            if type(message) is of:
                return _encode(number, message, checks)
    raise CodecError(f"{type(message).__name__} is no message of the lifeline")


def decode_from_supervisor(data: bytes) -> SupervisorMessage:
    """Return the message for control in *data*; raises `CodecError`."""
    message: SupervisorMessage = _decode(data, _FROM_SUPERVISOR)
    return message


def decode_from_control(data: bytes) -> ControlMessage:
    """Return the message for the supervisor in *data*; raises `CodecError`."""
    message: ControlMessage = _decode(data, _FROM_CONTROL)
    return message


def _encode(number: int, message: Any, checks: tuple[_Check, ...]) -> bytes:
    plain: list[Any] = [number]
    try:
        for field, check in zip(fields(message), checks, strict=True):
            value = check(getattr(message, field.name))
            plain.append(value.name if isinstance(value, Worker) else value)
    except ValueError as error:
        raise CodecError(f"{type(message).__name__}: {error}") from None
    packed: bytes = msgpack.packb(plain)
    return packed


def _decode(data: bytes, catalogue: dict[int, tuple[type, tuple[_Check, ...]]]) -> Any:
    try:
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError("message too long")
        number, *plain = _parse(data)
        if type(number) is not int or number not in catalogue:
            raise ValueError("unknown type of message")
        of, checks = catalogue[number]
        pairs = zip(checks, plain, strict=True)
        return of(*[check(value) for check, value in pairs])
    except (ValueError, RecursionError) as error:
        raise CodecError(str(error)) from None


def _parse(data: bytes) -> list[Any]:
    plain = msgpack.unpackb(
        data,
        max_str_len=4 * MAX_REASON,
        max_bin_len=0,
        max_array_len=MAX_WORKERS,
        max_map_len=0,
    )
    if type(plain) is not list or not plain:
        raise ValueError("not a list with a number first")
    return plain
