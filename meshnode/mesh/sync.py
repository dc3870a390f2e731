"""Keeping the record sets of all members equal: push what is new, repair the rest.

A record that changed our set goes to all neighbours but the one it came from, and
those from whom we have most of our set yet to learn. One that we know is taken in
silence, so a record crosses every link once or twice and then rests. What was lost on
the way, or happened while a member was away, is mended by `meshnode.mesh.repair`,
which begins when a neighbour's `Hello` shows another digest. Only who was greeted
begins, so that there is one walk, and not two.
"""

from collections.abc import Iterable
from typing import Final

from meshnode.codec.messages import (
    Chunk,
    Digests,
    Fetch,
    Hello,
    Leaf,
    Message,
    Push,
    Want,
)
from meshnode.codec.records import Charter, Kind, Policy
from meshnode.deadlines import Deadline, earliest
from meshnode.mesh.answers import REFUSED_COST, USELESS_COST, Answers
from meshnode.mesh.clock import WallMark
from meshnode.mesh.intake import Intake
from meshnode.mesh.library import Library
from meshnode.mesh.neighbours import Neighbours
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import StoredState, Tunnels
from meshnode.mesh.record_set import Merge, Outcome, Record, RecordSet
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.repair import Repair, batches
from meshnode.mesh.trust import Trust, VerifiedMember
from meshnode.ports import Entropy

COLLECT_INTERVAL: Final = 3600.0

News = Merge | Charter | Policy
"""What a step changed: the set, or the charter or policy in force."""


