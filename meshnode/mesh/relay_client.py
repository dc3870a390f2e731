"""Channels that we want: asked for, renewed, given up for better ones.

Theory of operation. For each member that is wanted there are two ways by different
relays, if there are so many. A *question* goes to the way's relay when the way is made,
before its lease ends, and whenever the way is in doubt (`ask`). It is `RelayOpen` for a
channel of ours and `RelayAccept` for one that was offered to us. It is repeated until
it is answered. One that is not answered in time puts the way behind the others; several
end it, and the next best route is asked. So a relay that was started again, and knows
no channel any more, opens it anew; and one that is gone is left.
"""

from collections.abc import Callable
from typing import Final

from meshnode.codec.early_calls import EARLY_CALL_TYPE
from meshnode.codec.messages import (
    RelayAccept,
    RelayClose,
    RelayOpen,
    RelayOpened,
    RelayReason,
)
from meshnode.deadlines import Deadline, DeadlineHeap, earliest
from meshnode.mesh.jitter import spread
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import PathTunnels
from meshnode.mesh.relay_choice import Route
from meshnode.mesh.relay_ways import Way, Ways
from meshnode.ports import Entropy
from meshnode.types import Datagram, Path

WANTED: Final = 2
"""Ways to each member, by different relays."""

MAX_WAYS: Final = 4
"""To one member that we ask for at once, those without an answer included."""

MAX_WANTED: Final = 1024
"""Members that channels are kept to."""

FIRST_QUESTION: Final = 0.002
"""Seconds until a channel is asked for: its first datagrams come meanwhile."""

