"""Learn how many hops an opener needs to pass our own NATs, and no more.

A fresh socket pings one member, which tells its outer endpoint. Then a second member,
to which that socket has sent nothing, is asked through the first to send a probe there.
If it arrives, our NATs let everybody in. Else the socket sends to the second with one
hop, and so on, until its probe arrives: so many hops make our NATs expect somebody.

With one member to ask, `FALLBACK` is what is used: one router of ours, and one beyond.
"""

from collections.abc import Callable
from typing import Final

from meshnode.deadlines import Deadline
from meshnode.mesh.nat_view import Helper
from meshnode.mesh.probes import Opened, Probes
from meshnode.mesh.punch_sockets import SearchSockets, path_by
from meshnode.types import Datagram, Endpoint, Path

FALLBACK: Final = 2
MOST: Final = 8
"""Hops beyond which no NAT of ours is looked for."""

WAIT: Final = 0.5
"""Seconds in which a probe that was asked for arrives."""

_USER: Final = b"hops"

AskProbe = Callable[[bytes, Endpoint, bytes, float], None]
"""Ask one member to let another send a probe to an endpoint of ours."""


class HopCalibration:
    """Finds `hops`.

    Args:
        probes: seals and opens.
        sockets: those beside our own.
        send: takes what is to leave.
        helpers: gives who can be asked.
        ask: asks them.
    """

    def __init__(
        self,
        *,
        probes: Probes,
        sockets: SearchSockets,
        send: Callable[[Datagram, float], None],
        helpers: Callable[[], tuple[Helper, ...]],
        ask: AskProbe,
    ) -> None:
        self.hops = FALLBACK
        self._probes = probes
        self._sockets = sockets
        self._send = send
        self._helpers = helpers
        self._ask = ask
        self._at: float | None = None
        self._first: Helper | None = None
        self._second: Helper | None = None
        self._number = 0
        self._port = 0
        self._outer: Endpoint | None = None
        self._tried = -1

    def begin(self, *, now: float) -> None:
        """Learn it anew, as far as there is somebody to ask."""
        self.hops = FALLBACK
        usable = [one for one in self._helpers() if self._probes.can_reach(one.key)]
        hosts = {one.endpoint.host: one for one in reversed(usable)}
        if len(hosts) < 2 or not self._sockets.ask(1, _USER):
            return
        self._first, self._second = tuple(reversed(hosts.values()))[:2]
        self._outer, self._port, self._tried = None, 0, -1
        self._at = now + WAIT

    def sockets_opened(self, ports: tuple[int, ...], *, now: float) -> bool:
        """Take the socket; return whether it was asked for here."""
        if self._sockets.user != _USER:
            return False
        if ports and self._first is not None:
            self._port = ports[0]
            self._number = self._ping(self._first, 0, now)
        return True

    def take_pong(self, opened: Opened) -> bool:
        """Take an answer; return whether it was one to us."""
        is_ours = bool(self._number) and opened.probe.number == self._number
        if is_ours:
            self._outer = opened.probe.seen
        return is_ours

    def take_ping(self, opened: Opened, path: Path, *, now: float) -> None:
        """A probe arrived: perhaps the one that was asked for."""
        is_second = self._second is not None and opened.key == self._second.key
        is_here = path.port == self._port
        if self._port and is_second and is_here and self._tried >= 0:
            self.hops = self._tried or FALLBACK
            self._end()

    def handle_deadline(self, *, now: float) -> None:
        """Try one hop more, unless it is enough."""
        if self._at is None or now < self._at:
            return
        first, second, outer = self._first, self._second, self._outer
        if first is None or second is None or outer is None or self._tried == MOST:
            self._end()
            return
        self._tried += 1
        if self._tried:
            self._ping(second, self._tried, now)
        self._at = now + WAIT
        self._ask(first.key, outer, second.key, now)

    def next_deadline(self) -> Deadline | None:
        """Return when the next hop is tried."""
        return None if self._at is None else Deadline(self._at, "count hops")

    def _ping(self, helper: Helper, hops: int, now: float) -> int:
        number, data = self._probes.ping(helper.key)
        path = path_by(self._port, helper.endpoint)
        self._send(Datagram(data, path, hops), now)
        return number

    def _end(self) -> None:
        self._sockets.choose(_USER, 0)
        self._at, self._port, self._number = None, 0, 0
