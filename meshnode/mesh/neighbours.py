"""With whom a node gossips: about five members, chosen alike everywhere, and alive.

Members lie on a ring in the order of their hashed keys. Our neighbours are the two
after us, the one before us, and two more that a hash of both keys draws. The ring
makes one whole of all members that are alive; the draws make it a small world. A
member that does not answer is skipped, so the next one takes its place, and is asked
again now and then: when it answers, it is a neighbour again, and so the two halves of
a partition find together.

`due` says whom to greet with a `Hello`; `heard` is told of whatever a member sends.
What is new is pushed at once, so a `Hello` only finds what was lost: as long as two
neighbours agree they greet each other less and less, down to once in ten minutes, and
so a mesh at rest costs next to nothing.
"""

import heapq
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from meshnode.crypto.primitives import fingerprint
from meshnode.deadlines import Deadline, DeadlineHeap, earliest
from meshnode.ports import NEVER, Entropy

SUCCESSORS: Final = 2
PREDECESSORS: Final = 1
DRAWN: Final = 2

HELLO_INTERVAL: Final = 20.0
LAST_HELLO_INTERVAL: Final = 640.0
"""Seconds between two Hellos to one neighbour at first, and after it was doubled."""

HELLO_TIMEOUT: Final = 2.0
MAX_UNANSWERED: Final = 3
FIRST_RETRY: Final = 5.0
LAST_RETRY: Final = 120.0
RETRY_SPACING: Final = 2.0
JITTER: Final = 0.25

FIRST_HELLO_WITHIN: Final = 0.5
"""Seconds within which a new neighbour is greeted: a network that starts all at once
does not send all its Hellos in one instant."""

MANY_SILENT: Final = 8
"""With more silent members than this, new ones are tried as slowly as those."""


@dataclass(slots=True)
class _Contact:
    """A neighbour: how many Hellos wait for an answer, whether one ever came.

    `interval` is how many seconds after an answer the next one goes, `next_at` when.
    """

    unanswered: int = 0
    has_answered: bool = False
    interval: float = HELLO_INTERVAL
    next_at: float = NEVER


@dataclass(slots=True)
class _Silent:
    """A member that did not answer: when to ask it again, and how long that was."""

    at: float
    wait: float


