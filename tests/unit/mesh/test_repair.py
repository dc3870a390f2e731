"""The walk that mends what two sets differ in."""

import random

import pytest

from meshnode.codec.message_bytes import MAX_PUSH, encode_message
from meshnode.codec.messages import Digests, Leaf, Message, Push, Want
from meshnode.mesh.answers import Answers
from meshnode.mesh.record_set import RecordSet, identity_of
from meshnode.mesh.repair import (
    FAR_BEHIND,
    FEW_PATHS,
    FUTILE_WAIT,
    LEAF,
    MAX_BATCH_BYTES,
    MAX_FUTILE,
    NEXT_WALK_AFTER,
    Repair,
    batches,
)
from meshnode.mesh.trust import VerifiedMember
from tests.mesh_records import WALL, member
from tests.mesh_wire import Mailbox

US, PEER = b"u" * 32, b"p" * 32


class Side:
    """One of two nodes that repair each other."""

    def __init__(self, *members: VerifiedMember) -> None:
        self.records = RecordSet()
        self.mailbox = Mailbox()
        self.repair = Repair(
            self.records, Answers(self.mailbox), random.Random(1).randbytes
        )
        for one in members:
            self.records.offer(one, wall=WALL)

    def begin(self, digest: bytes = b"\1" * 8, now: float = 0.0) -> list[Message]:
        """Hear a Hello with that digest; return the answers."""
        self.repair.begin(PEER, digest, now=now)
        return self.answers()

    def answers(self) -> list[Message]:
        """Return what was sent."""
        return [message for _, message in self.mailbox.taken()]

    def take(self, message: Message) -> list[Message]:
        """Take a message; return the answers."""
        match message:
            case Digests():
                self.repair.take_digests(PEER, message, now=0.0)
            case Leaf():
                self.repair.take_leaf(PEER, message, now=0.0)
            case Want():
                self.repair.take_want(PEER, message, now=0.0)
        return self.answers()


def walk(one: Side, other: Side, pool: dict[bytes, VerifiedMember]) -> list[Message]:
    """Let *other* be greeted and both walk to the end; return all messages."""
    other.repair.begin(PEER, one.records.tree.root[0], now=0.0)
    sides, turn, messages = (one, other), 0, []
    inbox = other.answers()
    while inbox:
        messages += inbox
        side, answers = sides[turn], []
        for message in inbox:
            if isinstance(message, Push):
                for data in message.records:
                    side.records.offer(pool[data], wall=WALL)
            answers += side.take(message)
        inbox, turn = answers, 1 - turn
    return messages


@pytest.mark.parametrize(
    ("common", "ours", "theirs"),
    [(0, 5, 0), (0, 0, 5), (0, 20, 20), (200, 1, 1), (200, 30, 40), (40, 0, 16)],
)
def test_two_sets_become_one(common: int, ours: int, theirs: int) -> None:
    """Whichever side lacks what, in one walk."""
    members = [member(n) for n in range(common + ours + theirs)]
    one, other = Side(*members[: common + ours]), Side(*members[:common])
    for late in members[common + ours :]:
        other.records.offer(late, wall=WALL)
    walk(one, other, {m.data: m for m in members})
    assert one.records.tree.root == other.records.tree.root
    assert len(one.records) == len(members)


@pytest.mark.parametrize("newer_here", [True, False])
def test_the_later_of_two_versions_wins(newer_here: bool) -> None:
    """Though neither side knows which it is before it has both."""
    pair = [member(7, version=1), member(7, version=2)]
    crowd = [member(n) for n in range(100, 200)]
    one, other = Side(pair[newer_here], *crowd), Side(pair[not newer_here], *crowd)
    walk(one, other, {m.data: m for m in pair})
    assert one.records.tree.root == other.records.tree.root
    assert pair[1] in list(one.records)


def test_one_difference_in_ten_thousand_costs_less_than_a_kilobyte() -> None:
    """Besides the record itself, on the wire."""
    members = [member(n) for n in range(10_000)]
    one, other = Side(*members), Side(*members[:-1])
    messages = walk(one, other, {m.data: m for m in members})
    assert one.records.tree.root == other.records.tree.root
    pushed = [m for m in messages if isinstance(m, Push)]
    assert [m.records for m in pushed] == [(members[-1].data,)]
    cost = sum(len(encode_message(m)) for m in messages if m not in pushed)
    assert cost <= 1000, [type(m).__name__ for m in messages]


def test_equal_digests_begin_nothing() -> None:
    """In whatever state we are."""
    side = Side(member(1))
    assert side.begin(side.records.tree.root[0]) == []


