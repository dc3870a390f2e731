"""One member that we speak to: its paths, its traffic and what is doubted."""

from dataclasses import dataclass, field
from typing import Final

from meshnode.mesh.path_choice import Chooser, PathKind
from meshnode.mesh.path_ways import Place, Way
from meshnode.ports import NEVER
from meshnode.types import Endpoint, Path
from meshnode.values import frozen

BUSY: Final = 1.0
"""Seconds that traffic counts as going on after its last packet."""

LINGER: Final = 30.0
"""Seconds without traffic until a member is watched no more.

By then the tunnels watch it no more either, unless it is for gossip: they tell us of
new traffic only afterwards.
"""

TWO_WAY: Final = 0.25
"""Seconds: who was heard so shortly before was answering, and is silent now."""

AFTER_PONG: Final = 0.1
"""Seconds: what is received so soon after a pong may be that."""

ASK_PAUSE: Final = 0.5
"""Seconds from an answered question to the next: some traffic has no answers."""

SHORTEST: Final = 0.05
UNMEASURED: Final = 0.4
"""Seconds of silence to ask after: at least, and if no round trip is known."""

_ROUND_TRIPS: Final = 1.5


@frozen
class PathState:
    """How a member is reached, for who watches.

    `seconds` is the round trip or None, `loss` a share, `since` boottime seconds.
    `via` are the keys of the relays on the way. What begins with `standby` is of the
    path that waits, None and 0 if none does.
    """

    kind: PathKind
    endpoint: Endpoint
    via: tuple[bytes, ...]
    seconds: float | None
    loss: float
    standby: PathKind | None
    since: float
    standby_seconds: float | None = None
    standby_loss: float = 0.0


@dataclass(slots=True)
class Member:
    """The state of one; times are boottime seconds.

    `pong_at` is when the last pong came, `traffic_at` when data of users was last seen
    to go, `busy_from` since when without a pause. `awake_at` is when a session began,
    or anything passed after a rest. `asked_at` is the first ping to a path that we
    have begun to ask, None if we have not.
    """

    ways: dict[Place, Way] = field(default_factory=dict)
    chooser: Chooser = field(default_factory=Chooser)
    pong_at: float = NEVER
    awake_at: float = NEVER
    traffic_at: float = NEVER
    busy_from: float = NEVER
    received_at: float = NEVER
    waits_since: float | None = None
    was_two_way: bool = False
    asked_at: float | None = None
    doubts_at: float = NEVER
    next_ask_at: float = NEVER
    not_before: float = NEVER
    is_doubled: bool = False
    standby: Path | None = None
    is_resting: bool = False
    wanted_at: float = NEVER
    moved_at: float = NEVER

    @property
    def present(self) -> Way | None:
        """The path in use, None if it is not known or gone."""
        path = self.chooser.path
        if path is None:
            return None
        return next((way for way in self.ways.values() if way.path == path), None)

    @property
    def is_asking(self) -> bool:
        """Whether the path in use has been asked and has not answered."""
        return self.asked_at is not None

    @property
    def is_direct(self) -> bool:
        """Whether the path in use is direct and alive."""
        present = self.present
        return present is not None and present.is_alive and not present.is_relayed

    @property
    def patience(self) -> float:
        """Seconds of silence that say nothing on the path in use."""
        present = self.present
        seconds = None if present is None else present.quality.seconds
        if seconds is None:
            return UNMEASURED
        return max(_ROUND_TRIPS * seconds, SHORTEST)

    def is_busy(self, now: float) -> bool:
        """Whether traffic goes on."""
        return now < self.traffic_at + BUSY

    def note_traffic(self, *, now: float) -> None:
        """Something is said; whether it lasts is to be seen."""
        if not self.is_busy(now):
            self.busy_from = now
        self.traffic_at = max(self.traffic_at, now)

    def follow(self, *, sent: float, received: float, now: float) -> None:
        """Take note when data of users was last sent, and anything received."""
        if sent > self.traffic_at:
            if sent > self.traffic_at + BUSY:
                self.busy_from = sent
            self.traffic_at = sent
        if self.traffic_at <= received:
            self.waits_since = None
        elif self.waits_since is None or received > self.received_at:
            # Who was answering until now is silent from its last answer on.
            is_answer = received > self.pong_at + AFTER_PONG
            self.was_two_way = is_answer and self.traffic_at < received + TWO_WAY
            self.waits_since = received if self.was_two_way else self.traffic_at
        self.received_at = received

    def asks_at(self, now: float) -> float:
        """Return when the path in use is to be asked, unless something comes."""
        present = self.present
        if self.waits_since is None or present is None or present.is_dead:
            return now + BUSY
        return max(self.waits_since + self.patience, self.not_before)

    def begin_asking(self, *, now: float) -> None:
        """The path in use is asked from now on."""
        self.asked_at = now
        self.doubts_at = now + self.patience
        self.next_ask_at = now + max(self.patience, SHORTEST)

    def end_asking(self, *, now: float) -> None:
        """It answered, or is not in use any more."""
        if self.asked_at is not None:
            self.not_before = now + (0.0 if self.was_two_way else ASK_PAUSE)
        self.asked_at = None
        self.is_doubled = False
        self.standby = None
        self.waits_since = None

    def renew(self, way: Way, path: Path) -> None:
        """Take note by which address of ours *way* is there now."""
        if path.source is not None and path != way.path:
            if self.chooser.path == way.path:
                self.chooser.path = path
            way.path = path

    def settle(self, way: Way, *, now: float) -> None:
        """Take note that *way* is in use."""
        self.chooser.use(way.path, now=now)

    def choose(self, *, now: float) -> Way | None:
        """Return the path to take instead of the one in use, None for that one."""
        before = self.chooser.path
        alive = {way.path: way.measured for way in self.ways.values() if way.is_alive}
        if self.chooser.choose(alive, now=now) == before:
            return None
        return self.present

    def next_best(self) -> Way | None:
        """Return the best path alive beside the one in use."""
        others = [
            way
            for way in self.ways.values()
            if way.is_alive and way is not self.present
        ]
        return min(others, key=self._place_as_standby, default=None)

    def _place_as_standby(self, way: Way) -> tuple[bool, bool, tuple[int, float]]:
        """Order what may stand by: the best is the least.

        What goes by a relay of the path in use falls with it; and what has answered is
        better than what only somebody promised.
        """
        present = self.present
        in_use = () if present is None else present.via
        is_shared = not set(way.via).isdisjoint(in_use)
        return is_shared, not way.is_proven, way.measured.rank

    def describe(self) -> PathState | None:
        """Return how the member is reached, None if that is not known."""
        present, standby = self.present, self.next_best()
        if present is None:
            return None
        return PathState(
            present.kind,
            present.path.remote,
            present.via,
            present.quality.seconds,
            present.quality.loss,
            None if standby is None else standby.kind,
            self.chooser.since,
            None if standby is None else standby.quality.seconds,
            0.0 if standby is None else standby.quality.loss,
        )
