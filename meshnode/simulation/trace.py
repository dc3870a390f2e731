"""What happened in a simulated world: every datagram, every note, and their hash.

The hash is over all of it, in order. So two runs of a seed that agree in it agreed
in every byte sent and in every moment.
"""

import enum
from collections import deque
from dataclasses import field
from typing import Final

from meshnode.codec.channels import CHANNEL_TYPE, HEADER_SIZE
from meshnode.codec.probes import PROBE_TYPE
from meshnode.codec.wireguard import (
    COOKIE_REPLY_TYPE,
    DATA_HEADER,
    DATA_OVERHEAD,
    DATA_TYPE,
    DATA_TYPES,
    INITIATION_TYPE,
    MAC_SIZE,
    RESPONSE_TYPE,
    message_type,
)
from meshnode.crypto.primitives import blake2s
from meshnode.dataplane.gate import INTRODUCTION_TYPE
from meshnode.types import Endpoint
from meshnode.values import frozen

_NAMES: Final = {
    INITIATION_TYPE: "initiation",
    RESPONSE_TYPE: "response",
    COOKIE_REPLY_TYPE: "cookie",
    INTRODUCTION_TYPE: "introduction",
    PROBE_TYPE: "probe",
}

TTL: Final = 64
"""What hosts send with unless they choose otherwise."""


class Mark(enum.Enum):
    """What happened to a datagram on its way; the value is how the story says it."""

    NONE = ""
    LOST = "lost"
    DROPPED = "dropped by the test"
    UNREACHABLE = "unreachable"
    TOO_BIG = "larger than the link's MTU"
    TTL = "its TTL ran out"
    REFUSED = "refused by a NAT"
    NO_SUCH_ADDRESS = "nobody has this address"
    DEAF = "the host is not running"
    DUPLICATE = "duplicate"
    CORRUPT = "corrupt"
    FORGED = "forged"


LOSSES: Final = frozenset(
    {
        Mark.LOST,
        Mark.DROPPED,
        Mark.UNREACHABLE,
        Mark.TOO_BIG,
        Mark.TTL,
        Mark.REFUSED,
        Mark.NO_SUCH_ADDRESS,
        Mark.DEAF,
    }
)


@frozen
class Flight:
    """One copy of a datagram under way.

    `sender` is the host that it comes from, or the NAT that passed it on last, "*" for
    an attacker; `receiver` is the host or NAT it comes to next. `origin` is the host
    that made the bytes, if they are still as it made them: a replay by the attacker
    keeps it, damage and forgery have none. `ttl` is how many routers it may come to.
    """

    sender: str
    receiver: str
    data: bytes = field(repr=False)
    source: Endpoint
    destination: Endpoint
    sent_at: float
    origin: str | None
    ttl: int = TTL


@frozen
class Row:
    """One line of the story: a datagram (`receiver` is set) or a note on a host.

    `at` is world time; for a datagram, when it arrived or was lost.
    """

    at: float
    sender: str
    receiver: str
    label: str
    mark: Mark = Mark.NONE
    sent_at: float = 0.0


def describe(data: bytes) -> str:
    """Name a datagram: `initiation`, `data #3`, `keepalive #4`, `garbage (7 B)`.

    Data under AES-256-GCM is `AES data #3`, and on its way over a relay
    `relayed data #3`.
    """
    kind = message_type(data)
    if kind == CHANNEL_TYPE and len(data) >= HEADER_SIZE:
        content = data[HEADER_SIZE:]
        nested = message_type(content) == CHANNEL_TYPE
        return f"relayed {'relayed' if nested else describe(content)}"
    if kind in _NAMES:
        return _NAMES[kind]
    if kind in DATA_TYPES and len(data) >= DATA_OVERHEAD:
        what = "keepalive" if len(data) == DATA_OVERHEAD else "data"
        cipher = "" if kind == DATA_TYPE else "AES "
        return f"{cipher}{what} #{DATA_HEADER.unpack_from(data)[2]}"
    return f"garbage ({len(data)} B)"


def authentic_part(data: bytes) -> bytes:
    """Return what of a datagram decides whether it is accepted: all but mac2.

    The number of a relay channel is not of that, nor that it came by one.
    """
    if message_type(data) == CHANNEL_TYPE:
        data = data[HEADER_SIZE:]
    if message_type(data) in (INITIATION_TYPE, RESPONSE_TYPE):
        return data[:-MAC_SIZE]
    return data


class Trace:
    """The rows of a world, the last *keep* of them or all, and the hash of all."""

    def __init__(self, keep: int | None = None) -> None:
        self.rows: deque[Row] = deque(maxlen=keep)
        self.sent_bytes = 0
        self._digest = b""

    @property
    def digest(self) -> str:
        """The hash of everything so far, 64 hexadecimal digits."""
        return self._digest.hex()

    def sent(self, flight: Flight) -> None:
        """Take a datagram's bytes and moment into the hash."""
        self.sent_bytes += len(flight.data)
        self._mix(f"{flight.sent_at!r} {flight.source} {flight.destination}", flight)

    def landed(self, flight: Flight, at: float, mark: Mark) -> None:
        """Add a datagram that arrived, or was lost, at world time *at*."""
        label = describe(flight.data)
        self.rows.append(
            Row(at, flight.sender, flight.receiver, label, mark, flight.sent_at)
        )
        self._mix(f"{at!r} {flight.receiver} {mark.name}", flight)

    def note(self, at: float, host: str, text: str) -> None:
        """Add what was done to a host, or what it did."""
        self.rows.append(Row(at, host, "", text))
        self._digest = blake2s(self._digest + f"{at!r} {host} {text}".encode())

    def moments(self, sender: str, receiver: str, label: str) -> list[float]:
        """Return when datagrams whose name begins with *label* were sent.

        Duplicates made on the way are left out; lost ones are not.
        """
        return [
            row.sent_at
            for row in self.rows
            if row.sender == sender
            and row.receiver == receiver
            and row.label.startswith(label)
            and row.mark is not Mark.DUPLICATE
        ]

    def notes(self, host: str, beginning: str = "") -> list[Row]:
        """Return the notes on *host* whose text begins so."""
        return [
            row
            for row in self.rows
            if row.sender == host
            and not row.receiver
            and row.label.startswith(beginning)
        ]

    def _mix(self, text: str, flight: Flight) -> None:
        self._digest = blake2s(self._digest + text.encode() + flight.data)