class Sync:
    """The gossip of one node.

    Args:
        own_key: our WireGuard key.
        trust: verifies what comes in; has our charters.
        records: the set to keep equal with that of others.
        neighbours: whom to greet and push to.
        tunnels: carry the messages.
        outbox: takes what must be durable.
        clock: tells what has passed; learns from certificates.
        entropy: chooses where walks begin.
    """

    def __init__(
        self,
        own_key: bytes,
        *,
        trust: Trust,
        records: RecordSet,
        neighbours: Neighbours,
        tunnels: Tunnels,
        outbox: Outbox,
        clock: WallMark,
        entropy: Entropy,
    ) -> None:
        self.has_agreed = False  # a member had the same records as we, once
        self.answers = Answers(tunnels)
        self.intake = Intake(own_key, trust, records, outbox, clock)
        self.library = Library(trust, tunnels, self.answers, outbox)
        self._records = records
        self._neighbours = neighbours
        self._tunnels = tunnels
        self._repair = Repair(records, self.answers, entropy)
        self._collect_at: float | None = None

    @property
    def own_version_heard(self) -> int:
        """The greatest version of a record about us in the set, 0 for none.

        If it is above our own version, it is from before our state was lost: ours
        must be raised above it.
        """
        return self.intake.own_version

    @property
    def policy(self) -> Policy | None:
        """The policy in force."""
        return self.library.policy

    def load(self, state: StoredState, *, now: float) -> tuple[News, ...]:
        """Take what the state store held; *trust* has its charters already."""
        news: list[News] = [*self.intake.load(state.records, now=now)]
        if state.policy:
            try:
                news.append(self.library.load_policy(state.policy))
            except RecordRefused as refusal:
                self.intake.refused[refusal.reason] += 1
        return tuple(news)

    def publish(self, data: bytes, *, now: float, wall: float) -> tuple[News, ...]:
        """Merge a record of our own making and push it.

        Raises:
            RecordRefused: if it does not verify.
        """
        merge = self.intake.merge(data, now=now, wall=wall)
        if merge.outcome is not Outcome.NEW:
            return ()
        self._spread(merge.kept, self._neighbours.chosen, now)
        self._neighbours.expect_changes(now=now)
        return (merge,)

    def take_introduction(
        self, data: bytes, *, now: float, wall: float
    ) -> tuple[News, ...]:
        """Take a record that came in an introduction, from who is no peer yet.

        Unlike `publish` it keeps the pace of changes, since anybody may send it.
        """
        merge = self.intake.take(data, now=now, wall=wall)
        if merge is None or merge.outcome is not Outcome.NEW:
            return ()
        self._spread(merge.kept, self._neighbours.chosen, now)
        return (merge,)

    def publish_charter(self, data: bytes, *, now: float) -> tuple[News, ...]:
        """Add the next charter and tell the neighbours; a known one is ignored.

        Raises:
            RecordRefused: if it is not the successor of the one in force.
        """
        return self._follow(self.library.adopt_charter(data, now=now), now)

    def publish_policy(self, data: bytes, *, now: float) -> tuple[News, ...]:
        """Put a policy in force and tell the neighbours; an older one is ignored.

        Raises:
            RecordRefused: if it does not verify.
        """
        return self._follow(self.library.adopt_policy(data, now=now), now)

    def receive(
        self, key: bytes, message: Message, *, now: float, wall: float
    ) -> tuple[News, ...]:
        """Take a control frame of the member with WireGuard key *key*.

        Any message is a proof of life; those that are no gossip are nothing more.
        """
        self._neighbours.heard(key, now=now)
        if not self.answers.admit(key, message, now=now):
            return ()
        match message:
            case Hello():
                self._take_hello(key, message, now)
            case Push():
                return self._take_push(key, message, now, wall)
            case Digests():
                self._repair.take_digests(key, message, now=now)
            case Leaf():
                self._repair.take_leaf(key, message, now=now)
            case Want():
                self._repair.take_want(key, message, now=now)
            case Fetch():
                self.library.take_fetch(key, message, now=now)
            case Chunk():
                adopted = self.library.take_chunk(key, message, now=now)
                if adopted is not None:
                    # The peer may have more of the kind.
                    self._greet(key, now)
                return self._follow(adopted, now)
        return ()

    def greet(self, key: bytes, *, now: float) -> None:
        """Say hello to a peer; where our sets differ, it begins to mend them."""
        self._greet(key, now)

    def serve_joiner(self, key: bytes, message: Message, *, now: float) -> None:
        """Answer who is no member yet: with our charters, which are public.

        What it says of itself is no reason to fetch or to compare anything.
        """
        if not self.answers.admit(key, message, now=now):
            return
        match message:
            case Hello(wants_answer=True):
                self.answers.send(key, self._hello(wants_answer=False), now=now)
            case Fetch(kind=Kind.CHARTER):
                self.library.take_fetch(key, message, now=now)

    def forget(self, key: bytes) -> None:
        """Forget a peer that is no member any more."""
        self._repair.forget(key)

    def handle_deadline(self, *, now: float, wall: float) -> tuple[News, ...]:
        """Greet who is to be greeted, ask again, drop what ended long ago."""
        greeted = (*self._neighbours.due(now=now), *self._repair.due(now=now))
        for key in dict.fromkeys(greeted):
            self._greet(key, now)
        self.library.handle_deadline(now=now)
        if self._collect_at is None or now < self._collect_at:
            self._collect_at = self._collect_at or now + COLLECT_INTERVAL
            return ()
        self._collect_at = now + COLLECT_INTERVAL
        merge = self.intake.collect(now=now)
        return (merge,) if merge.dropped else ()

    def next_deadline(self) -> Deadline | None:
        """Return when something is to be done next."""
        collect = None
        if self._collect_at is not None:
            collect = Deadline(self._collect_at, "drop what ended long ago")
        return earliest(
            self._neighbours.next_deadline(),
            self._repair.next_deadline(),
            self.library.next_deadline(),
            collect,
        )

    def _hello(self, *, wants_answer: bool) -> Hello:
        digest, count = self._records.tree.root
        charter, policy = self.library.versions
        return Hello(digest, count, charter, policy, wants_answer)

    def _greet(self, key: bytes, now: float) -> None:
        self._tunnels.send(key, self._hello(wants_answer=True), now=now)

    def _take_hello(self, key: bytes, hello: Hello, now: float) -> None:
        self._repair.note_count(key, hello.count)
        if hello.digest == self._records.tree.root[0]:
            self.has_agreed = True
        else:
            self._neighbours.differs(key, now=now)
        if hello.wants_answer:
            self.answers.send(key, self._hello(wants_answer=False), now=now)
            self._repair.begin(key, hello.digest, now=now)
        self.library.take_hello(key, hello, now=now)

    def _take_push(
        self, key: bytes, push: Push, now: float, wall: float
    ) -> tuple[News, ...]:
        merges: list[Merge] = []
        for data in push.records:
            merge = self.intake.take(data, now=now, wall=wall)
            if merge is None:
                self.answers.charge(key, REFUSED_COST, now=now)
            elif merge.outcome is Outcome.NEW:
                merges.append(merge)
            elif merge.outcome is not Outcome.KNOWN:
                self.answers.charge(key, USELESS_COST, now=now)
        if merges:
            others = [
                other
                for other in self._neighbours.chosen
                if other != key and not self._repair.is_far_behind(other)
            ]
            self._spread([kept for m in merges for kept in m.kept], others, now)
            self._repair.note_progress(key, now=now)
            self._neighbours.expect_changes(now=now)
        return tuple(merges)

    def _spread(
        self, records: Iterable[Record], receivers: Iterable[bytes], now: float
    ) -> None:
        """Push *records* to *receivers*, but not those of revoked members."""
        messages = batches([r.data for r in records if not self._is_void(r)])
        for key in receivers:
            for message in messages:
                self._tunnels.send(key, message, now=now)

    def _is_void(self, record: Record) -> bool:
        if not isinstance(record, VerifiedMember):
            return False
        return self._records.revocation_of(record) is not None

    def _follow(self, adopted: Charter | Policy | None, now: float) -> tuple[News, ...]:
        """Draw the consequences of a new charter or policy, and tell of it."""
        if adopted is None:
            return ()
        news: list[News] = [adopted]
        if isinstance(adopted, Charter):
            news.extend(self.intake.judge_again(now=now))
        for key in self._neighbours.chosen:
            self._tunnels.send(key, self._hello(wants_answer=False), now=now)
        return tuple(news)
