"""Bytes of the messages between control and the process that serves applications.

A message is one msgpack array with the type's number first; the rest is strict. What is
to be served is a `ProxyPlan`, which may be large (10,000 members have names): its bytes
are in a sealed memfd beside `Setup`, before the sockets that control has bound.
"""

from typing import Final

import msgpack

from meshnode.codec.arrays import pack_array
from meshnode.codec.links import PLACE, decode_message, encode_message
from meshnode.codec.strict import (
    BOOLEAN,
    PREFIX,
    Kind,
    many,
    octets,
    optional,
    printable,
    record,
    text,
    whole,
)
from meshnode.errors import CodecError
from meshnode.types import Endpoint, Prefix
from meshnode.values import frozen

MAX_MESSAGE_BYTES: Final = 65536
MAX_PLAN_BYTES: Final = 2**24
MAX_LISTENERS: Final = 40
MAX_SOCKETS: Final = MAX_LISTENERS
MAX_DESCRIPTORS: Final = 1 + MAX_SOCKETS
MAX_EXITS: Final = 16
MAX_USERS: Final = 1000
MAX_RULES: Final = 1000
MAX_HEADERS: Final = 50
MAX_UPSTREAM: Final = 16
MAX_MEMBERS: Final = 20_000
MAX_ADDRESSES: Final = 60
"""Of one answer that is learnt; those above are left out."""

MAX_TEXT_BYTES: Final = 800
"""Of one complaint."""

OWN_SOCKET: Final = -1
"""The number of the socket that the process has to bind by itself."""

KEPT_SOCKET: Final = -2
"""That of a socket which the process was given before, by a control before this one."""


@frozen
class MemberName:
    """A member's name, and its overlay addresses (4 and 16 bytes)."""

    name: str
    ipv4: bytes
    ipv6: bytes


@frozen
class PlannedUser:
    """A user, and the hash of the password in its text form."""

    name: str
    known: str

    def __repr__(self) -> str:
        return f"PlannedUser({self.name!r})"


@frozen
class PlannedListener:
    """A listener at *place*, which names it; *kind* is mixed, socks or http.

    *socket* is the place of its socket among those beside the message, `OWN_SOCKET` for
    one to bind, `KEPT_SOCKET` for the one it has. *exits* are the SOCKS5 services to go
    out by, in order; None: this host. *users* is None where nobody is asked who he is.
    """

    place: str
    kind: str
    socket: int = OWN_SOCKET
    exits: tuple[Endpoint, ...] | None = None
    users: tuple[PlannedUser, ...] | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    set_headers: tuple[str, ...] = ()
    remove_headers: tuple[str, ...] = ()


@frozen
class PlannedExit:
    """The service for members: *places* are our overlay addresses and its port.

    It is bound to the *device*. Beyond what is public, members may reach what is in
    *announced*, and never an address of *own*, which are this host's.
    """

    places: tuple[Endpoint, ...]
    device: str
    own: tuple[str, ...] = ()
    announced: tuple[Prefix, ...] = ()


@frozen
class PlannedResolver:
    """The resolver of the network's names, at *places*, our overlay addresses.

    *own* is our name. All other names are asked for at *upstream*, in order; without,
    they are refused; if it *learns*, their addresses are told before an answer leaves.
    """

    own: str
    places: tuple[Endpoint, ...]
    upstream: tuple[Endpoint, ...] = ()
    learns: bool = False


@frozen
class ProxyPlan:
    """Everything that is to be served from now on.

    *overlay* are the prefixes of the network called *network*, IPv4's first; *members*
    its names.
    """

    network: str
    overlay: tuple[Prefix, ...]
    listeners: tuple[PlannedListener, ...] = ()
    exit: PlannedExit | None = None
    members: tuple[MemberName, ...] = ()
    resolver: PlannedResolver | None = None


@frozen
class Setup:
    """Serve the plan of *size* bytes in the memfd beside, and nothing else."""

    size: int


@frozen
class Ask:
    """How much was carried? `Counts` with the same *number* answers."""

    number: int


@frozen
class Started:
    """Another process serves; it knows nothing."""


@frozen
class Problems:
    """What of the plan cannot be served now, and what to do; () if nothing."""

    texts: tuple[str, ...]


@frozen
class Counters:
    """One listener: clients now, since its beginning and refused; bytes both ways.

    *sent* came from clients, *received* went to them.
    """

    place: str
    clients: int
    total: int
    refused: int
    sent: int
    received: int


@frozen
class Counts:
    """The counters of every listener there is."""

    number: int
    listeners: tuple[Counters, ...]


@frozen
class Learn:
    """The answer for *name* says *addresses* for *ttl* seconds; it waits for `Learnt`.

    Rules by which traffic is steered may speak of the name.
    """

    number: int
    name: str
    addresses: tuple[str, ...]
    ttl: int


