"""Which relays are near to us: measured now and then, and the best kept in touch with.

The two nearest are our *homes*: a session with them is kept alive, so that offers reach
us behind a NAT at any time. The others are asked less often, and only a few of them if
there are many. Questions are pings; a round trip counts if a session was there before,
for a handshake would be counted with it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from meshnode.channels import channel_of
from meshnode.codec.messages import Ping, Pong
from meshnode.codec.records import MAX_RELAYS, RelayHint
from meshnode.deadlines import Deadline
from meshnode.mesh.jitter import spread
from meshnode.mesh.ports import Tunnels
from meshnode.mesh.ranking import rank_by_hash
from meshnode.mesh.relay_choice import nearest
from meshnode.ports import Entropy

HOMES: Final = 2
MAX_MEASURED: Final = 8
"""Relays that are measured; of more, those that a hash of both keys draws."""

ANSWER_WITHIN: Final = 3.0
SOON: Final = 0.3
"""Seconds until the first round, and after a change: changes come in crowds."""

QUICK: Final = 10.0
QUICK_ROUNDS: Final = 3
"""So soon, and so often, silent relays are asked again at the beginning."""

SILENT_AGAIN: Final = 30.0
"""Seconds after which one is asked again that answered no other question."""

ROUND_EVERY: Final = 300.0
ALL_EVERY: Final = 4
"""Rounds in which the homes are asked, to one in which all are."""

BUSY_FOR: Final = 60.0
"""Seconds in which a relay that had no room comes after others."""

BURDEN: Final = 500.0
"""Milliseconds by which it does, and who did not answer."""

SMOOTHING: Final = 0.3
NOTEWORTHY: Final = 0.25
"""What part of a published round trip it must change by to be published anew."""

_NONCE_BYTES: Final = 8


@dataclass(slots=True)
class _Question:
    nonce: bytes
    at: float
    counts: bool


class HomeRelays:
    """Measures relays; `homes` are the nearest, `measured` milliseconds of all.

    Args:
        key: our WireGuard key.
        tunnels: carry the pings.
        relays: gives the keys of all members that serve as relays, ours too.
        entropy: for nonces and jitter.
    """

    def __init__(
        self,
        key: bytes,
        *,
        tunnels: Tunnels,
        relays: Callable[[], Iterable[bytes]],
        entropy: Entropy,
    ) -> None:
        self.homes: tuple[bytes, ...] = ()
        self.measured: dict[bytes, float] = {}
        self._key = key
        self._tunnels = tunnels
        self._relays = relays
        self._entropy = entropy
        self._open: dict[bytes, _Question] = {}
        self._silent: set[bytes] = set()
        self._busy: dict[bytes, float] = {}
        self._published: tuple[RelayHint, ...] = ()
        self._round_at: float | None = None
        self._judge_at: float | None = None
        self._rounds = 0

    def others(self) -> list[bytes]:
        """Return all relays but ourselves."""
        return [key for key in self._relays() if key != self._key]

    def measure_soon(self, *, now: float) -> None:
        """Begin anew: relays came, or we are elsewhere."""
        soon = now + spread(SOON, self._entropy)
        self._rounds = 0
        if self._round_at is None or self._round_at > soon:
            self._round_at = soon

    def receive_pong(self, key: bytes, pong: Pong, *, now: float) -> bool:
        """Take an answer; return whether we know more than before by it."""
        question = self._open.get(key)
        if question is None or question.nonce != pong.nonce:
            return False
        del self._open[key]
        self._silent.discard(key)
        if not question.counts:
            self._ask(key, now)
            return False
        path = self._tunnels.path_of(key)
        if path is not None and channel_of(path):
            # It forwards nothing for who is behind a channel itself.
            if self.measured.pop(key, None) is not None:
                self._choose()
            return False
        trip = (now - question.at) * 1000
        before = self.measured.get(key, trip)
        self.measured[key] = before + SMOOTHING * (trip - before)
        self._choose()
        return True

    def path_changed(self, key: bytes, *, now: float) -> None:
        """The way to a relay is another: measure that, if it is direct."""
        path = self._tunnels.path_of(key)
        is_direct = path is not None and not channel_of(path)
        is_new = key not in self.measured and key not in self._open
        if is_direct and is_new and self._tunnels.has_session(key):
            self._ask(key, now)

    def note_silent(self, key: bytes, *, now: float) -> None:
        """A relay answered nothing: choose others, and ask it again soon."""
        self._silent.add(key)
        again = now + spread(SILENT_AGAIN, self._entropy)
        if self._round_at is None or self._round_at > again:
            self._round_at = again

    def is_silent(self, key: bytes) -> bool:
        """Whether a relay did not answer, and does not speak to us now."""
        return key in self._silent and not self._tunnels.has_session(key)

    def note_busy(self, key: bytes, *, now: float) -> None:
        """A relay had no room for us, or is not willing."""
        self._busy[key] = now + BUSY_FOR

    def burdens(self, *, now: float) -> dict[bytes, float]:
        """Return milliseconds to add to routes by relays that had better rest."""
        self._busy = {key: until for key, until in self._busy.items() if now < until}
        return dict.fromkeys((*self._busy, *self._silent), BURDEN)

    def best(self) -> tuple[RelayHint, ...]:
        """Return what to tell others; small changes of round trips are not told."""
        chosen = nearest(self.measured, self.homes, MAX_RELAYS)
        before = {hint.key: hint.milliseconds for hint in self._published}
        hints = []
        for key in chosen:
            said, trip = before.get(key), round(self.measured[key])
            if said is not None and abs(trip - said) <= max(5, said * NOTEWORTHY):
                trip = said
            hints.append(RelayHint(key, min(trip, 65_535)))
        if set(before) != set(chosen) or any(
            before[hint.key] != hint.milliseconds for hint in hints
        ):
            self._published = tuple(hints)
        return self._published

    def forget(self, key: bytes) -> None:
        """Drop everything of who is no member any more, or no relay."""
        self._open.pop(key, None)
        self._busy.pop(key, None)
        self._silent.discard(key)
        if self.measured.pop(key, None) is not None:
            self._choose()

    def handle_deadline(self, *, now: float) -> None:
        """Ask, and see who did not answer."""
        if self._judge_at is not None and now >= self._judge_at:
            self._judge_at = None
            self._judge()
        if self._round_at is not None and now >= self._round_at:
            self._begin_round(now)

    def next_deadline(self) -> Deadline | None:
        """Return when relays are asked, or their answers are due."""
        moments = [at for at in (self._round_at, self._judge_at) if at is not None]
        return Deadline(min(moments), "measure relays") if moments else None

    def _begin_round(self, now: float) -> None:
        allowed = self.others()
        for key in [key for key in self.measured if key not in set(allowed)]:
            self.forget(key)
        if not allowed:
            self._round_at = None
            return
        drawn = rank_by_hash(self._key, allowed)[:MAX_MEASURED]
        is_quick = self._rounds < QUICK_ROUNDS and not set(drawn) <= set(self.measured)
        asks_all = is_quick or not self.homes or self._rounds % ALL_EVERY == 0
        self._rounds += 1
        pause = QUICK if is_quick else ROUND_EVERY
        self._round_at = now + spread(pause, self._entropy)
        self._judge_at = now + ANSWER_WITHIN
        silent = self._silent.intersection(allowed)
        for key in dict.fromkeys((*self.homes, *silent, *(drawn if asks_all else ()))):
            self._ask(key, now)

    def _ask(self, key: bytes, now: float) -> None:
        nonce = self._entropy(_NONCE_BYTES)
        counts = self._tunnels.has_session(key)
        self._open[key] = _Question(nonce, now, counts)
        self._tunnels.send(key, Ping(nonce), now=now)

    def _judge(self) -> None:
        for key in self._open:
            self._silent.add(key)
            self.measured.pop(key, None)
        if self._open:
            self._choose()
        self._open.clear()

    def _choose(self) -> None:
        self.homes = nearest(self.measured, self.homes, HOMES)
