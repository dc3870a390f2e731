"""Publishing: to three that answer, on change and each minute, and to ourselves."""

import itertools
import random

import pytest

from meshnode.codec.messages import Message, Publish, Published, Refresh
from meshnode.codec.records import Endpoints, Mapping, NatHint, RelayHint
from meshnode.mesh.endpoint_book import EndpointBook
from meshnode.mesh.publishing import PASSED_OVER_FOR, PUBLISH_EVERY, Hints, Publishing
from meshnode.mesh.ranking import rank_by_hash
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.mesh.rendezvous import Rendezvous
from meshnode.types import Endpoint
from tests.unit.mesh.issuing_parts import FakeTunnels

WALL = 1_800_000_000
HOME = (Endpoint("192.0.2.1", 1),)
AWAY = (Endpoint("192.0.2.2", 2),)


class Publisher:
    """A node that publishes to *servers*, with a clock of its own."""

    def __init__(self, rng: random.Random, servers: int) -> None:
        self.key = rng.randbytes(32)
        self.servers = [rng.randbytes(32) for _ in range(servers)]
        self.tunnels = FakeTunnels()
        self.signed: dict[bytes, Endpoints] = {}
        self.book = EndpointBook(lambda key, data: self.signed[data])
        self.now = 0.0
        self.sent: list[Message] = []
        self.publishing = Publishing(
            key=self.key,
            sign=self.sign,
            tunnels=self.tunnels,
            own=Rendezvous(self.book, self.tunnels),
            rendezvous_keys=lambda: self.servers,
            entropy=rng.randbytes,
        )

    def sign(self, endpoints: Endpoints) -> bytes:
        """Number the records."""
        data = f"record {len(self.signed)}".encode()
        self.signed[data] = endpoints
        return data

    @property
    def ranked(self) -> list[bytes]:
        """The servers in the order of our key."""
        return rank_by_hash(self.key, self.servers)

    def step(self) -> list[bytes]:
        """Go to the next deadline; return who is published to then."""
        deadline = self.publishing.next_deadline()
        assert deadline is not None
        assert deadline.at >= self.now
        self.now = deadline.at
        self.publishing.handle_deadline(now=self.now, wall=WALL)
        sent = self.tunnels.drain()
        self.sent = [message for _, message in sent]
        assert all(isinstance(one, Publish | Refresh) for one in self.sent)
        return [to for to, _ in sent]

    def answer(self, *servers: bytes, version: int = 1) -> None:
        """Let these servers confirm, by default another version than ours."""
        for server in servers:
            self.publishing.receive_published(
                server, Published(version, None), now=self.now
            )


def test_nothing_happens_before_there_are_candidates(rng: random.Random) -> None:
    """No record, no deadline."""
    assert Publisher(rng, 5).publishing.next_deadline() is None


def test_a_change_goes_to_the_first_three_at_once(rng: random.Random) -> None:
    """In the order of our key; the same candidates again are no change."""
    node = Publisher(rng, 5)
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    assert node.step() == node.ranked[:3]
    assert node.now == 0.0
    node.answer(*node.ranked)
    node.publishing.set_candidates(HOME, now=1.0, wall=WALL)
    assert node.step() == node.ranked[:3]
    assert 0.75 * PUBLISH_EVERY <= node.now <= 1.25 * PUBLISH_EVERY
    node.publishing.set_candidates(AWAY, now=node.now, wall=WALL + 9)
    before = node.now
    assert node.step() == node.ranked[:3]
    assert node.now == before
    versions = [endpoints.version for endpoints in node.signed.values()]
    assert versions == [WALL, WALL + 9]


def test_who_has_the_record_is_only_told_that_it_holds(rng: random.Random) -> None:
    """And who has lost it gets it at once, but not a second time for nothing."""
    node = Publisher(rng, 3)
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    node.step()
    node.answer(*node.ranked, version=WALL)
    assert node.step() == node.ranked
    assert node.sent == [Refresh(WALL)] * 3
    node.answer(*node.ranked[:2], version=WALL)
    node.answer(node.ranked[2], version=0)
    [(to, message)] = node.tunnels.drain()
    assert to == node.ranked[2]
    assert isinstance(message, Publish)
    node.answer(node.ranked[2], version=0)
    assert node.tunnels.drain() == []
    node.step()
    assert [type(message) for message in node.sent] == [Refresh, Refresh, Publish]


def test_hints_are_published_beside_the_candidates(rng: random.Random) -> None:
    """Not before there are candidates; the same ones again are no change."""
    node = Publisher(rng, 1)
    hints = Hints(
        rng.randbytes(32),
        NatHint(Mapping.ENDPOINT_DEPENDENT, 1024, 2047),
        (RelayHint(rng.randbytes(32), 12),),
    )
    node.publishing.set_hints(hints, now=0.0, wall=WALL)
    assert node.publishing.next_deadline() is None
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    node.publishing.set_hints(hints, now=0.0, wall=WALL)
    node.publishing.set_hints(Hints(hints.probe_key), now=0.0, wall=WALL)
    assert list(node.signed.values()) == [
        Endpoints(node.key, WALL, HOME, hints.probe_key, hints.nat, hints.relays),
        Endpoints(node.key, WALL + 1, HOME, hints.probe_key),
    ]


