"""Publish our endpoint record, so that others find us.

It says our candidates (`set_candidates`) and hints (`set_hints`). It goes to the first
three members with role rendezvous, in the order of a hash of both keys, that answer,
on every change. Every 300 s ± 25 % they are told that it still holds, because it is
forgotten after 960; who has lost it then gets it again. One that does not answer three
times, 2 s apart, is passed over for ten minutes and the next takes its place. If we
are among the three ourselves, or nobody else is a rendezvous, our own `Rendezvous`
keeps the record.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from meshnode.codec.messages import Publish, Published, Refresh
from meshnode.codec.records import Endpoints, NatHint, RelayHint
from meshnode.deadlines import Deadline
from meshnode.mesh.jitter import spread
from meshnode.mesh.ports import Tunnels
from meshnode.mesh.ranking import rank_by_hash
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.rendezvous import Rendezvous
from meshnode.ports import Entropy
from meshnode.types import Endpoint
from meshnode.values import frozen

SERVERS: Final = 3
PUBLISH_EVERY: Final = 300.0
ANSWER_WITHIN: Final = 2.0
MAX_TRIES: Final = 3
CHANGE_PAUSE: Final = 0.4
PASSED_OVER_FOR: Final = 600.0

Sign = Callable[[Endpoints], bytes]
"""Return the envelope of our endpoint record, signed by our signing key."""


@frozen
class Hints:
    """What our endpoint record says beside the candidates; see `Endpoints`."""

    probe_key: bytes = b""
    nat: NatHint = NatHint()
    relays: tuple[RelayHint, ...] = ()


class Publishing:
    """Keep our endpoint record with the rendezvous members that serve our key.

    Args:
        key: our WireGuard key.
        sign: makes the record.
        tunnels: to speak to the rendezvous members.
        own: our own rendezvous.
        rendezvous_keys: gives the keys of all members with that role now, ours too if
            we have it.
        entropy: for the jitter.
    """

    def __init__(
        self,
        *,
        key: bytes,
        sign: Sign,
        tunnels: Tunnels,
        own: Rendezvous,
        rendezvous_keys: Callable[[], Iterable[bytes]],
        entropy: Entropy,
    ) -> None:
        self._key = key
        self._sign = sign
        self._tunnels = tunnels
        self._own = own
        self._rendezvous_keys = rendezvous_keys
        self._entropy = entropy
        self._candidates: tuple[Endpoint, ...] = ()
        self._hints = Hints()
        self._version = 0
        self._record = b""
        self._round_at: float | None = None
        self._retry_at = 0.0
        # Who was asked in this round, and how often without an answer yet.
        self._unanswered: dict[bytes, int] = {}
        self._asked: set[bytes] = set()
        # Who has confirmed which version.
        self._told: dict[bytes, int] = {}
        self._passed_over: dict[bytes, float] = {}

    @property
    def record(self) -> tuple[int, bytes]:
        """The version of what is published, and its bytes; b"" before the first."""
        return self._version, self._record

    def set_candidates(
        self, candidates: tuple[Endpoint, ...], *, now: float, wall: int
    ) -> None:
        """Publish *candidates*, at most 8, best first, unless they are published.

        The version of a record is the wall second it was made in, or one more than
        the last.
        """
        if self._record and candidates == self._candidates:
            return
        self._candidates = candidates
        self._make_record(now, wall)

    def set_hints(self, hints: Hints, *, now: float, wall: int) -> None:
        """Publish these hints with the candidates, unless they are published.

        Before there are candidates they are only noted.
        """
        if hints == self._hints:
            return
        self._hints = hints
        if self._record:
            self._make_record(now, wall)

    def receive_published(self, peer: bytes, message: Published, *, now: float) -> bool:
        """Note that *peer* answered; that it keeps a later version does not matter.

        Return whether it was asked in this round. If so, and it has lost what it
        confirmed before, it gets that again.
        """
        self._unanswered.pop(peer, None)
        self._passed_over.pop(peer, None)
        if peer not in self._asked:
            return False
        if message.version >= self._version:
            self._told[peer] = self._version
        elif self._told.pop(peer, 0) == self._version:
            self._ask(peer, now)
        return True

    def rendezvous_changed(self, *, now: float) -> None:
        """Publish soon: others serve our key now, and those before may be gone.

        Not at once, since members come in crowds.
        """
        if self._round_at is not None:
            soon = now + spread(CHANGE_PAUSE, self._entropy)
            self._round_at = min(self._round_at, soon)

    def publish_again(self, *, now: float) -> None:
        """Publish at once, if there is something to: the last time may be lost."""
        if self._round_at is not None:
            self._round_at = now

    def handle_deadline(self, *, now: float, wall: int) -> None:
        """Publish when it is time, and ask again who did not answer."""
        if self._round_at is None:
            return
        if now >= self._round_at:
            self._begin_round(now)
        elif self._unanswered and now >= self._retry_at:
            self._ask_again(now)

    def next_deadline(self) -> Deadline | None:
        """Return when there is something to publish or to ask again."""
        if self._round_at is None:
            return None
        if self._unanswered and self._retry_at < self._round_at:
            return Deadline(self._retry_at, "publish again")
        return Deadline(self._round_at, "publish endpoints")

    def _make_record(self, now: float, wall: int) -> None:
        self._version = max(self._version + 1, wall)
        hints = self._hints
        self._record = self._sign(
            Endpoints(
                self._key,
                self._version,
                self._candidates,
                hints.probe_key,
                hints.nat,
                hints.relays,
            )
        )
        self._round_at = now

    def _begin_round(self, now: float) -> None:
        self._round_at = now + spread(PUBLISH_EVERY, self._entropy)
        self._passed_over = {
            key: until for key, until in self._passed_over.items() if now < until
        }
        ranked = rank_by_hash(self._key, self._rendezvous_keys())
        chosen = [key for key in ranked if key not in self._passed_over][:SERVERS]
        if self._key in chosen or not any(key != self._key for key in ranked):
            self._keep_own(now)
        self._asked = set(chosen)
        self._told = {key: self._told[key] for key in chosen if key in self._told}
        self._unanswered = {}
        for key in chosen:
            if key != self._key:
                self._ask(key, now)
        self._retry_at = now + ANSWER_WITHIN

    def _keep_own(self, now: float) -> None:
        # Refused while we are no member that counts; then nobody asks for us.
        with suppress(RecordRefused):
            self._own.keep_own(self._key, self._record, now=now)

    def _ask(self, key: bytes, now: float) -> None:
        self._unanswered[key] = self._unanswered.get(key, 0) + 1
        has_it = self._told.get(key) == self._version
        message = Refresh(self._version) if has_it else Publish(self._record)
        self._tunnels.send(key, message, now=now)

    def _ask_again(self, now: float) -> None:
        self._retry_at = now + ANSWER_WITHIN
        for key, tries in list(self._unanswered.items()):
            if tries < MAX_TRIES:
                self._ask(key, now)
                continue
            del self._unanswered[key]
            self._passed_over[key] = now + PASSED_OVER_FOR
            self._ask_next(now)

    def _ask_next(self, now: float) -> None:
        for key in rank_by_hash(self._key, self._rendezvous_keys()):
            if key not in self._asked and key not in self._passed_over:
                self._asked.add(key)
                if key == self._key:
                    self._keep_own(now)
                else:
                    self._ask(key, now)
                return
