"""The walk that finds what two sets differ in, and mends it.

A `Hello` with another digest than ours is answered with the digests of the tree's
first level. The two then walk down, a message a level, to leaves of at most `LEAF`
records. There each pushes what the other lacks and asks for what it lacks itself.

A walk that changed something is followed by another `Hello` soon, till nothing
changes: so a set of thousands is filled as fast as budgets allow. Who is far behind
walks down a few paths at a time, since it could not take what is at the end of all. A
walk that changes nothing, again and again, is left for longer and longer: clocks or
charters differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from meshnode.codec.message_bytes import MAX_PUSH, MAX_WANT
from meshnode.codec.messages import MAX_LEAF, Digests, Leaf, Push, Want
from meshnode.deadlines import Deadline
from meshnode.mesh.answers import Answers
from meshnode.mesh.digests import BRANCHES, MAX_DEPTH
from meshnode.mesh.record_set import RecordSet
from meshnode.ports import Entropy

LEAF: Final = 16
MAX_BATCH_BYTES: Final = 1150

NEXT_WALK_AFTER: Final = 0.5
WALK_TIME: Final = 5.0
"""Seconds for which what a peer pushes is taken to belong to a walk."""

FAR_BEHIND: Final = 64
"""So many records more than we have make a peer's set one that we have yet to learn."""

FEW_PATHS: Final = 4
MAX_FUTILE: Final = 3
FUTILE_WAIT: Final = 20.0
MAX_FUTILE_WAIT: Final = 320.0


@dataclass(slots=True)
class _Tried:
    """A walk between two digests: how often it began, when it may again."""

    digests: tuple[bytes, bytes]
    times: int
    not_before: float


class Repair:
    """The walks of one node; *entropy* chooses where they begin."""

    def __init__(self, records: RecordSet, answers: Answers, entropy: Entropy) -> None:
        self._records = records
        self._answers = answers
        self._entropy = entropy
        self._walks: dict[bytes, float] = {}  # until when a peer's pushes are ours
        self._again: dict[bytes, float] = {}
        self._tried: dict[bytes, _Tried] = {}
        self._counts: dict[bytes, int] = {}  # of records, as peers told last

    def note_count(self, key: bytes, count: int) -> None:
        """Note how many records the peer says it has."""
        self._counts[key] = count

    def is_far_behind(self, key: bytes) -> bool:
        """Whether the peer has so many records that it knows most of what we learn."""
        return self._counts.get(key, 0) > len(self._records) + FAR_BEHIND

    def begin(self, key: bytes, digest: bytes, *, now: float) -> None:
        """Answer the peer whose set has another digest, if that can be of use."""
        own = self._records.tree.root[0]
        if digest == own:
            self._tried.pop(key, None)
            return
        tried = self._tried.get(key)
        if tried is None or tried.digests != (own, digest):
            self._tried[key] = tried = _Tried((own, digest), 0, now)
        if now < tried.not_before:
            return
        tried.times += 1
        if tried.times >= MAX_FUTILE:
            wait = FUTILE_WAIT * 2.0 ** min(tried.times - MAX_FUTILE, 10)
            tried.not_before = now + min(wait, MAX_FUTILE_WAIT)
        self._describe(key, b"", now)

    def take_digests(self, key: bytes, digests: Digests, *, now: float) -> None:
        """Go a level down wherever the peer's digests differ from ours."""
        if len(digests.prefix) >= MAX_DEPTH:
            return
        own = self._records.tree.children(digests.prefix)
        # From another place each time: where much is missing, several neighbours
        # then begin with different parts.
        start = self._entropy(1)[0]
        order = [(start + step) % BRANCHES for step in range(BRANCHES)]
        differing = [child for child in order if own[child] != digests.digests[child]]
        if self.is_far_behind(key):
            del differing[FEW_PATHS:]
        for child in differing:
            if not self._describe(key, digests.prefix + bytes((child,)), now):
                return

    def take_leaf(self, key: bytes, leaf: Leaf, *, now: float) -> None:
        """Compare a leaf: ask for what we lack, push what the peer lacks.

        Of two versions nobody knows the later one yet, so both go their way.
        """
        tree = self._records.tree
        if tree.count(leaf.prefix) > MAX_LEAF:
            self._tell_digests(key, leaf.prefix, now)
            return
        own, theirs = dict(tree.entries(leaf.prefix)), dict(leaf.entries)
        wanted = [id for id, print in theirs.items() if own.get(id) != print]
        if wanted:
            self._walks[key] = now + WALK_TIME
            self._answers.send(key, Want(tuple(wanted[:MAX_WANT])), now=now)
        self._push(
            key, [id for id, print in own.items() if theirs.get(id) != print], now
        )

    def take_want(self, key: bytes, want: Want, *, now: float) -> None:
        """Push what the peer asks for."""
        self._push(key, want.ids, now)

    def note_progress(self, key: bytes, *, now: float) -> None:
        """Walk again soon, if what the peer pushed just now was part of a walk."""
        if self._walks.get(key, now) > now:
            self._again.setdefault(key, now + NEXT_WALK_AFTER)

    def due(self, *, now: float) -> tuple[bytes, ...]:
        """Return the peers to greet, since a walk with them is not at its end."""
        self._walks = {key: until for key, until in self._walks.items() if until > now}
        due = tuple([key for key, at in self._again.items() if at <= now])
        for key in due:
            del self._again[key]
        return due

    def forget(self, key: bytes) -> None:
        """Forget a peer that is no member any more."""
        self._walks.pop(key, None)
        self._again.pop(key, None)
        self._tried.pop(key, None)
        self._counts.pop(key, None)

    def next_deadline(self) -> Deadline | None:
        """Return when `due` has a peer."""
        at = min(self._again.values(), default=None)
        return None if at is None else Deadline(at, "go on with a repair")

    def _describe(self, key: bytes, prefix: bytes, now: float) -> bool:
        """Tell what we have below *prefix*; False if the peer's budget is spent."""
        tree = self._records.tree
        if tree.count(prefix) > LEAF:
            return self._tell_digests(key, prefix, now)
        self._walks[key] = now + WALK_TIME
        leaf = Leaf(prefix, tree.entries(prefix))
        return self._answers.send(key, leaf, now=now)

    def _tell_digests(self, key: bytes, prefix: bytes, now: float) -> bool:
        digests = Digests(prefix, self._records.tree.children(prefix))
        return self._answers.send(key, digests, now=now)

    def _push(self, key: bytes, ids: Iterable[bytes], now: float) -> None:
        found = [record.data for id in ids for record in self._records.find(id)]
        for message in batches(found):
            if not self._answers.send(key, message, now=now):
                return


def batches(records: list[bytes]) -> list[Push]:
    """Put records together to as few messages as their order allows, each once."""
    messages: list[Push] = []
    batch: list[bytes] = []
    size = 0
    for data in dict.fromkeys(records):
        length = len(data) + 3  # with the header of a msgpack byte string
        if batch and (size + length > MAX_BATCH_BYTES or len(batch) == MAX_PUSH):
            messages.append(Push(tuple(batch)))
            batch, size = [], 0
        batch.append(data)
        size += length
    if batch:
        messages.append(Push(tuple(batch)))
    return messages