def test_a_walk_that_changes_nothing_is_left_for_longer_and_longer() -> None:
    """The clocks of two nodes may differ for ever; another digest begins anew."""
    side = Side(member(1))
    assert [len(side.begin(now=float(n))) for n in range(5)] == [1] * MAX_FUTILE + [
        0
    ] * 2
    last = MAX_FUTILE - 1
    assert side.begin(now=last + FUTILE_WAIT - 0.1) == []
    assert len(side.begin(now=last + FUTILE_WAIT)) == 1
    assert side.begin(now=last + 2.5 * FUTILE_WAIT) == []
    assert len(side.begin(b"\2" * 8, now=last + 2.5 * FUTILE_WAIT)) == 1
    side.repair.forget(PEER)
    assert len(side.begin(b"\2" * 8, now=last + 2.5 * FUTILE_WAIT)) == 1


def test_small_sets_are_told_as_a_leaf_and_large_ones_as_digests() -> None:
    """Up to sixteen records."""
    small, large = Side(*map(member, range(LEAF))), Side(*map(member, range(LEAF + 1)))
    assert [type(m) for m in small.begin()] == [Leaf]
    assert [type(m) for m in large.begin()] == [Digests]


def test_who_is_far_behind_walks_down_a_few_paths() -> None:
    """It could not take what is at the end of all of them."""
    side = Side(member(1))
    digests = Digests(b"", (b"\1" * 8,) * 16)
    side.repair.note_count(PEER, FAR_BEHIND + 1)
    assert len(side.take(digests)) == 16
    side.repair.note_count(PEER, FAR_BEHIND + 2)
    assert len(side.take(digests)) == FEW_PATHS
    side.repair.forget(PEER)
    assert len(side.take(digests)) == 16


def test_every_answer_fits_into_a_frame() -> None:
    """Even if everything differs, with the longest records."""
    side = Side(*[member(n, text=b"x" * 300) for n in range(2000)])
    answers = [*side.begin(), *side.take(Digests(b"", (b"\1" * 8,) * 16))]
    answers += side.take(Leaf(b"\3\1", ()))
    answers += side.take(Want(tuple(map(identity_of, list(side.records)[:64]))))
    for message in answers:
        encode_message(message)
    assert {type(m) for m in answers} == {Digests, Push}


def test_a_leaf_for_a_large_part_is_answered_with_digests() -> None:
    """No one message makes us push more than sixty-four records."""
    side = Side(*map(member, range(1000)))
    (answer,) = side.take(Leaf(b"", ()))
    assert isinstance(answer, Digests)


def test_a_flood_of_requests_gets_no_more_than_the_budget() -> None:
    """A hundred times the same sixty-four records are not pushed."""
    side = Side(*map(member, range(64)))
    want = Want(tuple(map(identity_of, side.records)))
    pushed = [m for _ in range(100) for m in side.take(want)]
    assert sum(len(data) for m in pushed for data in m.records) <= 70_000


def test_hostile_messages_of_a_walk_end_it() -> None:
    """Digests at the full depth, ids that nobody has, a leaf of foreign ids."""
    side = Side(*map(member, range(3)))
    assert side.take(Digests(bytes(16), (b"\1" * 8,) * 16)) == []
    assert side.take(Want((b"unknown!",) * 64)) == []
    foreign = tuple((bytes((n,)) * 8, bytes(8)) for n in range(64))
    answers = side.take(Leaf(b"\0" * 16, foreign))
    assert [type(m) for m in answers] == [Want]


def test_progress_in_a_walk_is_followed_by_another_hello() -> None:
    """Half a second later, once; pushes out of the blue are followed by none."""
    side = Side()
    side.repair.note_progress(PEER, now=0.0)
    assert side.repair.next_deadline() is None
    side.begin()
    side.repair.note_progress(PEER, now=0.1)
    side.repair.note_progress(PEER, now=0.2)
    deadline = side.repair.next_deadline()
    assert deadline is not None
    assert deadline.at == 0.1 + NEXT_WALK_AFTER
    assert side.repair.due(now=deadline.at - 0.01) == ()
    assert side.repair.due(now=deadline.at) == (PEER,)
    assert side.repair.next_deadline() is None
    side.repair.note_progress(PEER, now=10.0)
    assert side.repair.next_deadline() is None


def test_records_travel_together_as_far_as_they_fit() -> None:
    """In their order, none lost; one that is long goes alone."""
    sizes = (10, 500, 600, 1100, 1099, *range(20, 60))
    records = [bytes(n) for n in sizes]
    messages = batches(records)
    assert batches(records + records) == messages
    assert [data for m in messages for data in m.records] == records
    assert all(
        len(m.records) == 1 or sum(len(d) + 3 for d in m.records) <= MAX_BATCH_BYTES
        for m in messages
    )
    for message in messages:
        encode_message(message)
    assert [len(m.records) for m in messages[:3]] == [3, 1, 3]
    assert max(len(m.records) for m in messages) == MAX_PUSH
    assert batches([]) == []
