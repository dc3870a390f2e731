"""The record set is a join: order, repetition and grouping of records do not matter."""

from hypothesis import given
from hypothesis import strategies as st

from meshnode.mesh.membership import Membership
from meshnode.mesh.record_set import Record, RecordSet
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

NUMBERS = st.integers(1, 4)
SIGNERS = st.sampled_from([AUTHORITY, issuer_of(1), issuer_of(2)])
MEMBERS: st.SearchStrategy[Record] = st.builds(
    member,
    NUMBERS,
    version=st.integers(1, 3),
    signer=SIGNERS,
    signing_key=st.sampled_from([signing_key_of(1), signing_key_of(2)]),
    name=st.sampled_from(["a", "b", "c"]),
    host=st.integers(1, 3),
    since=st.integers(WALL - 2, WALL),
    ends=st.sampled_from([WALL - DAY, WALL + DAY, WALL - 30 * DAY]),
    has_left=st.booleans(),
    text=st.sampled_from([b"", b"x"]),
)
SUBJECTS = st.sampled_from(
    [key_of(1), key_of(2), signing_key_of(1), signing_key_of(2), issuer_of(1)]
)
REVOCATIONS: st.SearchStrategy[Record] = st.builds(
    revocation,
    SUBJECTS,
    signer=SIGNERS,
    until=st.sampled_from([WALL + DAY, WALL + 2 * DAY, WALL - 30 * DAY]),
    text=st.sampled_from(["", "x"]),
)
RECORDS = st.lists(MEMBERS | REVOCATIONS, max_size=14)


def joined(records: list[Record]) -> RecordSet:
    """Return the set of records offered in their order."""
    result = RecordSet()
    for record in records:
        result.offer(record, wall=WALL)
    return result


def content(records: RecordSet) -> set[bytes]:
    """Return what is in the set; check that the digests speak of it."""
    assert len(records.tree) == len(records)
    return {record.data for record in records}


@given(RECORDS, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(records: list[Record], draw) -> None:
    """Any shuffle with any duplicates gives the same set and digest."""
    again = records + [draw.choice(records) for _ in records]
    draw.shuffle(again)
    one, other = joined(records), joined(again)
    assert content(one) == content(other)
    assert one.tree.root == other.tree.root


@given(RECORDS, RECORDS)
def test_joining_two_sets_is_joining_all_records(
    some: list[Record], others: list[Record]
) -> None:
    """What one set has left out is not missed: sets may be joined instead of records.

    What an issuer revoked may be known here and the revocation there.
    """
    one, other = joined(some), joined(others)
    waiting = [r for r in (*some, *others) if r not in [*one, *other]]
    together = joined([*one, *other, *waiting])
    assert content(together) == content(joined(some + others))


@given(RECORDS)
def test_a_set_joined_with_itself_is_itself(records: list[Record]) -> None:
    """Nothing in it is news to it."""
    one = joined(records)
    before = content(one)
    for record in list(one):
        assert one.offer(record, wall=WALL).kept == ()
    assert content(one) == before


@given(RECORDS, st.integers(0, 13))
def test_no_identity_ever_goes_back(records: list[Record], size: int) -> None:
    """While records come in, versions rise, and revocations stay."""
    one = RecordSet()
    for record in records:
        before = {r.data: r for r in one}
        merge = one.offer(record, wall=WALL)
        for dropped in merge.dropped:
            assert one.offer(dropped, wall=WALL).kept == (), "what went out came back"
        assert merge.kept or {r.data for r in one} == set(before)


@given(RECORDS, st.randoms(use_true_random=False))
def test_the_view_followed_step_by_step_is_that_of_the_whole_set(
    records: list[Record], draw
) -> None:
    """Members, names, addresses and reasons are those of a view made afresh."""
    one = RecordSet()
    view = Membership(one)
    counting: dict[bytes, bytes] = {}
    for record in records:
        for change in view.update(one.offer(record, wall=WALL), wall=WALL):
            key = change.member.key
            assert counting.get(key) == (change.before.data if change.before else None)
            if change.after is None:
                del counting[key]
            else:
                counting[key] = change.after.data
    fresh = Membership(one)
    fresh.handle_deadline(wall=WALL)
    shuffled = list(records)
    draw.shuffle(shuffled)
    other = RecordSet()
    elsewhere = Membership(other)
    for record in shuffled:
        elsewhere.update(other.offer(record, wall=WALL), wall=WALL)
    for each in (fresh, elsewhere):
        assert {m.key: m.data for m in each} == counting
        for number in range(1, 5):
            key = key_of(number)
            assert each.standing(key) == view.standing(key)
    for member_ in view:
        assert view.by_name(member_.certificate.name) is member_
        assert all(view.by_address(address) is member_ for address in member_.addresses)
        assert one.revocation_of(member_) is None
