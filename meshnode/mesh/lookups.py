"""Look up where members are: ask rendezvous members, then neighbours.

The first three in the order of the wanted key are asked at once; after a second, or
as soon as none of them knows, the neighbours and the next three too; then again with
growing distance. After 10 s without an answer the search is given up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from meshnode.codec.messages import Found, Lookup
from meshnode.deadlines import Deadline, DeadlineHeap
from meshnode.mesh.endpoint_book import EndpointBook
from meshnode.mesh.ports import Tunnels
from meshnode.mesh.publishing import SERVERS
from meshnode.mesh.ranking import rank_by_hash
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.rendezvous import SUBSCRIBED_FOR

GIVE_UP_AFTER: Final = 10.0
ASK_AT: Final = (0.0, 1.0, 3.0, 6.0)
"""Seconds from the beginning of a search at which it asks."""

FIRST_REST: Final = 5.0
LONGEST_REST: Final = 40.0
"""Seconds from a search to the next for a member that does not answer. Until then
those that were asked tell of changes."""

MAX_SEARCHES: Final = 256
MAX_INTERESTS: Final = 4096


@dataclass(slots=True)
class _Search:
    began_at: float
    neighbours: tuple[bytes, ...]
    rounds: int = 0
    silent: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class _Rest:
    seconds: float
    until: float


class Lookups:
    """All searches of this node.

    Args:
        key: our own WireGuard key.
        book: where answers are verified and kept.
        tunnels: to ask by.
        rendezvous_keys: gives the keys of all members with that role now.
    """

    def __init__(
        self,
        *,
        key: bytes,
        book: EndpointBook,
        tunnels: Tunnels,
        rendezvous_keys: Callable[[], Iterable[bytes]],
    ) -> None:
        self._key = key
        self._book = book
        self._tunnels = tunnels
        self._rendezvous_keys = rendezvous_keys
        self._searches: dict[bytes, _Search] = {}
        self._rests: dict[bytes, _Rest] = {}
        self._deadlines: DeadlineHeap[bytes] = DeadlineHeap()
        # Until when others tell us changes, in the order we asked.
        self._interests: dict[bytes, float] = {}

    def want(self, key: bytes, neighbours: tuple[bytes, ...], *, now: float) -> bool:
        """Look for the member with *key*; False if too many are sought.

        A search that is under way goes on; soon after one, none begins. *neighbours*
        may be asked, too.
        """
        if key in self._searches or key == self._key:
            return True
        rest = self._rests.get(key)
        if rest is not None and now < rest.until:
            return True
        if len(self._searches) >= MAX_SEARCHES:
            return False
        seconds = FIRST_REST if rest is None else min(2 * rest.seconds, LONGEST_REST)
        self._rests[key] = _Rest(seconds, now + seconds)
        self._searches[key] = _Search(now, neighbours)
        self._interests.pop(key, None)
        self._interests[key] = now + SUBSCRIBED_FOR
        while len(self._interests) > MAX_INTERESTS:
            del self._interests[next(iter(self._interests))]
        self._ask(key, now)
        return True

    def stop(self, key: bytes) -> None:
        """End the search: the member is found, or no longer of interest."""
        if self._searches.pop(key, None) is not None:
            self._deadlines.set(key, None)

    def reached(self, key: bytes) -> None:
        """The member answers: no search, and the next one at once."""
        self.stop(key)
        self._rests.pop(key, None)

    def forget(self, key: bytes) -> None:
        """End the search and take no more news about *key*."""
        self.reached(key)
        self._interests.pop(key, None)

    def receive_found(self, peer: bytes, message: Found, *, now: float) -> bool:
        """Take an answer, or news, of a member; whether the book has news by it.

        What we did not ask for within 300 s is ignored.
        """
        key = message.key
        if now >= self._interests.get(key, now):
            return False
        if not message.record:
            self._note_ignorance(key, peer, now)
            return False
        try:
            is_news = self._book.receive(key, message.record, now=now)
        except RecordRefused:
            self._note_ignorance(key, peer, now)
            return False
        self.stop(key)
        return is_news

    def handle_deadline(self, *, now: float) -> list[bytes]:
        """Ask again, and return the keys whose search is given up now."""
        given_up = []
        for key in self._deadlines.pop_due(now):
            if now >= self._searches[key].began_at + GIVE_UP_AFTER:
                del self._searches[key]
                given_up.append(key)
            else:
                self._ask(key, now)
        return given_up

    def next_deadline(self) -> Deadline | None:
        """Return when a search goes on."""
        return self._deadlines.next()

    def _ask(self, key: bytes, now: float) -> None:
        search = self._searches[key]
        ranked = [
            server
            for server in rank_by_hash(key, self._rendezvous_keys())
            if server not in (key, self._key)
        ]
        later = slice(SERVERS * search.rounds, SERVERS * (search.rounds + 1))
        asked = dict.fromkeys(ranked[:SERVERS])
        if search.rounds:
            asked.update(dict.fromkeys([*ranked[later], *search.neighbours]))
        asked.pop(key, None)
        search.rounds += 1
        search.silent = set(asked)
        again = GIVE_UP_AFTER
        if search.rounds < len(ASK_AT):
            again = ASK_AT[search.rounds]
        at = max(now, search.began_at + again)
        self._deadlines.set(key, Deadline(at, "look up a member"))
        for peer in asked:
            self._tunnels.send(peer, Lookup(key), now=now)

    def _note_ignorance(self, key: bytes, peer: bytes, now: float) -> None:
        search = self._searches.get(key)
        if search is None:
            return
        search.silent.discard(peer)
        if search.rounds == 1 and not search.silent:
            self._ask(key, now)
