"""The replicated set: which record stays, what a revocation does, and the bounds."""

import pytest

from meshnode.mesh import record_set
from meshnode.mesh.record_set import (
    KEPT_AFTER_END,
    Outcome,
    RecordSet,
    end_of,
    identity_of,
    is_later,
)
from tests.mesh_records import (
    AUTHORITY,
    DAY,
    WALL,
    issuer_of,
    key_of,
    member,
    revocation,
    signing_key_of,
)


def offered(records: RecordSet, *those: object) -> list[Outcome]:
    """Offer records in turn; return what became of them."""
    return [records.offer(one, wall=WALL).outcome for one in those]


def test_the_greater_version_stays() -> None:
    """Whichever comes first; the same again is known."""
    records = RecordSet()
    old, new = member(version=1), member(version=2)
    assert offered(records, old, new, old, new) == [
        Outcome.NEW,
        Outcome.NEW,
        Outcome.OLD,
        Outcome.KNOWN,
    ]
    assert list(records) == [new]
    assert len(records.tree) == 1


def test_of_equal_versions_the_greater_bytes_stay() -> None:
    """A member that says two things with one version is heard alike everywhere."""
    one, other = member(text=b"a"), member(text=b"b")
    first, second = RecordSet(), RecordSet()
    offered(first, one, other)
    offered(second, other, one)
    assert list(first) == list(second) == [max(one, other, key=lambda m: m.data)]


def test_an_issuer_displaces_no_member_of_another() -> None:
    """However great a version it signs with a key of its own for that member."""
    records = RecordSet()
    rightful = member(1, signer=issuer_of(1))
    forged = member(1, version=2**62, signer=issuer_of(2), signing_key=b"f" * 32)
    offered(records, rightful, forged)
    assert rightful in records.members_of(key_of(1))


@pytest.mark.parametrize(
    "subject", [key_of(1), signing_key_of(1), issuer_of(1)], ids=str
)
def test_an_authority_takes_out_what_it_revokes(subject: bytes) -> None:
    """By WireGuard, signing or issuing key; nothing of it comes in again."""
    records = RecordSet()
    victim, other = member(1, signer=issuer_of(1)), member(2, signer=issuer_of(2))
    offered(records, victim, other)
    merge = records.offer(revocation(subject), wall=WALL)
    assert merge.dropped == (victim,)
    later = member(1, signer=issuer_of(1), version=9)
    assert offered(records, later) == [Outcome.REVOKED]
    assert list(records.members()) == [other]


def test_an_issuer_revokes_what_it_certified() -> None:
    """The record stays as the proof, but a revocation counts against it."""
    records = RecordSet()
    victim = member(1, signer=issuer_of(1))
    word = revocation(key_of(1), signer=issuer_of(1))
    assert offered(records, victim, word) == [Outcome.NEW, Outcome.NEW]
    assert records.revocation_of(victim) is word


def test_an_issuer_revokes_nothing_of_another() -> None:
    """Its word waits aside, out of the set, and displaces nobody's."""
    records = RecordSet()
    victim = member(1, signer=issuer_of(1))
    word = revocation(key_of(1), signer=issuer_of(2))
    assert offered(records, victim, word) == [Outcome.NEW, Outcome.WAITING]
    assert records.revocation_of(victim) is None
    assert len(records) == 1


def test_a_revocation_that_comes_first_counts_when_the_member_comes() -> None:
    """Both are then new to the set."""
    records = RecordSet()
    word = revocation(signing_key_of(1), signer=issuer_of(1))
    victim = member(1, signer=issuer_of(1))
    assert offered(records, word) == [Outcome.WAITING]
    assert records.offer(victim, wall=WALL).kept == (victim, word)
    assert records.revocation_of(victim) is word


def test_an_issuer_may_revoke_its_own_key() -> None:
    """All that it certified counts for nothing then."""
    records = RecordSet()
    mine, other = member(1, signer=issuer_of(1)), member(2, signer=issuer_of(2))
    offered(records, mine, other)
    word = revocation(issuer_of(1), signer=issuer_of(1))
    assert offered(records, word) == [Outcome.NEW]
    assert records.revocation_of(mine) is word
    assert records.revocation_of(other) is None


