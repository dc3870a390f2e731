"""Who is a member now: the view of the record set at a wall time.

A member counts if its certificate is valid, nothing that counts revokes it, it has not
left, and no other has its name or one of its addresses and the better claim: it is
member longer (`member_since`), or as long with the lesser key. Only claims by what is
otherwise valid matter, so the same set gives the same view on every node.

Of several records about one WireGuard key the greatest version of each signing key is
its owner's word, even if that has expired: an older one never comes back for it.
"""

import enum
from collections.abc import Iterable, Iterator

from meshnode.mesh.grants import VALIDITY_SKEW
from meshnode.mesh.record_set import Merge, RecordSet, is_later
from meshnode.mesh.trust import VerifiedMember
from meshnode.types import Prefix
from meshnode.values import frozen


class Standing(enum.Enum):
    """Whether a member counts, or why not; the text is what users see."""

    COUNTS = "member"
    UNKNOWN = "unknown"
    REVOKED = "revoked"
    NOT_YET_VALID = "not yet valid"
    EXPIRED = "expired"
    LEFT = "left"
    REPLACED = "replaced"


@frozen
class MemberChange:
    """One step of the view.

    `before` is None for one that joined, `after` for one that is gone; `why` is the
    standing it has now.
    """

    before: VerifiedMember | None
    after: VerifiedMember | None
    why: Standing

    @property
    def member(self) -> VerifiedMember:
        """The record after the step, or the last one before."""
        member = self.after or self.before
        assert member is not None
        return member


