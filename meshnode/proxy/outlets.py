"""Where the connections of a proxy go: the contract that listeners rely on.

A listener asks an `Outlet` and gets what it asked for, or an `OutletError` whose
`Refusal` it puts into the words of its own protocol. So no listener knows whether a
connection leaves from this host, through a member, or through another proxy.
"""

import enum
from types import TracebackType
from typing import Protocol, Self

import trio

from meshnode.errors import MeshnodeError
from meshnode.types import Endpoint, Target


class Refusal(enum.Enum):
    """Why an outlet gives no connection, in words for a log."""

    FAILED = "it failed"
    FORBIDDEN = "the rules forbid it"
    NO_SUCH_NAME = "there is no such name"
    NETWORK_UNREACHABLE = "there is no way to that network"
    HOST_UNREACHABLE = "the host cannot be reached"
    REFUSED = "the host refuses"
    TIMED_OUT = "the host does not answer"
    UNSUPPORTED = "this way out cannot do that"
    BUSY = "too much is open already"


class OutletError(MeshnodeError):
    """No connection, and why."""

    def __init__(self, refusal: Refusal, text: str = "") -> None:
        super().__init__(text or refusal.value)
        self.refusal = refusal


class Closable(Protocol):
    """What is closed at the end of a `with`."""

    def close(self) -> None:
        """Let it be over; it takes no time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Datagrams(Closable, Protocol):
    """One place that datagrams leave from and arrive at."""

    async def send(self, data: bytes, target: Target) -> None:
        """Send *data*; what cannot be sent is lost, as datagrams may be."""

    async def receive(self) -> tuple[bytes, Target]:
        """Return the next datagram and where it came from; raises `OutletError`."""


class Incoming(Closable, Protocol):
    """A place where one peer is expected to call (the BIND of SOCKS)."""

    @property
    def place(self) -> Endpoint:
        """Where it should call."""

    async def accept(self) -> tuple[trio.abc.HalfCloseableStream, Endpoint]:
        """Wait for it; return the connection and who it is; raises `OutletError`."""


class Outlet(Protocol):
    """A way out. Every method raises `OutletError`, and is cancelled cleanly."""

    async def connect(
        self, target: Target
    ) -> tuple[trio.abc.HalfCloseableStream, Endpoint]:
        """Connect to *target*; return the stream and the address that it has of ours.

        The address is `0.0.0.0:0` where nobody can say.
        """

    async def open_datagrams(self) -> Datagrams:
        """Return a place for datagrams."""

    async def listen(self, peer: Target) -> Incoming:
        """Wait for *peer* to call; only it is let in."""