def test_the_longer_revocation_stays() -> None:
    """Nobody takes a revocation back by a shorter one."""
    records = RecordSet()
    long = revocation(key_of(1), until=WALL + 90 * DAY)
    short = revocation(key_of(1), until=WALL + DAY)
    assert offered(records, long, short) == [Outcome.NEW, Outcome.OLD]


def test_without_its_record_an_issuers_revocation_waits_again() -> None:
    """It leaves the set with the record and comes back with it."""
    records = RecordSet()
    victim = member(1, signer=issuer_of(1), ends=WALL + DAY)
    word = revocation(key_of(1), signer=issuer_of(1))
    offered(records, victim, word)
    merge = records.collect(wall=WALL + DAY + KEPT_AFTER_END + 1)
    assert merge.dropped == (victim, word)
    assert len(records) == 0
    longer = member(1, version=2, signer=issuer_of(1))
    assert records.offer(longer, wall=WALL).kept == (longer, word)


def test_what_ended_a_week_ago_is_no_part_of_the_set() -> None:
    """It is dropped to the second, and never comes in again."""
    records = RecordSet()
    ended = member(1, ends=WALL)
    offered(records, ended)
    assert records.collect(wall=WALL + KEPT_AFTER_END).dropped == ()
    other = member(2, ends=WALL)
    assert records.offer(other, wall=WALL + KEPT_AFTER_END).outcome is Outcome.NEW
    records.discard(other)
    later = WALL + KEPT_AFTER_END + 1
    assert records.collect(wall=later).dropped == (ended,)
    assert records.offer(ended, wall=later).outcome is Outcome.EXPIRED
    assert len(records) == 0
    assert records.tree.root == (bytes(8), 0)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_full_set_keeps_what_lasts_longest(
    monkeypatch: pytest.MonkeyPatch, backwards: bool
) -> None:
    """In any order; members do not push out revocations."""
    monkeypatch.setattr(record_set, "MAX_RECORDS", 3)
    records = RecordSet()
    word = revocation(b"r" * 32, until=WALL + 1)
    members = [member(n, ends=WALL + n) for n in range(1, 7)]
    order = members[::-1] if backwards else members
    offered(records, word, *order)
    assert {m.key for m in records.members()} == {key_of(n) for n in (4, 5, 6)}
    assert word in list(records)
    assert len(records.tree) == 4


def test_a_full_set_refuses_what_ends_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though a later version of what is there is always taken."""
    monkeypatch.setattr(record_set, "MAX_RECORDS", 2)
    records = RecordSet()
    offered(records, member(1), member(2))
    assert offered(records, member(3, ends=WALL)) == [Outcome.FULL]
    assert offered(records, member(1, version=2)) == [Outcome.NEW]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten."""
    monkeypatch.setattr(record_set, "MAX_WAITING", 2)
    records = RecordSet()
    for number in (1, 2, 3):
        offered(records, revocation(key_of(number), signer=issuer_of(1)))
    kept = [
        len(records.offer(member(n, signer=issuer_of(1)), wall=WALL).kept)
        for n in (1, 2, 3)
    ]
    assert kept == [1, 2, 2]


def test_a_record_is_found_by_its_identity_and_by_the_members_id() -> None:
    """Who knows just the WireGuard key can ask for the record, too."""
    records = RecordSet()
    one = member(1)
    offered(records, one)
    assert records.get(identity_of(one)) is one
    assert records.find(identity_of(one)) == records.find(one.id) == (one,)
    assert records.find(b"unknown!") == ()


def test_a_discarded_record_may_come_again() -> None:
    """It was refused under one charter, not for ever."""
    records = RecordSet()
    one = member(1)
    offered(records, one)
    assert records.discard(one).dropped == (one,)
    assert records.discard(one).dropped == ()
    assert offered(records, one) == [Outcome.NEW]


def test_the_end_of_a_record_is_that_of_its_certificate() -> None:
    """Of a revocation, its `until`."""
    assert end_of(member(ends=WALL + 5)) == WALL + 5
    assert end_of(revocation(AUTHORITY, until=WALL + 6)) == WALL + 6
    assert is_later(member(version=3), member(version=2))
