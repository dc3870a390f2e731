"""How records come into the set: verified once, paced, durable in the same step."""

from collections import Counter
from typing import Final

from meshnode.codec.records import Kind
from meshnode.crypto.primitives import short_hash
from meshnode.mesh.budgets import Budgets
from meshnode.mesh.clock import WallMark
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import DropRecord, KeepRecord
from meshnode.mesh.record_set import (
    Merge,
    Outcome,
    Record,
    RecordSet,
    identity_of,
    is_later,
)
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.mesh.trust import Trust, VerifiedMember

CHANGE_RATE: Final = 0.1
CHANGE_BURST: Final = 5
"""How often others may change one record, per second and at once: who signs a
thousand versions of its own does not flood the mesh with them. What is left out is
repaired later."""

SEEN_TIME: Final = 60.0
MAX_SEEN: Final = 8192
"""How long, and how many, records that were dealt with are remembered by a hash: a
record comes from every neighbour."""

_HASH_BYTES: Final = 16
_MEMBER_FIRST_BYTE: Final = 0x93  # an array of three; an envelope is one of four

# What may be accepted later, when more is known.
_TRANSIENT: Final = frozenset(
    (Refusal.UNKNOWN_SIGNER, Refusal.NOT_AUTHORITY, Refusal.NO_CHARTER)
)


class Intake:
    """Verifies records and merges them into *records*.

    *own_key* is our WireGuard key. *clock* tells what has passed, and learns from
    certificates; *outbox* takes what must be durable.
    """

    def __init__(
        self,
        own_key: bytes,
        trust: Trust,
        records: RecordSet,
        outbox: Outbox,
        clock: WallMark,
    ) -> None:
        self.refused: Counter[Refusal] = Counter()
        self.own_version = 0
        """The greatest version of a record about us that came into the set."""
        self._own_key = own_key
        self._trust = trust
        self._records = records
        self._outbox = outbox
        self._clock = clock
        self._paces = Budgets(rate=CHANGE_RATE, burst=CHANGE_BURST)
        self._seen: dict[bytes, float] = {}  # since when; the oldest first

    def load(self, stored: tuple[tuple[int, bytes], ...], *, now: float) -> list[Merge]:
        """Take what the state store held; what does not verify is left out."""
        merges = []
        # Members first: they show the issuers of revocations.
        for data in sorted([data for _, data in stored], key=is_revocation):
            try:
                merge = self._offer(self._verify(data), now)
            except RecordRefused as refusal:
                self.refused[refusal.reason] += 1
                continue
            if merge.outcome is Outcome.NEW:
                merges.append(merge)
        return merges

    def merge(self, data: bytes, *, now: float, wall: float) -> Merge:
        """Verify a record and merge it, whatever its pace.

        Raises:
            RecordRefused: if it does not verify.
        """
        return self._merge(self._verify(data), now, wall)

    def take(self, data: bytes, *, now: float, wall: float) -> Merge | None:
        """Verify and merge a record that a peer pushed.

        Returns:
            None if it is to be paid for: it is refused, or changes too often. Of a
            record that was dealt with lately, that the set has it.
        """
        print = short_hash(data, _HASH_BYTES)
        self._forget_seen(now)
        if print in self._seen:
            return Merge(Outcome.KNOWN)
        try:
            record = self._verify(data)
        except RecordRefused as refusal:
            self.refused[refusal.reason] += 1
            if refusal.reason not in _TRANSIENT:
                self._seen[print] = now
            return None
        id = identity_of(record)
        known = self._records.get(id)
        # Old versions cost no pace: else their replay would keep out the next one.
        is_change = known is not None and is_later(record, known)
        if is_change and not self._paces.spend(id, 1, now=now):
            return None
        self._seen[print] = now
        return self._merge(record, now, wall)

    def collect(self, *, now: float) -> Merge:
        """Drop what ended long ago."""
        merge = self._records.collect(wall=self._clock.passed(now=now))
        self._keep(merge, now)
        return merge

    def judge_again(self, *, now: float) -> list[Merge]:
        """Verify all records under a new charter; drop those refused now."""
        self._seen.clear()
        merges = []
        for record in sorted(self._records, key=lambda r: is_revocation(r.data)):
            try:
                again = self._verify(record.data)
            except RecordRefused as refusal:
                self.refused[refusal.reason] += 1
                merges.append(self._records.discard(record))
                continue
            if again != record:
                merges.append(self._records.discard(record))
                merges.append(self._offer(again, now))
        for merge in merges:
            self._keep(merge, now)
        return merges

    def _verify(self, data: bytes) -> Record:
        if is_revocation(data):
            return self._trust.verify_revocation(data)
        return self._trust.verify_member(data, wall=None)

    def _merge(self, record: Record, now: float, wall: float) -> Merge:
        merge = self._offer(record, now)
        if merge.outcome is Outcome.NEW:
            self._keep(merge, now)
            if isinstance(record, VerifiedMember):
                self._clock.witness(record.certificate.not_before, wall, now=now)
        return merge

    def _offer(self, record: Record, now: float) -> Merge:
        merge = self._records.offer(record, wall=self._clock.passed(now=now))
        for kept in merge.kept:
            if isinstance(kept, VerifiedMember) and kept.key == self._own_key:
                self.own_version = max(self.own_version, kept.version)
        return merge

    def _keep(self, merge: Merge, now: float) -> None:
        for dropped in merge.dropped:
            self._outbox.keep(DropRecord(identity_of(dropped)), now=now)
        for kept in merge.kept:
            kind = Kind.REVOCATION if is_revocation(kept.data) else Kind.MEMBER
            change = KeepRecord(identity_of(kept), kind, kept.data)
            self._outbox.keep(change, now=now)

    def _forget_seen(self, now: float) -> None:
        while self._seen:
            oldest, since = next(iter(self._seen.items()))
            if now < since + SEEN_TIME and len(self._seen) < MAX_SEEN:
                return
            del self._seen[oldest]


def is_revocation(data: bytes) -> bool:
    """Whether the bytes can only be those of a revocation, not of a member record."""
    return data[:1] != bytes((_MEMBER_FIRST_BYTE,))
