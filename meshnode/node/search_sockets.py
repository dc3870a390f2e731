"""UDP sockets on other ports than the node's own, for searches through NATs.

Control opens them, sends by them (`node.outlet`) and reads probes from them, as long
as a search goes on; one poll set stands for all. The one that wins becomes a peer's
path: the workers speak by it and read it from then on, and the supervisor keeps it.
"""

import logging
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Final

import trio

from meshnode.codec.probes import PROBE_SIZE, PROBE_TYPE
from meshnode.codec.wireguard import message_type
from meshnode.host.udp import open_beside, receive_datagrams
from meshnode.mesh.punch_sockets import (
    CloseSocket,
    CloseSockets,
    KeepSocket,
    OpenSockets,
    SocketOrder,
)
from meshnode.types import Datagram, Path, Source

_BATCH: Final = 64
_log = logging.getLogger("meshnode.node")


class SearchSocketSet:
    """The sockets; `by_port` has all that are open, those that are kept included.

    `on_kept` is called with the port and the socket when one is kept, and `on_dropped`
    with the port when it is no more; `on_change` with all that are kept after either.
    """

    def __init__(self, fwmark: int) -> None:
        self.by_port: dict[int, socket.socket] = {}
        self.on_kept: Callable[[int, socket.socket], None] = lambda port, one: None
        self.on_dropped: Callable[[int], None] = lambda port: None
        self.on_change: Callable[[Sequence[socket.socket]], None] = lambda kept: None
        self._fwmark = fwmark
        self._kept: set[int] = set()
        self._poll = select.epoll()

    def adopt(self, descriptors: Sequence[int]) -> None:
        """Take the sockets that an earlier control process had kept."""
        for descriptor in descriptors:
            one = socket.socket(fileno=os.dup(descriptor))
            port = int(one.getsockname()[1])
            self.by_port[port] = one
            self._kept.add(port)

    def kept(self) -> tuple[socket.socket, ...]:
        """Return those that are the path of a peer."""
        return tuple([self.by_port[port] for port in sorted(self._kept)])

    def open(self, count: int) -> tuple[int, ...]:
        """Open *count* sockets, or as many as there can be; return their ports."""
        ports = []
        for _ in range(count):
            try:
                one = open_beside(fwmark=self._fwmark)
            except OSError as error:
                _log.warning("no more sockets for a search: %s", error)
                break
            port = int(one.getsockname()[1])
            self.by_port[port] = one
            self._poll.register(one, select.EPOLLIN)
            ports.append(port)
        return tuple(ports)

    def obey(self, order: SocketOrder) -> tuple[int, ...] | None:
        """Do as the mesh asks; return the ports of sockets that it asked to open."""
        match order:
            case OpenSockets(count):
                return self.open(count)
            case KeepSocket(port) if port in self.by_port:
                self._poll.unregister(self.by_port[port])
                self._kept.add(port)
                self.on_kept(port, self.by_port[port])
                self.on_change(self.kept())
            case CloseSocket(port) if port in self._kept:
                self._kept.discard(port)
                self.by_port.pop(port).close()
                self.on_dropped(port)
                self.on_change(self.kept())
            case CloseSockets(aside):
                for port in self.by_port.keys() - self._kept - {aside}:
                    self.by_port.pop(port).close()
        return None

    async def run(self, receive: Callable[[list[Datagram]], None]) -> None:
        """Bring the probes that arrive; a bounded number at a time."""
        while True:
            await trio.lowlevel.wait_readable(self._poll)
            probes = self._read()
            if probes:
                receive(probes)
            await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close all of them in this process."""
        for one in self.by_port.values():
            one.close()
        self.by_port.clear()
        self._poll.close()

    def _read(self) -> list[Datagram]:
        ready = {fd for fd, _ in self._poll.poll(0, _BATCH)}
        probes: list[Datagram] = []
        for port, one in self.by_port.items():
            if one.fileno() in ready:
                probes += _probes_of(one, port)
        return probes


def _probes_of(beside: socket.socket, port: int) -> list[Datagram]:
    try:
        datagrams = receive_datagrams(beside)
    except OSError:
        return []  # an ICMP error of an earlier datagram
    return [
        Datagram(one.data, _beside(one.path, port))
        for one in datagrams
        if len(one.data) == PROBE_SIZE and message_type(one.data) == PROBE_TYPE
    ]


def _beside(path: Path, port: int) -> Path:
    source = path.source
    if source is None:
        return Path(path.remote, Source("0.0.0.0", 0, port))
    return Path(path.remote, Source(source.host, source.interface, port))
