"""Whether UDP gets through at all, and whom to reach by TLS as long as it does not.

    watch.asked(key, now=...)       # a question went to a member by UDP
    watch.heard(now=...)            # something authenticated came by UDP
    watch.connected(key, now=...)   # TLS reaches it
    watch.lost(key, now=...)        # or does not, or no longer

    watch.wanted                    # whom to reach by TLS now
    watch.take_probes(now=...)      # whom to ask by UDP now

Theory of operation. A *home* is a member that may serve TLS: a contact, a relay, a
rendezvous. When one was asked and does not answer, so are others; and when for
`SILENCE` seconds nothing came by UDP from anybody, UDP is suspected, and two homes are
dialled by TLS; one that cannot be had gives its place to the next. A connection that
cannot be had does no harm: one answer by UDP, and all of it ends. On TLS, homes go on
being asked by UDP, every `PROBE_EVERY` seconds. After the first answer we linger: the
connections are kept until UDP has answered for a while, and longer each time that UDP
fails soon after.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from meshnode.deadlines import Deadline
from meshnode.mesh.jitter import spread
from meshnode.ports import NEVER, Entropy

CHECK_AFTER: Final = 0.7
"""Seconds after a question without any answer until other homes are asked as well."""

CHECK_EVERY: Final = 3.0
"""Seconds between two of these: one home may be gone for long."""

SILENCE: Final = 1.7
"""Seconds after a question without any answer until TLS is tried."""

RECENT: Final = 3.0
"""Seconds for which something heard by UDP speaks against suspicion."""

PROBE_EVERY: Final = 8.0
LINGER_PROBE_EVERY: Final = 3.0
LINGER: Final = 10.0
LONGEST_LINGER: Final = 320.0
RELAPSE: Final = 600.0
"""Seconds after leaving TLS within which its return makes us linger longer."""

MAX_WANTED: Final = 2
MAX_CHECKED: Final = 3
FIRST_REST: Final = 2.0
LONGEST_REST: Final = 60.0


@dataclass(slots=True)
class _Rest:
    """A home that could not be reached by TLS is left alone until `until`."""

    seconds: float
    until: float


class UdpWatch:
    """The watch of one node.

    *homes* gives the WireGuard keys of those that may serve TLS, the best first;
    *entropy* is for jitter.
    """

    def __init__(
        self, homes: Callable[[], tuple[bytes, ...]], entropy: Entropy
    ) -> None:
        self._homes = homes
        self._entropy = entropy
        self._asked_at: float | None = None
        self._check_at: float | None = None
        self._checked_at = NEVER
        self._heard_at = NEVER
        self._answered_at: float | None = None  # by UDP, while on TLS
        self._left_at = NEVER
        self._linger = LINGER
        self._wanted: tuple[bytes, ...] = ()
        self._is_suspected = False
        self._connected: set[bytes] = set()
        self._rests: dict[bytes, _Rest] = {}
        self._probe_at: float | None = None

    @property
    def wanted(self) -> tuple[bytes, ...]:
        """Whom to reach by TLS, at most two."""
        return self._wanted

    @property
    def is_blocked(self) -> bool:
        """Whether UDP does not get through, and TLS does."""
        return bool(self._connected) and self._answered_at is None

    def asked(self, key: bytes, *, now: float) -> None:
        """A home was sent what it answers at once; others do not count."""
        if self._is_suspected or self._asked_at is not None:
            return
        if key in self._homes():
            self._asked_at = now
            self._check_at = max(now, self._checked_at + CHECK_EVERY) + CHECK_AFTER

    def heard(self, *, now: float) -> None:
        """Something authenticated came from an address, and by UDP."""
        self._heard_at = now
        self._asked_at = self._check_at = None
        if not self._is_suspected:
            return
        if not self._connected:
            self._leave()  # a false alarm
        elif self._answered_at is None:
            self._answered_at = now
            self._probe_at = now + LINGER_PROBE_EVERY

    def connected(self, key: bytes, *, now: float) -> None:
        """TLS reaches this home."""
        if key not in self._wanted:
            return
        self._rests.pop(key, None)
        if not self._connected:
            if now - self._left_at < RELAPSE:
                self._linger = min(2 * self._linger, LONGEST_LINGER)
            else:
                self._linger = LINGER
            self._probe_at = now + spread(PROBE_EVERY, self._entropy)
        self._connected.add(key)

    def lost(self, key: bytes, *, now: float) -> None:
        """TLS does not reach this home: another may do."""
        if key not in self._wanted:
            return
        self._connected.discard(key)
        before = self._rests.get(key)
        seconds = (
            FIRST_REST if before is None else min(2 * before.seconds, LONGEST_REST)
        )
        self._rests[key] = _Rest(seconds, now + spread(seconds, self._entropy))
        self._choose(now)

    def handle_deadline(self, *, now: float) -> None:
        """Suspect, go on, or leave, as is due."""
        if not self._is_suspected:
            at = self._suspect_at()
            if at is not None and now >= at:
                self._is_suspected = True
                self._asked_at = self._check_at = None
                self._probe_at = now + spread(PROBE_EVERY, self._entropy)
                self._choose(now)
            return
        if self._answered_at is not None and now >= self._answered_at + self._linger:
            if now - self._heard_at <= 2 * LINGER_PROBE_EVERY:
                self._left_at = now
                self._leave()
                return
            self._answered_at = None  # it was an exception
        self._choose(now)

    def take_probes(self, *, now: float) -> tuple[bytes, ...]:
        """Return the homes to ask by UDP now, if it is time."""
        if self._check_at is not None and now >= self._check_at:
            self._check_at, self._checked_at = None, now
            return self._homes()[:MAX_CHECKED]
        if self._probe_at is None or now < self._probe_at:
            return ()
        is_leaving = self._answered_at is not None
        pause = LINGER_PROBE_EVERY if is_leaving else PROBE_EVERY
        self._probe_at = now + spread(pause, self._entropy)
        return self._wanted

    def next_deadline(self) -> Deadline | None:
        """Return when something is due."""
        times = [self._suspect_at(), self._check_at, self._probe_at]
        if self._answered_at is not None:
            times.append(self._answered_at + self._linger)
        if self._is_suspected and len(self._wanted) < MAX_WANTED:
            homes = set(self._homes()).difference(self._wanted)
            times += [r.until for key, r in self._rests.items() if key in homes]
        due = [at for at in times if at is not None]
        return Deadline(min(due), "UDP may be blocked") if due else None

    def _suspect_at(self) -> float | None:
        if self._is_suspected or self._asked_at is None:
            return None
        # Never before others were asked, too: one home alone may be gone.
        asked_at = self._checked_at if self._check_at is None else self._check_at
        soonest = asked_at + SILENCE - CHECK_AFTER
        return max(self._asked_at + SILENCE, self._heard_at + RECENT, soonest)

    def _choose(self, now: float) -> None:
        """Keep whom we are connected to or waiting for, and fill up with others."""
        homes = self._homes()
        resting = {key for key, rest in self._rests.items() if now < rest.until}
        kept = [key for key in self._wanted if key in homes and key not in resting]
        others = [key for key in homes if key not in kept and key not in resting]
        self._wanted = tuple([*kept, *others][:MAX_WANTED])
        self._connected.intersection_update(self._wanted)

    def _leave(self) -> None:
        self._is_suspected = False
        self._answered_at = None
        self._probe_at = None
        self._wanted = ()
        self._connected.clear()
        self._rests.clear()
