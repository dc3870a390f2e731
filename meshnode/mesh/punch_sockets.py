"""Sockets beside the node's own, which the shell opens and closes for searches.

One search has them at a time. The one that wins stays, as the path of its peer, until
that is spoken to by another. One more may lie aside, for who waits for what arrives.
"""

from typing import Final

from meshnode.types import Endpoint, Path, Source
from meshnode.values import frozen


@frozen
class OpenSockets:
    """Open so many UDP sockets over IPv4, and say their ports."""

    count: int


@frozen
class KeepSocket:
    """The peer with this WireGuard key is spoken to by the socket on this port."""

    port: int
    key: bytes


@frozen
class CloseSocket:
    """Nobody is spoken to any more by the kept socket on this port."""

    port: int


@frozen
class CloseSockets:
    """Close all that were opened and are not kept, but the one on port `aside`."""

    aside: int = 0


SocketOrder = OpenSockets | KeepSocket | CloseSocket | CloseSockets


_ANY_HOST: Final = "0.0.0.0"


def path_by(port: int, remote: Endpoint) -> Path:
    """Return the path to *remote* by the socket on *port*, the node's own for 0."""
    return Path(remote, Source(_ANY_HOST, 0, port) if port else None)


MAX_KEPT: Final = 6
"""Sockets that are the path of a peer; with so many there is no further search."""


class SearchSockets:
    """What is asked of the shell, in order; `user` has the sockets at present."""

    def __init__(self) -> None:
        self._orders: list[SocketOrder] = []
        self.user: bytes | None = None
        self._kept: dict[bytes, int] = {}
        self._aside = 0

    def take_orders(self) -> list[SocketOrder]:
        """Return and forget what the shell is to do."""
        orders, self._orders = self._orders, []
        return orders

    def ask(self, count: int, key: bytes) -> bool:
        """Ask for sockets for a search for the member; False if another has them."""
        if self.user is not None or len(self._kept) >= MAX_KEPT:
            return False
        self.user = key
        self._orders.append(OpenSockets(count))
        return True

    def choose(self, key: bytes, port: int) -> None:
        """The search for the member is over: keep the socket on *port*, 0 for none."""
        if self.user != key:
            return
        if port:
            self.release(key)
            self._kept[key] = port
            self._orders.append(KeepSocket(port, key))
        self.close()

    def close(self) -> None:
        """Close what no peer is spoken to by."""
        self.user = None
        self._orders.append(CloseSockets(self._aside))

    def set_aside(self, key: bytes, port: int) -> None:
        """Leave the one on *port* open for its user, and let others search."""
        if self.user == key:
            self._aside = port
            self.close()

    def drop_aside(self) -> None:
        """Close that one; at the end of a search if there is one, for it is busy."""
        self._aside = 0
        if self.user is None:
            self.close()

    def release(self, key: bytes) -> None:
        """The member is spoken to by another path, or not at all."""
        port = self._kept.pop(key, 0)
        if port:
            self._orders.append(CloseSocket(port))
