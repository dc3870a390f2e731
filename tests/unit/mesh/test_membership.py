"""Who counts as a member, by wall time, revocations, names and addresses."""

import pytest

from meshnode.mesh.grants import VALIDITY_SKEW
from meshnode.mesh.membership import MemberChange, Membership, Standing
from meshnode.mesh.record_set import Record, RecordSet
from meshnode.types import Prefix
from tests.mesh_records import (
    DAY,
    WALL,
    issuer_of,
    key_of,
    member,
    revocation,
    signing_key_of,
)


class Scene:
    """A set and its view, at a time that the test moves."""

    def __init__(self) -> None:
        self.records = RecordSet()
        self.view = Membership(self.records)
        self.wall = float(WALL)

    def offer(self, *records: Record) -> tuple[MemberChange, ...]:
        """Offer records at once; return the steps of the view."""
        merges = [self.records.offer(record, wall=WALL) for record in records]
        return self.view.update(*merges, wall=self.wall)

    def at(self, wall: float) -> tuple[MemberChange, ...]:
        """Let it be *wall*."""
        self.wall = wall
        return self.view.handle_deadline(wall=wall)


def reasons(changes: tuple[MemberChange, ...]) -> list[tuple[str, Standing]]:
    """Return name and reason of each step."""
    return [(change.member.certificate.name, change.why) for change in changes]


def test_a_member_is_found_by_key_name_and_addresses() -> None:
    """It joined, and is one."""
    scene, one = Scene(), member(1)
    assert scene.offer(one) == (MemberChange(None, one, Standing.COUNTS),)
    view = scene.view
    assert view.by_key(key_of(1)) is view.by_name("member-1") is one
    assert all(view.by_address(address) is one for address in one.addresses)
    assert (len(view), list(view)) == (1, [one])
    assert view.standing(key_of(1)) is Standing.COUNTS


def test_who_is_unknown_is_nobody() -> None:
    """By key, name and address."""
    view = Scene().view
    assert view.by_key(key_of(1)) is None
    assert view.by_name("member-1") is None
    assert view.by_address(Prefix(4, 1, 32)) is None
    assert view.standing(key_of(1)) is Standing.UNKNOWN


def test_a_later_record_takes_the_place_of_the_earlier() -> None:
    """Under its new name alone."""
    scene, old, new = Scene(), member(1, name="old"), member(1, version=2, name="new")
    scene.offer(old)
    assert scene.offer(new) == (MemberChange(old, new, Standing.COUNTS),)
    assert scene.view.by_name("old") is None
    assert scene.view.by_name("new") is new


def test_what_changed_nothing_is_no_step() -> None:
    """The same or an older record again."""
    scene, one = Scene(), member(1, version=2)
    scene.offer(one)
    assert scene.offer(one, member(1)) == ()


def test_a_certificate_counts_from_skew_before_to_skew_after() -> None:
    """To the second; `next_deadline` names both moments."""
    scene = Scene()
    scene.offer(member(1, begins=WALL + DAY, ends=WALL + 2 * DAY))
    assert scene.view.standing(key_of(1)) is Standing.NOT_YET_VALID
    begin, end = WALL + DAY - VALIDITY_SKEW, WALL + 2 * DAY + VALIDITY_SKEW + 1
    assert scene.view.next_deadline() == begin
    assert scene.at(begin - 0.5) == ()
    assert reasons(scene.at(begin)) == [("member-1", Standing.COUNTS)]
    assert scene.view.next_deadline() == end
    assert scene.at(end - 0.5) == ()
    assert reasons(scene.at(end)) == [("member-1", Standing.EXPIRED)]
    assert scene.view.next_deadline() is None


def test_a_clock_that_went_ahead_and_came_back_restores_the_view() -> None:
    """Ten years ahead everybody has expired; afterwards all is as before."""
    scene = Scene()
    scene.offer(member(1), member(2))
    assert len(scene.at(WALL + 3650 * DAY)) == 2
    assert len(scene.view) == 0
    assert len(scene.at(WALL)) == 2
    assert len(scene.view) == 2


def test_a_record_that_comes_late_is_judged_with_the_rest() -> None:
    """An update at a time at which others have expired finds those, too."""
    scene, new = Scene(), member(2)
    scene.offer(member(1, ends=WALL + DAY))
    merge = scene.records.offer(new, wall=WALL)
    changes = scene.view.update(merge, wall=WALL + 2 * DAY)
    assert reasons(changes) == [
        ("member-1", Standing.EXPIRED),
        ("member-2", Standing.COUNTS),
    ]


def test_what_was_loaded_before_is_seen_at_once() -> None:
    """A view made over a set that is not empty shows it when time is first told."""
    records = RecordSet()
    records.offer(member(1), wall=WALL)
    view = Membership(records)
    assert view.next_deadline() is not None
    assert len(view.handle_deadline(wall=WALL)) == 1


