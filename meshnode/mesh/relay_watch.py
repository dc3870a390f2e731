"""Notice under traffic that a way is dead: who is silent is asked.

A member that we speak to by a channel is looked at while packets go to it. If nothing
came back for a moment, all ways to it are asked whether they are there; the answers put
them into another order, or end them (`relay_client`). A way that answers is asked again
less often: traffic may have one direction. Without traffic there are no timers.
"""

from dataclasses import dataclass
from typing import Final

from meshnode.deadlines import Deadline, DeadlineHeap, next_turn
from meshnode.mesh.ports import PathTunnels
from meshnode.mesh.relay_client import RelayClient
from meshnode.mesh.relay_ways import Ways
from meshnode.ports import NEVER

LOOK_EVERY: Final = 0.2
"""Seconds between two looks at a member that packets go to."""

LOOK_RARELY: Final = 1.0
"""The same, when none has gone for a second."""

SILENCE: Final = 0.3
"""Seconds without an answer, until its ways are asked."""

ASK_EVERY: Final = 0.75
"""Seconds between two questions about ways that answer, if the member does not."""

LINGER: Final = 30.0
"""Seconds without traffic until nobody looks any more.

The engine tells of traffic only when it has not watched the peer for as long.
"""


@dataclass(slots=True)
class _Sight:
    """Since when a member is looked at, when it was wanted, and its ways asked."""

    began_at: float
    wanted_at: float = NEVER
    asked_at: float = NEVER


class RelayWatch:
    """Looks at the members that are reached by relays, while there is traffic."""

    def __init__(
        self, ways: Ways, client: RelayClient, *, tunnels: PathTunnels
    ) -> None:
        self._ways = ways
        self._client = client
        self._tunnels = tunnels
        self._sights: dict[bytes, _Sight] = {}
        self._looks: DeadlineHeap[bytes] = DeadlineHeap()

    def begin(self, key: bytes, *, now: float) -> None:
        """Look at a member with new ways: of traffic that goes on nobody tells."""
        if key not in self._sights and self._ways.of(key):
            self._sights[key] = _Sight(now)
            self._look_at(key, now + LOOK_EVERY)

    def traffic_resumed(self, key: bytes, *, now: float) -> None:
        """Hear that packets go to this member, or wait for a session with it."""
        self.begin(key, now=now)
        if key in self._sights:
            self._sights[key].wanted_at = now

    def forget(self, key: bytes) -> None:
        """Look no more."""
        self._sights.pop(key, None)
        self._looks.set(key, None)

    def handle_deadline(self, *, now: float) -> None:
        """Look."""
        for key in self._looks.pop_due(now):
            self._look(key, self._sights[key], now)

    def next_deadline(self) -> Deadline | None:
        """Return when the next look is due; None without traffic."""
        return self._looks.next()

    def _look(self, key: bytes, sight: _Sight, now: float) -> None:
        sent = self._tunnels.last_data_sent(key)
        if self._tunnels.is_wanted(key):
            sent = max(sent, sight.wanted_at)
        heard = self._tunnels.last_received(key)
        ways = self._ways.of(key)
        is_quiet = now >= max(sent, sight.began_at) + LINGER
        if not ways or (is_quiet and not self._tunnels.is_watched(key)):
            self.forget(key)
            return
        is_busy = now < sent + LOOK_RARELY
        self._look_at(key, next_turn(now, LOOK_EVERY if is_busy else LOOK_RARELY))
        is_silent = sent > heard and now >= max(heard, sight.began_at) + SILENCE
        is_time = now >= sight.asked_at + ASK_EVERY
        if is_silent and is_time and self._ways.in_use(key) is not None:
            sight.asked_at = now
            for way in ways:
                if way.is_open:
                    self._client.ask(way, now=now)

    def _look_at(self, key: bytes, at: float) -> None:
        self._looks.set(key, Deadline(at, "a member that is reached by relays"))