class Membership:
    """The members that count, by key, name and address.

    *records* is read whenever something changes there; `update` must be told.
    """

    def __init__(self, records: RecordSet) -> None:
        self._records = records
        self._wall = 0
        # The view is right at wall seconds from `_holds_from`, before `_holds_to`.
        # At first at no time: what is in the set already is judged when first asked.
        self._holds_from = 0
        self._holds_to: int | None = 0
        # All that would count if no other had the better claim.
        self._valid: dict[bytes, VerifiedMember] = {}
        self._outdone: set[bytes] = set()  # keys of those that another outdoes
        # Who claims a name or address: one record, or several, the best first.
        self._claims: dict[
            str | Prefix, VerifiedMember | tuple[VerifiedMember, ...]
        ] = {}

    def __len__(self) -> int:
        return len(self._valid) - len(self._outdone)

    def __iter__(self) -> Iterator[VerifiedMember]:
        for key, member in self._valid.items():
            if key not in self._outdone:
                yield member

    def by_key(self, key: bytes) -> VerifiedMember | None:
        """Return the member with this WireGuard key, if it counts."""
        return None if key in self._outdone else self._valid.get(key)

    def by_name(self, name: str) -> VerifiedMember | None:
        """Return the member of this name, if it counts."""
        return self._by_claim(name)

    def by_address(self, address: Prefix) -> VerifiedMember | None:
        """Return the member with this overlay address, a /32 or /128."""
        return self._by_claim(address)

    def standing(self, key: bytes) -> Standing:
        """Return whether the owner of this WireGuard key counts, or why not."""
        if key in self._outdone:
            return Standing.REPLACED
        return self._judge(key)[1]

    def outdone(self) -> tuple[tuple[VerifiedMember, VerifiedMember], ...]:
        """Return those left out for their name or address, with who has it."""
        pairs = []
        for key in sorted(self._outdone):
            member = self._valid[key]
            for claim in _claims_of(member):
                first = self._holders(claim)[0]
                if first is not member:
                    pairs.append((member, first))
                    break
        return tuple(pairs)

    def update(self, *merges: Merge, wall: float) -> tuple[MemberChange, ...]:
        """Follow what happened to the set; return the steps, those gone first."""
        if not self._holds_at(int(wall)):
            return self.handle_deadline(wall=wall)
        self._wall = int(wall)
        keys = set()
        for merge in merges:
            for record in (*merge.kept, *merge.dropped):
                if isinstance(record, VerifiedMember):
                    keys.add(record.key)
                else:
                    keys.update(self._keys_about(record.revocation.subject))
        return self._refresh(sorted(keys))

    def handle_deadline(self, *, wall: float) -> tuple[MemberChange, ...]:
        """Let time pass: certificates begin and end; return the steps.

        Time may go back, too, when a clock was wrong: then they begin again.
        """
        if self._holds_at(int(wall)):
            return ()
        self._wall = int(wall)
        self._holds_from, self._holds_to = 0, None
        keys = {member.key for member in self._records.members()} | self._valid.keys()
        return self._refresh(sorted(keys))

    def next_deadline(self) -> int | None:
        """Return the wall second at which time alone may next change the view."""
        return self._holds_to

    def _holds_at(self, wall: int) -> bool:
        if wall < self._holds_from:
            return False
        return self._holds_to is None or wall < self._holds_to

    def _keys_about(self, subject: bytes) -> set[bytes]:
        # What an authority revokes is dropped and so among the merge's records;
        # what an issuer revokes may be a signing key or its own.
        if subject in self._valid:
            return {subject}
        return {
            member.key
            for member in self._records.members()
            if subject in (member.certificate.signing_key, member.signer, member.key)
        }

    def _refresh(self, keys: Iterable[bytes]) -> tuple[MemberChange, ...]:
        """Judge *keys* again, and whoever shares a claim with them."""
        standings: dict[bytes, Standing] = {}
        before: dict[bytes, VerifiedMember | None] = {}
        for key in keys:
            old = self._valid.get(key)
            new, standings[key] = self._judge(key)
            if new is old:
                continue
            before.setdefault(key, self.by_key(key))
            claims = {
                *(_claims_of(old) if old else ()),
                *(_claims_of(new) if new else ()),
            }
            for claim in claims:
                self._claim(claim, old, new)
                for holder in self._holders(claim):
                    before.setdefault(holder.key, self.by_key(holder.key))
            if new is None:
                del self._valid[key]
            else:
                self._valid[key] = new
        self._outdone.difference_update(before)
        self._outdone.update([key for key in before if self._is_outdone(key)])
        changes = []
        for key in sorted(before):
            was, now = before[key], self.by_key(key)
            if was is not now:
                why = standings.get(key, Standing.COUNTS)
                if now is None and why is Standing.COUNTS:
                    why = Standing.REPLACED
                elif now is None and was is not None and why is Standing.UNKNOWN:
                    why = self._why_dropped(was)
                changes.append(MemberChange(was, now, why))
        return tuple(sorted(changes, key=lambda change: change.after is not None))

    def _why_dropped(self, member: VerifiedMember) -> Standing:
        is_revoked = self._records.revocation_of(member) is not None
        return Standing.REVOKED if is_revoked else Standing.EXPIRED

    def _judge(self, key: bytes) -> tuple[VerifiedMember | None, Standing]:
        """Return the record that speaks for *key* if it is valid, else why not."""
        words: dict[bytes, VerifiedMember] = {}
        for member in self._records.members_of(key):
            known = words.get(member.certificate.signing_key)
            if known is None or is_later(member, known):
                words[member.certificate.signing_key] = member
        best: VerifiedMember | None = None
        worst = Standing.UNKNOWN
        for _, member in sorted(words.items()):
            standing = self._standing_of(member)
            if standing is not Standing.COUNTS:
                worst = standing if worst is Standing.UNKNOWN else worst
            elif best is None or _since(member) < _since(best):
                best = member
        return (best, Standing.COUNTS) if best else (None, worst)

    def _standing_of(self, member: VerifiedMember) -> Standing:
        begin = member.certificate.not_before - VALIDITY_SKEW
        end = member.certificate.not_after + VALIDITY_SKEW
        self._bound(begin)
        self._bound(end + 1)
        if self._records.revocation_of(member) is not None:
            return Standing.REVOKED
        if member.member is not None and member.member.has_left:
            return Standing.LEFT
        if self._wall < begin:
            return Standing.NOT_YET_VALID
        return Standing.EXPIRED if self._wall > end else Standing.COUNTS

    def _bound(self, at: int) -> None:
        if at <= self._wall:
            self._holds_from = max(self._holds_from, at)
        elif self._holds_to is None or at < self._holds_to:
            self._holds_to = at

    def _by_claim(self, claim: str | Prefix) -> VerifiedMember | None:
        holders = self._holders(claim)
        return self.by_key(holders[0].key) if holders else None

    def _holders(self, claim: str | Prefix) -> tuple[VerifiedMember, ...]:
        held = self._claims.get(claim, ())
        return held if isinstance(held, tuple) else (held,)

    def _claim(
        self,
        claim: str | Prefix,
        old: VerifiedMember | None,
        new: VerifiedMember | None,
    ) -> None:
        holders = [holder for holder in self._holders(claim) if holder is not old]
        if new is not None and claim in _claims_of(new):
            holders.append(new)
        holders.sort(key=_rank)
        if not holders:
            self._claims.pop(claim, None)
        else:
            self._claims[claim] = holders[0] if len(holders) == 1 else tuple(holders)

    def _is_outdone(self, key: bytes) -> bool:
        member = self._valid.get(key)
        if member is None:
            return False
        return any(
            self._holders(claim)[0] is not member for claim in _claims_of(member)
        )


def _since(member: VerifiedMember) -> tuple[int, bytes]:
    return (member.certificate.member_since, member.certificate.signing_key)


def _rank(member: VerifiedMember) -> tuple[int, bytes]:
    return (member.certificate.member_since, member.key)


def _claims_of(member: VerifiedMember) -> tuple[str | Prefix, ...]:
    return (member.certificate.name, *member.addresses)