def test_mass_expiry_is_one_step_each() -> None:
    """A hundred at one instant: a hundred steps in the order of keys, then quiet."""
    scene = Scene()
    scene.offer(*[member(n, ends=WALL + DAY) for n in range(1, 101)])
    changes = scene.at(WALL + 2 * DAY)
    assert [change.member.key for change in changes] == sorted(
        map(key_of, range(1, 101))
    )
    assert scene.view.next_deadline() is None


@pytest.mark.parametrize(
    "subject",
    [key_of(1), signing_key_of(1), issuer_of(1)],
    ids=["key", "sign", "issue"],
)
@pytest.mark.parametrize("by_issuer", [True, False])
def test_a_revoked_member_is_gone(subject: bytes, by_issuer: bool) -> None:
    """By any of its keys, whether its issuer or an authority said so."""
    scene = Scene()
    scene.offer(member(1, signer=issuer_of(1)), member(2))
    word = (
        revocation(subject, signer=issuer_of(1)) if by_issuer else revocation(subject)
    )
    assert reasons(scene.offer(word)) == [("member-1", Standing.REVOKED)]
    assert scene.offer(member(1, signer=issuer_of(1), version=9)) == ()
    assert [m.key for m in scene.view] == [key_of(2)]


def test_who_left_is_gone_until_a_later_version() -> None:
    """And an old record does not bring it back, though it is all that is valid."""
    scene = Scene()
    scene.offer(member(1, version=1, signer=issuer_of(1)))
    gone = scene.offer(member(1, version=2, has_left=True, ends=WALL + DAY))
    assert reasons(gone) == [("member-1", Standing.LEFT)]
    assert scene.at(WALL + 2 * DAY) == ()
    assert scene.view.standing(key_of(1)) is Standing.LEFT
    assert len(scene.offer(member(1, version=3))) == 1


def test_of_two_with_one_name_the_longer_member_counts() -> None:
    """Whichever comes first; the other is told, with who has its name."""
    older = member(1, name="same", since=WALL - 9)
    newer = member(2, name="same", since=WALL - 8)
    first, second = Scene(), Scene()
    first.offer(newer)
    assert reasons(first.offer(older)) == [
        ("same", Standing.REPLACED),
        ("same", Standing.COUNTS),
    ]
    second.offer(older)
    assert second.offer(newer) == ()
    for scene in (first, second):
        assert scene.view.by_name("same") is older
        assert scene.view.by_key(key_of(2)) is None
        assert scene.view.standing(key_of(2)) is Standing.REPLACED
        assert scene.view.outdone() == ((newer, older),)
        assert len(scene.view) == 1


def test_of_two_as_long_members_the_lesser_key_counts() -> None:
    """With one address, here."""
    scene = Scene()
    pair = [member(1, host=7), member(2, host=7)]
    scene.offer(*pair)
    best = min(pair, key=lambda m: m.key)
    assert list(scene.view) == [best]
    assert scene.view.by_address(Prefix(4, 7, 32)) is best


def test_when_the_first_is_gone_the_second_counts() -> None:
    """Gone before joined, so that the address is free when it is given."""
    scene = Scene()
    scene.offer(member(1, name="same", since=WALL - 2 * DAY), member(2, name="same"))
    changes = scene.offer(revocation(key_of(1)))
    assert [(c.member.key, c.after is None) for c in changes] == [
        (key_of(1), True),
        (key_of(2), False),
    ]


def test_a_claim_counts_even_if_its_owner_is_outdone_elsewhere() -> None:
    """Who counts depends on pairs only, not on who was looked at first."""
    scene = Scene()
    scene.offer(
        member(1, name="x", host=1, since=WALL - 9),
        member(2, name="x", host=2, since=WALL - 8),
        member(3, name="y", host=2, since=WALL - 7),
    )
    assert [m.key for m in scene.view] == [key_of(1)]
    assert scene.view.by_name("y") is None


def test_of_two_signing_keys_the_longer_member_speaks() -> None:
    """An issuer that certifies somebody's WireGuard key anew changes nothing."""
    scene = Scene()
    rightful = member(1, since=WALL - 9, signer=issuer_of(1))
    forged = member(
        1, since=WALL, version=99, signer=issuer_of(2), signing_key=b"f" * 32
    )
    scene.offer(rightful)
    assert scene.offer(forged) == ()
    assert scene.view.by_key(key_of(1)) is rightful


def test_a_dropped_record_has_expired_unless_it_was_revoked() -> None:
    """What ended long ago may be dropped before the view was told of the time."""
    scene, one = Scene(), member(1, ends=WALL)
    scene.offer(one)
    merge = scene.records.collect(wall=WALL + 30 * DAY)
    changes = scene.view.update(merge, wall=WALL)
    assert reasons(changes) == [("member-1", Standing.EXPIRED)]
