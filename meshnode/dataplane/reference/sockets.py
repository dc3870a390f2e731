"""The UDP sockets of a pump: the node's own, and those beside them.

Of an IP version the first is the node's own. Others were opened in search of a way
through a NAT; what came by one says so in its path (`Source.port`), and what follows
that path leaves by it, for only from there does the NAT let it through.
"""

import socket
from collections.abc import Iterator, Sequence

from meshnode.dataplane.interface import Burst
from meshnode.dataplane.reference.udp import SEND_WAIT_MS, UdpSocket
from meshnode.offloads import Offloads
from meshnode.types import Path

_OWN = 0


class Sockets:
    """Chooses by which socket a burst leaves; iterates over all.

    Args:
        sockets: they are ours from now on.
        offloads: limits those of each.
        wait_ms: how long a full buffer holds back the sender, in milliseconds.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        offloads: Offloads,
        *,
        wait_ms: int = SEND_WAIT_MS,
    ) -> None:
        self._by_port: dict[tuple[int, int], UdpSocket] = {}
        for sock in sockets:
            version = 4 if sock.family == socket.AF_INET else 6
            is_beside = (version, _OWN) in self._by_port
            port = int(sock.getsockname()[1]) if is_beside else _OWN
            opened = UdpSocket(sock, offloads, port=port, wait_ms=wait_ms)
            self._by_port[version, port] = opened

    def __iter__(self) -> Iterator[UdpSocket]:
        return iter(self._by_port.values())

    def own(self, version: int) -> UdpSocket | None:
        """Return the node's own socket of that IP version, if there is one."""
        return self._by_port.get((version, _OWN))

    def find(self, path: Path) -> UdpSocket | None:
        """Return by which socket datagrams leave for *path*, if there is one.

        Without the socket that it names it is the node's own.
        """
        version = path.remote.version
        sock = self.own(version)
        if path.source is not None and path.source.port:
            sock = self._by_port.get((version, path.source.port), sock)
        return sock

    def send(self, burst: Burst) -> int:
        """Send *burst*; return how many datagrams of it the host refused."""
        sock = self.find(burst.path)
        return burst.count if sock is None else sock.send(burst)

    def close(self) -> None:
        """Close all of them."""
        for sock in self:
            sock.close()