PAUSES: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds after each question for a channel that is not open; then it is given up."""

HOPE_FOR: Final = 1.0
"""Seconds after which another relay is asked, too."""

DOUBT: Final = 0.25
"""Seconds, at least, until a question about an open channel is repeated."""

QUESTIONS: Final = 3
"""About an open channel, until it is given up for lack of any answer of its relay."""

FAR_QUESTIONS: Final = 6
"""The same if the relay answers, but not the other end."""

AVOID_FOR: Final = 30.0
"""Seconds in which a route that failed comes after all others."""

REFUSED_FOR: Final = 2.0
SECOND_REFUSED_FOR: Final = 60.0
"""Seconds in which a route that was refused is not asked for at all: if there is no
other way, and if there is."""

LOOK_AGAIN: Final = 5.0
LOOK_SOON: Final = 2.5
"""Seconds until relays are looked for again: if there is one way, and if none."""

Choose = Callable[[bytes, tuple[tuple[bytes, ...], ...], float], tuple[Route, ...]]
"""Return the routes to a member, the best first; those in use are given."""


class RelayClient:
    """The questions about all our ways.

    Args:
        ways: what there is.
        tunnels: carry the questions.
        choose: gives the routes to a member.
        outbox: takes what waited for a channel to be opened.
        on_silent: is told of a relay that answered nothing, and when.
        entropy: for the jitter.
    """

    def __init__(
        self,
        ways: Ways,
        *,
        tunnels: PathTunnels,
        choose: Choose,
        outbox: Outbox,
        on_silent: Callable[[bytes, float], None],
        entropy: Entropy,
    ) -> None:
        self._on_silent = on_silent
        self._ways = ways
        self._tunnels = tunnels
        self._choose = choose
        self._outbox = outbox
        self._entropy = entropy
        self._wanted: set[bytes] = set()
        self._failed: dict[tuple[bytes, tuple[bytes, ...]], float] = {}
        self._refused: dict[tuple[bytes, tuple[bytes, ...]], float] = {}
        self._questions: DeadlineHeap[int] = DeadlineHeap()
        self._looks: DeadlineHeap[bytes] = DeadlineHeap()

    # --- what is wanted ---

    def want(self, key: bytes, *, now: float) -> None:
        """Keep ways to this member from now on."""
        if key not in self._wanted and len(self._wanted) < MAX_WANTED:
            self._wanted.add(key)
            self._fill(key, now)

    def drop(self, key: bytes, *, now: float) -> None:
        """Close what we asked for; offered ways are the other side's to close."""
        self._wanted.discard(key)
        self._looks.set(key, None)
        for way in self._ways.of(key):
            if not way.is_offered:
                self.close(way, RelayReason.CLOSED, now=now)

    def look_again(self, *, now: float) -> None:
        """Relays came, or are known better: see whether somebody lacks ways."""
        for key in self._wanted:
            if len(self._hopeful(key, now)) < WANTED:
                self._looks.set(key, Deadline(now, "relays to choose from"))

    def say(self, key: bytes, data: bytes, *, now: float) -> None:
        """Send an early call along with the questions for channels to the member."""
        for way in self._ways.of(key):
            if not way.is_offered and not way.is_open:
                way.kept[EARLY_CALL_TYPE] = data
                if way.tries:
                    self._tunnels.send(way.relay, _question(way), now=now)

    # --- questions ---

    def ask(self, way: Way, *, now: float) -> None:
        """Ask whether the way is there, unless an answer is waited for."""
        if not way.tries:
            self._ask(way, now)

    def answered(self, way: Way, *, now: float) -> None:
        """The other end of the way answered, or its offer was repeated."""
        was_doubted, was_open = way.is_doubted, way.is_open
        if way.tries == 1:
            way.milliseconds = (now - way.asked_at) * 1000
        way.tries = 0
        way.heard_at = now
        way.is_open = True
        if was_doubted or not was_open:
            self._ways.changed.add(way.key)
        if way.is_offered:
            self._set(way, way.ends_at, "an offered channel ends")
        else:
            ends = spread((way.ends_at - now) * 0.6, self._entropy)
            self._set(way, now + ends, "renew a channel")
        way.kept.pop(EARLY_CALL_TYPE, None)  # now it can be said in the session
        for data in way.take_kept():
            self._outbox.send(Datagram(data, Path(way.endpoint)), now=now)

    def receive_opened(self, way: Way, message: RelayOpened, *, now: float) -> None:
        """Take the relay's number, and that the other end is there if it is."""
        way.heard_at = now
        if way.is_offered:
            if message.label == way.label:
                way.ends_at = now + message.lease
                self.answered(way, now=now)
            return
        self._ways.use_label(way, message.label, now=now)
        if message.lease:
            way.ends_at = now + message.lease
            self.answered(way, now=now)

    def receive_close(self, way: Way, *, now: float) -> None:
        """The relay keeps this channel no longer, or never did."""
        if not way.is_open:
            # Its reason lasts: asked at once, it would refuse at once, for ever.
            has_another = any(one.is_open for one in self._ways.of(way.key))
            pause = SECOND_REFUSED_FOR if has_another else REFUSED_FOR
            self._refused[way.key, way.relays] = now + pause
        self._lose(way, now)

    def close(self, way: Way, reason: RelayReason, *, now: float) -> None:
        """Close a way, and say so to the relay."""
        if way.label:
            self._tunnels.send(way.relay, RelayClose(way.label, reason), now=now)
        self._questions.set(way.channel, None)
        self._ways.remove(way, now=now)

    def forget(self, key: bytes, *, now: float) -> None:
        """Close all ways to or by who is no member any more."""
        self.drop(key, now=now)
        for way in self._ways:
            if key == way.key or key in way.relays:
                self._lose(way, now)
        for failed in [one for one in self._failed if key in (one[0], *one[1])]:
            del self._failed[failed]

    # --- time ---

    def handle_deadline(self, *, now: float) -> None:
        """Ask, ask again, give up, and look for others."""
        for channel in self._questions.pop_due(now):
            for way in [one for one in self._ways if one.channel == channel]:
                self._go_on(way, now)
        for key in self._looks.pop_due(now):
            self._fill(key, now)

    def next_deadline(self) -> Deadline | None:
        """Return when a question is due."""
        return earliest(self._questions.next(), self._looks.next())

    # --- the steps ---

    def _go_on(self, way: Way, now: float) -> None:
        if way.is_offered and now >= way.ends_at:
            self._lose(way, now)
            return
        if way.tries >= self._enough(way):
            if way.heard_at < way.asked_at:
                self._on_silent(way.relay, now)
            self.close(way, RelayReason.CLOSED, now=now)
            self._note_failure(way, now)
            return
        self._ask(way, now)
        if way.is_doubted or now >= way.began_at + HOPE_FOR:
            self._fill(way.key, now)

    def _enough(self, way: Way) -> int:
        """Return after how many questions without an answer the way is given up."""
        if not way.is_open:
            return len(PAUSES)
        return FAR_QUESTIONS if way.heard_at > way.asked_at else QUESTIONS

    def _ask(self, way: Way, now: float) -> None:
        way.tries += 1
        if way.tries == 1:
            way.asked_at = now
        if way.tries == 2:
            self._ways.changed.add(way.key)
        if way.is_open:
            pause = max(DOUBT, 2e-3 * (way.milliseconds or 0.0))
        else:
            pause = PAUSES[way.tries - 1]
        self._set(way, now + pause, "a question about a channel")
        self._tunnels.send(way.relay, _question(way), now=now)

    def _lose(self, way: Way, now: float) -> None:
        self._questions.set(way.channel, None)
        self._ways.remove(way, now=now)
        self._note_failure(way, now)

    def _note_failure(self, way: Way, now: float) -> None:
        if not way.is_offered:
            self._failed[way.key, way.relays] = now + AVOID_FOR
        if way.key in self._wanted:
            self._fill(way.key, now)

    def _hopeful(self, key: bytes, now: float) -> list[Way]:
        return [
            way
            for way in self._ways.of(key)
            if not way.is_offered
            and not way.is_doubted
            and (way.is_open or now < way.began_at + HOPE_FOR)
        ]

    def _fill(self, key: bytes, now: float) -> None:
        """Ask for as many ways as are wanted."""
        if key not in self._wanted:
            return
        hopeful = self._hopeful(key, now)
        used = [way.relays for way in self._ways.of(key) if not way.is_offered]
        firsts = {way.relay for way in hopeful}
        lacking = WANTED - len(hopeful)
        routes = self._routes(key, tuple(used), now) if lacking > 0 else []
        for route in routes:
            if lacking == 0 or len(used) >= MAX_WAYS:
                break
            if route.relays in used or route.relays[0] in firsts:
                continue
            used.append(route.relays)
            firsts.add(route.relays[0])
            lacking -= 1
            way = self._ways.add(key, route.relays, now=now)
            self._set(way, now + FIRST_QUESTION, "ask for a channel")
        if lacking > 0:
            has_one = any(way.is_open for way in self._ways.of(key))
            pause = LOOK_AGAIN if has_one else LOOK_SOON
            again = now + spread(pause, self._entropy)
            self._looks.set(key, Deadline(again, "look for a relay"))

    def _routes(
        self, key: bytes, used: tuple[tuple[bytes, ...], ...], now: float
    ) -> list[Route]:
        """Return the routes to a member, those that failed lately behind the others."""
        self._failed = {k: until for k, until in self._failed.items() if now < until}
        self._refused = {k: until for k, until in self._refused.items() if now < until}
        routes = [
            route
            for route in self._choose(key, used, now)
            if (key, route.relays) not in self._refused
        ]
        return sorted(routes, key=lambda route: (key, route.relays) in self._failed)

    def _set(self, way: Way, at: float, reason: str) -> None:
        self._questions.set(way.channel, Deadline(at, reason))


def _question(way: Way) -> RelayOpen | RelayAccept:
    if way.is_offered:
        return RelayAccept(way.label, way.channel)
    return RelayOpen(way.key, way.relays[1:], (), way.channel, way.take_kept())
