"""Control's own datagrams on their way out: handshakes and cookie replies.

The host may refuse any of them, for a moment or for long; none of its reasons is one
to stop. What is lost so, the retransmission timer sends again.
"""

import logging
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from meshnode.codec.tap import UNDERLAY_OUT
from meshnode.dataplane.tap import NoTap, Tap
from meshnode.errors import DropReason, HostError
from meshnode.host.udp import UdpPair, send_by, send_datagram, set_fwmark
from meshnode.types import Datagram

_log = logging.getLogger("meshnode.node")


class Outlet:
    """Sends on the sockets of `pair`; `refused` counts what was not, by errno.

    `pairs` are those of all workers on the same port, and `pair` is the first. `beside`
    are sockets on other ports, by port: what names one leaves by it, while it is open.
    *tap* gets a copy of all while somebody captures.
    """

    def __init__(self, pairs: Sequence[UdpPair], tap: Tap | None = None) -> None:
        self.pairs = pairs
        self._tap = tap or NoTap()
        self.beside: Mapping[int, socket.socket] = {}
        self.refused: Counter[int] = Counter()

    @property
    def pair(self) -> UdpPair:
        """The sockets that this process sends by."""
        return self.pairs[0]

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """Send *datagrams* now; one whose source address is gone goes without it."""
        self._tap.refresh()
        for datagram in datagrams:
            if self._tap.sides:
                self._tap.note(UNDERLAY_OUT, datagram.data, path=datagram.path)
            try:
                self._send(datagram)
            except (OSError, HostError) as error:
                self.refused[error.errno or 0] += 1
                self._tap.judge(DropReason.SEND_ERROR)
                _log.debug("a handshake message was not sent: %s", error)
        self._tap.publish()

    def _send(self, datagram: Datagram) -> None:
        source = datagram.path.source
        one = self.beside.get(source.port) if source is not None else None
        if one is None:
            send_datagram(self.pair, datagram)
        else:
            send_by(one, datagram)

    def replace(self, pairs: Sequence[UdpPair]) -> None:
        """Send by *pairs* from now on; this process closes the sockets before."""
        self.close()
        self.pairs = pairs

    def mark(self, fwmark: int) -> None:
        """Mark what this and all other processes send; raises `PrivilegeError`."""
        for pair in self.pairs:
            set_fwmark(pair, fwmark)

    def close(self) -> None:
        """Close the sockets of this process."""
        for pair in self.pairs:
            pair.close()
