"""The replicated set of member records and revocations: a join of signed records.

Whatever order records arrive in, however often, by whatever way, the set they make
is the same:

* A member record is known by its *identity*: WireGuard key, signing key and who signed
  the certificate. Of two with the same identity the greater version stays, of equal
  versions the greater bytes. Only the owner of the signing key can raise the version,
  so an issuer that certifies somebody else's WireGuard key displaces nothing.
* A revocation is known by its subject and signer; the one that lasts longer stays.
* One that an authority signed takes the records it speaks of out of the set, and none
  comes in again while it is there. An identity decides whether it is meant, so this
  too is the same in any order.
* One that an issuer signed is in the set together with what it revokes: a record whose
  certificate the same issuer signed. That record stays, as the proof that the
  revocation counts; it counts for nothing. Without one the revocation waits aside, in
  a small pool that is not part of the set.
* What ended more than a week ago is no part of the set; the week is for wall clocks
  that differ.

Beyond `MAX_RECORDS` of one kind, those that end first fall out.
"""

import enum
from collections.abc import Iterator
from typing import Final

from meshnode.codec.records import Kind
from meshnode.crypto.primitives import fingerprint
from meshnode.mesh.digests import DigestTree
from meshnode.mesh.trust import VerifiedMember, VerifiedRevocation, record_id
from meshnode.values import frozen

MAX_RECORDS: Final = 20_000
"""Of members, and as many of revocations."""

MAX_WAITING: Final = 1024
"""Revocations whose member is not known."""

KEPT_AFTER_END: Final = 7 * 86400
"""Seconds that a record stays after its end."""

_NO_KEY: Final = bytes(32)

Record = VerifiedMember | VerifiedRevocation


class Outcome(enum.Enum):
    """What became of a record that was offered."""

    NEW = "it changed the set"
    KNOWN = "the set has it"
    OLD = "the set has a later one"
    REVOKED = "an authority revoked it"
    EXPIRED = "it ended long ago"
    WAITING = "it revokes what is not known"
    FULL = "the set is full of records that last longer"


@frozen
class Merge:
    """What one step did to the set: `kept` came in, `dropped` went out."""

    outcome: Outcome
    kept: tuple[Record, ...] = ()
    dropped: tuple[Record, ...] = ()


def identity_of(record: Record) -> bytes:
    """Return the id of *record* in the set, 8 bytes."""
    if isinstance(record, VerifiedRevocation):
        return record.id
    subject = record.key + record.certificate.signing_key + record.signer
    return record_id(Kind.MEMBER, subject)


def end_of(record: Record) -> int:
    """Return the wall second at which *record* ends."""
    if isinstance(record, VerifiedRevocation):
        return record.revocation.until
    return record.certificate.not_after


def is_later(record: Record, other: Record) -> bool:
    """Whether *record* takes the place of *other*, which has the same identity."""
    return (record.version, record.data) > (other.version, other.data)