def test_versions_grow_within_a_second_and_with_a_clock_set_back(
    rng: random.Random,
) -> None:
    """Each change has a greater version than the one before."""
    node = Publisher(rng, 1)
    for number, wall in enumerate((WALL, WALL, WALL - 50, WALL + 1)):
        candidates = (Endpoint("192.0.2.1", number + 1),)
        node.publishing.set_candidates(candidates, now=0.0, wall=wall)
    versions = [endpoints.version for endpoints in node.signed.values()]
    assert versions == [WALL, WALL + 1, WALL + 2, WALL + 3]


def test_who_does_not_answer_is_asked_three_times_and_replaced(
    rng: random.Random,
) -> None:
    """The fourth in the order takes its place, for ten minutes."""
    node = Publisher(rng, 5)
    first, second, third, fourth, fifth = node.ranked
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    node.step()
    node.answer(first, third)
    assert node.step() == [second]
    assert node.now == 2.0
    assert node.step() == [second]
    assert node.step() == [fourth]
    assert node.now == 6.0
    node.answer(fourth)
    while node.now < 6.0 + PASSED_OVER_FOR - 1.25 * PUBLISH_EVERY:
        assert node.step() == [first, third, fourth]
        node.answer(first, third, fourth)
    while (asked := node.step()) == [first, third, fourth]:
        node.answer(*asked)
    assert asked == [first, second, third]
    assert node.now >= 6.0 + PASSED_OVER_FOR
    assert fifth not in asked


def test_a_late_answer_brings_a_server_back(rng: random.Random) -> None:
    """It is among the three of the next round."""
    node = Publisher(rng, 4)
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    for _ in range(3):
        assert node.step() == node.ranked[:3]
    assert node.step() == node.ranked[3:]
    node.answer(*node.ranked)
    assert node.step() == node.ranked[:3]
    assert node.now < PASSED_OVER_FOR


@pytest.mark.parametrize("servers", [1, 2])
def test_with_fewer_than_three_all_are_used(rng: random.Random, servers: int) -> None:
    """And when none of them answers, each round tries again."""
    node = Publisher(rng, servers)
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    assert node.step() == node.ranked
    times = []
    while node.now < 4 * PASSED_OVER_FOR:
        if node.step():
            times.append(node.now)
    most = PASSED_OVER_FOR + 1.25 * PUBLISH_EVERY
    assert max(b - a for a, b in itertools.pairwise(times)) < most


def test_a_rendezvous_among_the_three_serves_itself(rng: random.Random) -> None:
    """It publishes to two others, and keeps its own record; nothing goes to itself."""
    node = Publisher(rng, 2)
    node.servers.append(node.key)
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    asked = node.step()
    assert sorted(asked) == sorted(node.servers[:2])
    assert node.book.get(node.key, now=0.0) is not None


def test_a_rendezvous_far_down_does_not_serve_itself(rng: random.Random) -> None:
    """With three others before it, others would not look for the record here."""
    node = Publisher(rng, 20)
    node.servers.append(node.key)
    while node.key in node.ranked[:3]:
        node.servers.insert(0, rng.randbytes(32))
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    node.step()
    assert node.book.get(node.key, now=0.0) is None


def test_without_any_other_a_node_is_its_own_rendezvous(rng: random.Random) -> None:
    """Whether it has the role or not; the record is refreshed for ever."""
    node = Publisher(rng, 0)
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    for _ in range(10):
        assert node.step() == []
        assert node.book.get(node.key, now=node.now) is not None


def test_who_is_no_member_any_more_keeps_nothing_and_lives_on(
    rng: random.Random,
) -> None:
    """With all certificates ended there is no other rendezvous, and no own record."""
    node = Publisher(rng, 0)

    def refuse(key: bytes, data: bytes) -> Endpoints:
        raise RecordRefused(Refusal.WRONG_MEMBER)

    node.book = EndpointBook(refuse)
    node.publishing = Publishing(
        key=node.key,
        sign=node.sign,
        tunnels=node.tunnels,
        own=Rendezvous(node.book, node.tunnels),
        rendezvous_keys=list,
        entropy=rng.randbytes,
    )
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    assert node.step() == []
    assert node.publishing.next_deadline() is not None
    assert node.book.get(node.key, now=node.now) is None


def test_new_servers_are_told_soon(rng: random.Random) -> None:
    """Not with the next round: those who know us may be gone by then."""
    node = Publisher(rng, 1)
    node.publishing.rendezvous_changed(now=0.0)
    assert node.publishing.next_deadline() is None
    node.publishing.set_candidates(HOME, now=0.0, wall=WALL)
    assert node.step() == node.ranked
    node.answer(*node.servers)
    node.servers += [rng.randbytes(32) for _ in range(2)]
    for _ in range(100):  # a crowd is one change
        node.publishing.rendezvous_changed(now=1.0)
    assert node.step() == node.ranked
    assert 1.0 < node.now <= 1.5
    node.answer(*node.servers)
    assert node.step() == node.ranked
    assert node.now >= 45.0