class Neighbours:
    """The neighbours of the member with WireGuard key *our_key*.

    Members that gossip are told by `add` and `remove`; stock members do not.
    """

    def __init__(self, our_key: bytes, entropy: Entropy) -> None:
        self._our_key = our_key
        self._entropy = entropy
        self._ring = _Order(b"")
        self._ring.add(our_key)
        self._draw = _Order(our_key)
        self._contacts: dict[bytes, _Contact] = {}
        self._hellos: DeadlineHeap[bytes] = DeadlineHeap()
        self._silent: dict[bytes, _Silent] = {}
        # When to ask silent members; entries that `_silent` does not confirm are void.
        self._retries: list[tuple[float, bytes]] = []
        self._probed_at = NEVER
        self._choose_at: float | None = None

    @property
    def chosen(self) -> tuple[bytes, ...]:
        """The keys of the neighbours at present, successors first."""
        return tuple(self._contacts)

    @property
    def answering(self) -> int:
        """How many of the neighbours have sent something since they are neighbours."""
        return sum(contact.has_answered for contact in self._contacts.values())

    @property
    def silent(self) -> tuple[bytes, ...]:
        """The keys of members that did not answer lately."""
        return tuple(self._silent)

    def add(self, key: bytes, *, now: float) -> None:
        """Take a member into account; one that is known, or ourselves, is ignored."""
        if self._ring.add(key):
            self._draw.add(key)
            self._choose_at = now

    def remove(self, key: bytes, *, now: float) -> None:
        """Forget a member; one that is unknown, or ourselves, is ignored."""
        if key == self._our_key or not self._ring.remove(key):
            return
        self._draw.remove(key)
        self._silent.pop(key, None)
        if key in self._contacts:
            self._choose_at = now

    def heard(self, key: bytes, *, now: float) -> None:
        """Note that the member sent something: it is alive."""
        if self._silent.pop(key, None) is not None:
            self._choose_at = now
        contact = self._contacts.get(key)
        if contact is None:
            return
        contact.has_answered = True
        if contact.unanswered:
            contact.unanswered = 0
            self._greet_after(key, contact, contact.interval, now)
            contact.interval = min(2 * contact.interval, LAST_HELLO_INTERVAL)

    def differs(self, key: bytes, *, now: float) -> None:
        """Note that a member knows other things than we: look again soon."""
        contact = self._contacts.get(key)
        if contact is not None:
            contact.interval = HELLO_INTERVAL
            self._look_soon(key, contact, now)

    def expect_changes(self, *, now: float) -> None:
        """Look soon whether all neighbours have what is pushed to them now.

        Once: who does not answer is not there, and would else be missed for long.
        """
        for key, contact in self._contacts.items():
            self._look_soon(key, contact, now)

    def greet_again(self, *, now: float) -> None:
        """Greet all neighbours anew: what was said to them may not have left."""
        for key, contact in self._contacts.items():
            contact.unanswered = 0
            contact.interval = HELLO_INTERVAL
            self._greet_soon(key, now)

    def due(self, *, now: float) -> tuple[bytes, ...]:
        """Return the members to greet now; each of them is to answer."""
        self._choose(now)
        greeted = []
        for key in self._hellos.pop_due(now):
            contact = self._contacts[key]
            if contact.unanswered == MAX_UNANSWERED:
                self._fall_silent(key, FIRST_RETRY, now)
                self._choose_at = now
            elif self._is_untried(contact) and not self._may_probe(now):
                at = self._probed_at + RETRY_SPACING
                self._hellos.set(key, Deadline(at, "try the next neighbour"))
            else:
                if self._is_untried(contact):
                    self._probed_at = now
                contact.unanswered += 1
                self._hellos.set(key, Deadline(now + HELLO_TIMEOUT, "hello answered?"))
                greeted.append(key)
        self._choose(now)
        return (*greeted, *self._retry(now))

    def next_deadline(self) -> Deadline | None:
        """Return when `due` has something to say next."""
        choose = None
        if self._choose_at is not None:
            choose = Deadline(self._choose_at, "choose neighbours")
        retry = None
        self._skip_void_retries()
        if self._retries:
            at = max(self._retries[0][0], self._probed_at + RETRY_SPACING)
            retry = Deadline(at, "ask a silent member")
        return earliest(choose, self._hellos.next(), retry)

    def _choose(self, now: float) -> None:
        """Take those that are due to be neighbours, leave the others."""
        if self._choose_at is None:
            return
        self._choose_at = None
        chosen: dict[bytes, None] = {}
        for order, size in (
            (self._ring.after(self._our_key), SUCCESSORS),
            (self._ring.before(self._our_key), PREDECESSORS),
            (iter(self._draw.keys), DRAWN),
        ):
            for key in order:
                if size == 0:
                    break
                if key not in self._silent and key not in chosen:
                    chosen[key] = None
                    size -= 1
        for key in self._contacts:
            if key not in chosen:
                self._hellos.set(key, None)
        for key in chosen:
            if key not in self._contacts:
                self._greet_soon(key, now)
        self._contacts = {key: self._contacts.get(key, _Contact()) for key in chosen}

    def _look_soon(self, key: bytes, contact: _Contact, now: float) -> None:
        is_later = contact.next_at > now + (1.0 + JITTER) * HELLO_INTERVAL
        if is_later and not contact.unanswered:
            self._greet_after(key, contact, HELLO_INTERVAL, now)

    def _greet_after(
        self, key: bytes, contact: _Contact, interval: float, now: float
    ) -> None:
        deadline = self._after(interval, now, "hello")
        contact.next_at = deadline.at
        self._hellos.set(key, deadline)

    def _greet_soon(self, key: bytes, now: float) -> None:
        at = now + FIRST_HELLO_WITHIN * self._chance()
        self._hellos.set(key, Deadline(at, "greet a new neighbour"))

    def _retry(self, now: float) -> tuple[bytes, ...]:
        self._skip_void_retries()
        if not self._retries or self._retries[0][0] > now or not self._may_probe(now):
            return ()
        key = heapq.heappop(self._retries)[1]
        self._probed_at = now
        self._fall_silent(key, min(2 * self._silent[key].wait, LAST_RETRY), now)
        return (key,)

    def _fall_silent(self, key: bytes, wait: float, now: float) -> None:
        at = self._after(wait, now, "").at
        self._silent[key] = _Silent(at, wait)
        heapq.heappush(self._retries, (at, key))

    def _skip_void_retries(self) -> None:
        while self._retries:
            at, key = self._retries[0]
            silent = self._silent.get(key)
            if silent is not None and silent.at == at:
                return
            heapq.heappop(self._retries)

    def _is_untried(self, contact: _Contact) -> bool:
        if len(self._silent) <= MANY_SILENT:
            return False
        return contact.unanswered == 0 and not contact.has_answered

    def _may_probe(self, now: float) -> bool:
        return now >= self._probed_at + RETRY_SPACING

    def _after(self, delay: float, now: float, reason: str) -> Deadline:
        factor = 1.0 - JITTER + 2.0 * JITTER * self._chance()
        return Deadline(now + delay * factor, reason)

    def _chance(self) -> float:
        return int.from_bytes(self._entropy(4), "big") / 2**32


class _Order:
    """Keys in the order of their hashes with *salt*: two flat arrays."""

    def __init__(self, salt: bytes) -> None:
        self.keys: list[bytes] = []
        self._salt = salt
        self._places = array("Q")

    def add(self, key: bytes) -> bool:
        """Add *key*; return False if it is there."""
        place, at = self._find(key)
        if at < len(self.keys) and self.keys[at] == key:
            return False
        self._places.insert(at, place)
        self.keys.insert(at, key)
        return True

    def remove(self, key: bytes) -> bool:
        """Remove *key*; return False if it is not there."""
        _, at = self._find(key)
        if at == len(self.keys) or self.keys[at] != key:
            return False
        del self._places[at]
        del self.keys[at]
        return True

    def after(self, key: bytes) -> Iterator[bytes]:
        """Yield the keys after *key*, once around."""
        at = self._find(key)[1]
        for step in range(1, len(self.keys)):
            yield self.keys[(at + step) % len(self.keys)]

    def before(self, key: bytes) -> Iterator[bytes]:
        """Yield the keys before *key*, once around, backwards."""
        at = self._find(key)[1]
        for step in range(1, len(self.keys)):
            yield self.keys[at - step]

    def _find(self, key: bytes) -> tuple[int, int]:
        place = int.from_bytes(fingerprint(self._salt + key), "big")
        at = bisect_left(self._places, place)
        # Two keys with one hash lie in their own order.
        while at < len(self.keys) and self._places[at] == place and self.keys[at] < key:
            at += 1
        return place, at