class RecordSet:
    """The records one node holds, with the digests of their ids.

    Everything that comes in is verified already.
    """

    def __init__(self) -> None:
        self.tree = DigestTree()
        self._records: dict[bytes, Record] = {}
        # Ids of the records about a member (`VerifiedMember.id`) or signing key.
        self._ids_of: dict[bytes, tuple[bytes, ...]] = {}
        self._certified: dict[bytes, int] = {}  # how many records each signer has
        self._by_subject: dict[bytes, tuple[VerifiedRevocation, ...]] = {}
        self._waiting: dict[bytes, VerifiedRevocation] = {}
        self._counts: dict[type, int] = {VerifiedMember: 0, VerifiedRevocation: 0}
        # What falls out first of each kind: its end and id; None if not worked out.
        self._first_out: dict[type, tuple[int, bytes] | None] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def get(self, id: bytes) -> Record | None:
        """Return the record with this id, or None."""
        return self._records.get(id)

    def members_of(self, key: bytes) -> tuple[VerifiedMember, ...]:
        """Return the records about this WireGuard key, in the order of their ids."""
        found = self._about(record_id(Kind.MEMBER, key))
        return tuple([member for member in found if member.key == key])

    def find(self, id: bytes) -> tuple[Record, ...]:
        """Return what *id* names: a record of the set, or all about a member."""
        record = self._records.get(id)
        return tuple(self._about(id)) if record is None else (record,)

    def members(self) -> Iterator[VerifiedMember]:
        """Iterate over all member records, whether they count or not."""
        for record in self._records.values():
            if isinstance(record, VerifiedMember):
                yield record

    def revocation_of(self, member: VerifiedMember) -> VerifiedRevocation | None:
        """Return a revocation that is in the set and counts against *member*."""
        for subject in _subjects(member):
            for revocation in self._by_subject.get(subject, ()):
                if revocation.by_authority or revocation.signer == member.signer:
                    return revocation
        return None

    def offer(self, record: Record, *, wall: float) -> Merge:
        """Merge a verified record into the set.

        *wall* is the seconds that have passed for certain. Whether the record is
        valid now does not matter here: that is for the view.
        """
        if end_of(record) + KEPT_AFTER_END < wall:
            return Merge(Outcome.EXPIRED)
        id = identity_of(record)
        known = self._records.get(id)
        if known is not None and not is_later(record, known):
            same = record.data == known.data
            return Merge(Outcome.KNOWN if same else Outcome.OLD)
        if isinstance(record, VerifiedRevocation):
            return self._offer_revocation(record, id)
        return self._offer_member(record, id)

    def collect(self, *, wall: float) -> Merge:
        """Drop what ended a week before *wall*, seconds passed for certain."""
        horizon = wall - KEPT_AFTER_END
        for waiting in [w for w in self._waiting.values() if end_of(w) < horizon]:
            del self._waiting[waiting.id]
        ended = [r for r in self._records.values() if end_of(r) < horizon]
        dropped: list[Record] = []
        for record in ended:
            dropped.extend(self._drop(record))
        return Merge(Outcome.EXPIRED, dropped=tuple(dropped))

    def discard(self, record: Record) -> Merge:
        """Take *record* out: the charter has changed, and it is refused now."""
        return Merge(Outcome.REVOKED, dropped=tuple(self._drop(record)))

    def _offer_member(self, member: VerifiedMember, id: bytes) -> Merge:
        revocation = self.revocation_of(member)
        if revocation is not None and revocation.by_authority:
            return Merge(Outcome.REVOKED)
        dropped = self._make_room(member, id)
        if dropped is None:
            return Merge(Outcome.FULL)
        self._put(member, id)
        kept: list[Record] = [member]
        for subject in _subjects(member):
            waiting_id = record_id(Kind.REVOCATION, subject + member.signer)
            waiting = self._waiting.pop(waiting_id, None)
            if waiting is not None:
                kept.extend(self._offer_revocation(waiting, waiting.id).kept)
        return Merge(Outcome.NEW, tuple(kept), tuple(dropped))

    def _offer_revocation(self, revocation: VerifiedRevocation, id: bytes) -> Merge:
        hit = self._hit_by(revocation)
        if not hit and not revocation.by_authority:
            self._wait(revocation)
            return Merge(Outcome.WAITING)
        dropped = self._make_room(revocation, id)
        if dropped is None:
            return Merge(Outcome.FULL)
        self._put(revocation, id)
        if revocation.by_authority:
            for member in self._all_hit_by(revocation):
                dropped.extend(self._drop(member))
        return Merge(Outcome.NEW, (revocation,), tuple(dropped))

    def _hit_by(self, revocation: VerifiedRevocation) -> bool:
        """Whether an issuer's revocation speaks of a record it certified."""
        subject, signer = revocation.revocation.subject, revocation.signer
        if subject == signer:
            return signer in self._certified
        return any(member.signer == signer for member in self._named_by(subject))

    def _all_hit_by(self, revocation: VerifiedRevocation) -> list[VerifiedMember]:
        subject = revocation.revocation.subject
        if subject in self._certified:
            return [m for m in self.members() if subject in _subjects(m)]
        return self._named_by(subject)

    def _named_by(self, subject: bytes) -> list[VerifiedMember]:
        """Return the records with this WireGuard or signing key."""
        return [*self.members_of(subject), *self._about(subject)]

    def _about(self, name: bytes) -> list[VerifiedMember]:
        records = [self._records[id] for id in sorted(self._ids_of.get(name, ()))]
        return [record for record in records if isinstance(record, VerifiedMember)]

    def _wait(self, revocation: VerifiedRevocation) -> None:
        known = self._waiting.get(revocation.id)
        if known is not None and not is_later(revocation, known):
            return
        if known is None and len(self._waiting) >= MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[revocation.id] = revocation

    def _make_room(self, record: Record, id: bytes) -> list[Record] | None:
        """Return what fell out for *record*, or None if it has no place itself."""
        kind = type(record)
        if id in self._records or self._counts[kind] < MAX_RECORDS:
            return []
        first = self._first_out.get(kind)
        if first is None:
            first = min(
                (end_of(other), other_id)
                for other_id, other in self._records.items()
                if type(other) is kind
            )
            self._first_out[kind] = first
        if (end_of(record), id) < first:
            return None
        return self._drop(self._records[first[1]])

    def _put(self, record: Record, id: bytes) -> None:
        kind = type(record)
        known = self._records.get(id)
        if known is not None:
            self._unindex(known, id)
        self._records[id] = record
        self._counts[kind] += 1
        self.tree.add(id, fingerprint(record.data))
        first = self._first_out.get(kind)
        if first is not None and (end_of(record), id) < first:
            self._first_out[kind] = (end_of(record), id)
        if isinstance(record, VerifiedRevocation):
            subject = record.revocation.subject
            self._by_subject[subject] = (*self._by_subject.get(subject, ()), record)
            return
        self._certified[record.signer] = self._certified.get(record.signer, 0) + 1
        for name in _names(record):
            self._ids_of[name] = (*self._ids_of.get(name, ()), id)

    def _drop(self, record: Record) -> list[Record]:
        """Remove *record*, and the issuer's revocations that spoke of it alone."""
        id = identity_of(record)
        if self._records.get(id) is not record:
            return []
        self._unindex(record, id)
        del self._records[id]
        self.tree.remove(id)
        dropped: list[Record] = [record]
        if isinstance(record, VerifiedMember):
            for subject in _subjects(record):
                for revocation in self._by_subject.get(subject, ()):
                    if not revocation.by_authority and not self._hit_by(revocation):
                        dropped.extend(self._drop(revocation))
                        self._wait(revocation)
        return dropped

    def _unindex(self, record: Record, id: bytes) -> None:
        kind = type(record)
        self._counts[kind] -= 1
        first = self._first_out.get(kind)
        if first is not None and first[1] == id:
            self._first_out[kind] = None
        if isinstance(record, VerifiedRevocation):
            subject = record.revocation.subject
            left = [r for r in self._by_subject[subject] if r is not record]
            _set_or_delete(self._by_subject, subject, tuple(left))
            return
        _set_or_delete(
            self._certified, record.signer, self._certified[record.signer] - 1
        )
        for name in _names(record):
            ids = tuple([other for other in self._ids_of[name] if other != id])
            _set_or_delete(self._ids_of, name, ids)


def _names(member: VerifiedMember) -> tuple[bytes, ...]:
    signing_key = member.certificate.signing_key
    return (member.id,) if signing_key == _NO_KEY else (member.id, signing_key)


def _subjects(member: VerifiedMember) -> tuple[bytes, ...]:
    signing_key = member.certificate.signing_key
    if signing_key == _NO_KEY:
        return (member.key, member.signer)
    return (member.key, signing_key, member.signer)


def _set_or_delete(index: dict, key: bytes, value: object) -> None:  # type: ignore[type-arg]
    if value:
        index[key] = value
    else:
        del index[key]