@frozen
class Learnt:
    """The answer with that number may leave."""

    number: int


ControlMessage = Setup | Ask | Learnt
ProxyMessage = Started | Problems | Counts | Learn

_NUMBER: Final = whole(0, 2**32 - 1)
_COUNT: Final = whole(0, 2**63 - 1)
_PLACE: Final = text(128)
_RULES: Final = many(text(2048), 0, MAX_RULES)
_HEADERS: Final = many(text(1024), 0, MAX_HEADERS)
_USER: Final = record(PlannedUser, printable(64), printable(160))
_LISTENER: Final = record(
    PlannedListener,
    _PLACE,
    text(8),
    whole(KEPT_SOCKET, MAX_SOCKETS - 1),
    optional(many(PLACE, 0, MAX_EXITS)),
    optional(many(_USER, 0, MAX_USERS, by=lambda user: user.name)),
    _RULES,
    _RULES,
    _HEADERS,
    _HEADERS,
)
_EXIT: Final = record(
    PlannedExit,
    many(PLACE, 1, 4),
    printable(15),
    many(printable(60), 0, 1000),
    many(PREFIX, 0, 1000),
)
_RESOLVER: Final = record(
    PlannedResolver,
    printable(64),
    many(PLACE, 1, 4),
    many(PLACE, 0, MAX_UPSTREAM),
    BOOLEAN,
)
_PLAN: Final = record(
    ProxyPlan,
    printable(64),
    many(PREFIX, 0, 4),
    many(_LISTENER, 0, MAX_LISTENERS, by=lambda one: one.place),
    optional(_EXIT),
    many(
        record(MemberName, printable(64), octets(4), octets(16)),
        0,
        MAX_MEMBERS,
        by=lambda one: one.name,
    ),
    optional(_RESOLVER),
)
_FROM_CONTROL: Final[dict[int, tuple[type, Kind]]] = {
    1: (Setup, record(Setup, whole(1, MAX_PLAN_BYTES))),
    2: (Ask, record(Ask, _NUMBER)),
    3: (Learnt, record(Learnt, _NUMBER)),
}
_FROM_PROXY: Final[dict[int, tuple[type, Kind]]] = {
    1: (Started, record(Started)),
    2: (Problems, record(Problems, many(text(MAX_TEXT_BYTES), 0, MAX_LISTENERS))),
    3: (
        Counts,
        record(
            Counts,
            _NUMBER,
            many(
                record(Counters, _PLACE, _COUNT, _COUNT, _COUNT, _COUNT, _COUNT),
                0,
                MAX_LISTENERS,
            ),
        ),
    ),
    4: (
        Learn,
        record(
            Learn,
            _NUMBER,
            printable(255),
            many(printable(45), 1, MAX_ADDRESSES),
            whole(0, 2**32 - 1),
        ),
    ),
}


def encode_plan(plan: ProxyPlan) -> bytes:
    """Return the bytes of *plan*; raises `CodecError` if a field is out of range."""
    try:
        data = pack_array(_PLAN.pack(plan))
    except ValueError as error:
        raise CodecError(f"ProxyPlan: {error}") from None
    if len(data) > MAX_PLAN_BYTES:
        raise CodecError(f"ProxyPlan: longer than {MAX_PLAN_BYTES}")
    return data


def decode_plan(data: bytes) -> ProxyPlan:
    """Return the plan in *data*; raises `CodecError`."""
    if len(data) > MAX_PLAN_BYTES:
        raise CodecError("too long")
    try:
        plain = msgpack.unpackb(
            data, max_array_len=MAX_MEMBERS, max_map_len=0, max_ext_len=0
        )
    except Exception as error:
        # msgpack names its exceptions in part only, and has changed them before.
        raise CodecError(f"no msgpack of ours ({type(error).__name__})") from None
    try:
        plan: ProxyPlan = _PLAN.unpack(plain)
    except ValueError as error:
        raise CodecError(str(error)) from None
    return plan


def encode(message: ControlMessage | ProxyMessage) -> bytes:
    """Return the bytes of *message*; raises `CodecError` if a field is out of range."""
    return encode_message(message, _FROM_CONTROL, _FROM_PROXY)


def decode_from_control(data: bytes) -> ControlMessage:
    """Return the message for the process in *data*; raises `CodecError`."""
    message: ControlMessage = decode_message(
        data, _FROM_CONTROL, max_bytes=MAX_MESSAGE_BYTES
    )
    return message


def decode_from_proxy(data: bytes) -> ProxyMessage:
    """Return the message for control in *data*; raises `CodecError`."""
    message: ProxyMessage = decode_message(
        data, _FROM_PROXY, max_bytes=MAX_MESSAGE_BYTES
    )
    return message
