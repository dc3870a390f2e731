"""Lookups: whom they ask when, what they believe, and when they give up."""

import random

import pytest

from meshnode.codec.messages import Found, Lookup
from meshnode.codec.records import Endpoints
from meshnode.mesh.endpoint_book import EndpointBook
from meshnode.mesh.lookups import GIVE_UP_AFTER, MAX_SEARCHES, Lookups
from meshnode.mesh.ranking import rank_by_hash
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.mesh.rendezvous import SUBSCRIBED_FOR
from tests.unit.mesh.issuing_parts import FakeTunnels


def record(key: bytes, version: int) -> bytes:
    """Return what `verify` takes for a record of *key*."""
    return key + bytes([version])


def verify(key: bytes, data: bytes) -> Endpoints:
    """Take only records of that key."""
    if data[:32] != key:
        raise RecordRefused(Refusal.WRONG_MEMBER)
    return Endpoints(key, data[32], ())


class Searcher:
    """A node that looks up `target`, with servers and neighbours."""

    def __init__(self, rng: random.Random, servers: int = 8) -> None:
        self.key, self.target = rng.randbytes(32), rng.randbytes(32)
        self.servers = [rng.randbytes(32) for _ in range(servers)]
        self.neighbours = tuple(rng.randbytes(32) for _ in range(2))
        self.tunnels = FakeTunnels()
        self.book = EndpointBook(verify)
        self.lookups = Lookups(
            key=self.key,
            book=self.book,
            tunnels=self.tunnels,
            rendezvous_keys=lambda: self.servers,
        )

    @property
    def ranked(self) -> list[bytes]:
        """The servers in the order of the target."""
        return rank_by_hash(self.target, self.servers)

    def asked(self) -> list[bytes]:
        """Return who was asked since the last time."""
        sent = self.tunnels.drain()
        assert all(message == Lookup(self.target) for _, message in sent)
        return [to for to, _ in sent]

    def want(self, now: float = 0.0) -> bool:
        """Look for the target."""
        return self.lookups.want(self.target, self.neighbours, now=now)

    def found(self, peer: bytes, data: bytes, now: float) -> bool:
        """Let *peer* answer."""
        return self.lookups.receive_found(peer, Found(self.target, data), now=now)


@pytest.fixture
def node(rng: random.Random) -> Searcher:
    """A node with eight rendezvous members."""
    return Searcher(rng)


def test_the_first_three_are_asked_in_parallel(node: Searcher) -> None:
    """At once; wanting again meanwhile asks nobody again."""
    assert node.want()
    assert node.asked() == node.ranked[:3]
    assert node.want(0.5)
    assert node.asked() == []


def test_without_answers_more_are_asked_and_then_it_is_given_up(
    node: Searcher,
) -> None:
    """After 1, 3 and 6 s the next three and the neighbours too; 10 s are the end."""
    node.want()
    node.asked()
    ranked, neighbours = node.ranked, list(node.neighbours)
    for at, later in ((1.0, ranked[3:6]), (3.0, ranked[6:9]), (6.0, [])):
        deadline = node.lookups.next_deadline()
        assert deadline is not None
        assert deadline.at == at
        assert node.lookups.handle_deadline(now=at) == []
        assert node.asked() == [*ranked[:3], *later, *neighbours]
    assert node.lookups.handle_deadline(now=GIVE_UP_AFTER - 0.1) == []
    assert node.lookups.handle_deadline(now=GIVE_UP_AFTER) == [node.target]
    assert node.lookups.next_deadline() is None
    assert node.want(GIVE_UP_AFTER)
    assert node.asked() == ranked[:3]


def test_when_all_three_know_nothing_neighbours_are_asked_at_once(
    node: Searcher,
) -> None:
    """The search does not wait for the second to pass."""
    node.want()
    node.asked()
    first, second, third = node.ranked[:3]
    for server in (first, first, second):
        assert not node.found(server, b"", 0.1)
        assert node.asked() == []
    assert not node.found(third, b"", 0.2)
    assert set(node.neighbours) <= set(node.asked())
    for server in (*node.ranked, *node.neighbours):
        node.found(server, b"", 0.3)
    assert node.asked() == []


def test_an_answer_ends_the_search(node: Searcher) -> None:
    """The record is in the book, and no deadline is left."""
    node.want()
    assert node.found(node.ranked[0], record(node.target, 3), 0.1)
    heard = node.book.get(node.target, now=0.1)
    assert heard is not None
    assert heard.data == record(node.target, 3)
    assert node.lookups.next_deadline() is None
    assert not node.found(node.ranked[1], record(node.target, 2), 0.2)
    assert node.found(node.ranked[2], record(node.target, 4), 0.3)


def test_a_forged_answer_does_not_end_it(node: Searcher) -> None:
    """It counts as not knowing."""
    node.want()
    node.asked()
    for server in node.ranked[:3]:
        assert not node.found(server, b"x" * 33, 0.1)
    assert set(node.neighbours) <= set(node.asked())
    assert node.book.get(node.target, now=0.1) is None
    assert node.lookups.next_deadline() is not None


def test_news_is_taken_for_300_s_and_only_when_asked_for(node: Searcher) -> None:
    """Who was never looked up, or long ago, fills no book of ours."""
    server = node.ranked[0]
    assert not node.found(server, record(node.target, 1), 0.0)
    assert len(node.book) == 0
    node.want(1.0)
    assert node.found(server, record(node.target, 1), 2.0)
    late = 1.0 + SUBSCRIBED_FOR
    assert node.found(server, record(node.target, 2), late - 1)
    assert not node.found(server, record(node.target, 3), late)


def test_neither_ourselves_nor_the_target_are_asked(rng: random.Random) -> None:
    """Though both are rendezvous members, and the target our neighbour."""
    node = Searcher(rng, servers=2)
    node.servers += [node.key, node.target]
    node.neighbours = (node.target, node.neighbours[0])
    node.want()
    asked = node.asked()
    node.lookups.handle_deadline(now=1.0)
    asked += node.asked()
    assert node.key not in asked
    assert node.target not in asked
    assert len(asked) == 2 + 3
    assert node.lookups.want(node.key, (), now=2.0)
    assert node.tunnels.drain() == []


def test_searches_are_bounded(node: Searcher, rng: random.Random) -> None:
    """One more than 256 is refused; those under way and ended ones do not count."""
    keys = [rng.randbytes(32) for _ in range(MAX_SEARCHES)]
    assert all(node.lookups.want(key, (), now=0.0) for key in keys)
    assert not node.want()
    assert node.lookups.want(keys[0], (), now=0.0)
    node.lookups.stop(keys[0])
    node.lookups.stop(keys[0])
    assert node.want()
    node.lookups.forget(node.target)
    assert not node.found(node.ranked[0], record(node.target, 1), 0.1)
