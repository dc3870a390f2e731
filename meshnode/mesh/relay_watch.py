"""Notice under traffic that a way is dead: who is silent is asked.

A member that we speak to by a channel is looked at while packets go to it. If nothing
came back for a moment, all ways to it are asked whether they are there; the answers put
them into another order, or end them (`relay_client`). A way that answers is asked again
less often: traffic may have one direction. Without traffic there are no timers.
"""

from typing import Final

from meshnode.deadlines import Deadline, DeadlineHeap
from meshnode.mesh.ports import PathTunnels
from meshnode.mesh.relay_client import RelayClient
from meshnode.mesh.relay_ways import Ways
from meshnode.ports import NEVER

LOOK_EVERY: Final = 0.2
"""Seconds between two looks at a member that packets go to."""

SILENCE: Final = 0.3
"""Seconds without an answer, until its ways are asked."""

ASK_EVERY: Final = 0.75
"""Seconds between two questions about ways that answer, if the member does not."""

LINGER: Final = 30.0
"""Seconds without traffic until nobody looks any more.

The engine tells of traffic only when it has not watched the peer for as long.
"""


class RelayWatch:
    """Looks at the members that are reached by relays, while there is traffic."""

    def __init__(
        self, ways: Ways, client: RelayClient, *, tunnels: PathTunnels
    ) -> None:
        self._ways = ways
        self._client = client
        self._tunnels = tunnels
        self._began: dict[bytes, float] = {}
        self._asked: dict[bytes, float] = {}
        self._looks: DeadlineHeap[bytes] = DeadlineHeap()

    def traffic_resumed(self, key: bytes, *, now: float) -> None:
        """Hear that packets go to this member, or wait for a session with it."""
        if key not in self._began and self._ways.of(key):
            self._began[key] = now
            self._look_at(key, now + LOOK_EVERY)

    def forget(self, key: bytes) -> None:
        """Look no more."""
        self._began.pop(key, None)
        self._asked.pop(key, None)
        self._looks.set(key, None)

    def handle_deadline(self, *, now: float) -> None:
        """Look."""
        for key in self._looks.pop_due(now):
            self._look(key, now)

    def next_deadline(self) -> Deadline | None:
        """Return when the next look is due; None without traffic."""
        return self._looks.next()

    def _look(self, key: bytes, now: float) -> None:
        sent = max(self._tunnels.last_data_sent(key), self._began[key])
        heard = self._tunnels.last_received(key)
        way = self._ways.in_use(key)
        if now >= sent + LINGER or not self._ways.of(key):
            self.forget(key)
            return
        self._look_at(key, now + LOOK_EVERY)
        is_silent = sent > heard and now - max(heard, self._began[key]) >= SILENCE
        asked = self._asked.get(key, NEVER)
        if way is not None and is_silent and now >= asked + ASK_EVERY:
            self._asked[key] = now
            for one in self._ways.of(key):
                if one.is_open:
                    self._client.ask(one, now=now)

    def _look_at(self, key: bytes, at: float) -> None:
        self._looks.set(key, Deadline(at, "a member that is reached by relays"))
