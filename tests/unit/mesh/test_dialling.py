"""Dialling: where candidates come from, who is introduced to, and what is dropped."""

import random

import pytest

from meshnode.channels import endpoint_of
from meshnode.codec.messages import Found, Lookup
from meshnode.codec.records import Endpoints
from meshnode.crypto.keys import PrivateKey
from meshnode.mesh.candidates import CandidateFilter, CandidateKind
from meshnode.mesh.dialling import DIAL_FOR, INTRODUCE_EVERY, MAX_DIALS, Dialler
from meshnode.mesh.endpoint_book import EndpointBook
from meshnode.mesh.introduction import MemberIntroduction, open_introduction
from meshnode.mesh.lookups import GIVE_UP_AFTER, Lookups
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import KeepEndpoints
from meshnode.types import Endpoint, Path, Prefix
from tests.unit.mesh.issuing_parts import FakeTunnels, NoRelays

ONE, TWO, THREE, FOUR = (Endpoint(f"192.0.2.{n}", 51820) for n in (1, 2, 3, 4))
OVERLAY = Prefix.parse("10.9.0.0/16")
INSIDE = Endpoint("10.9.0.1", 51820)


class Node:
    """A dialler, one rendezvous member, and a peer to dial."""

    def __init__(
        self,
        rng: random.Random,
        stored: tuple[tuple[bytes, tuple[Endpoint, ...]], ...] = (),
    ) -> None:
        self.rng = rng
        self.peer = PrivateKey(rng.randbytes(32))
        self.key = self.peer.public_key().raw
        self.server = rng.randbytes(32)
        self.tunnels, self.outbox = FakeTunnels(), Outbox()
        self.records: dict[bytes, Endpoints] = {}
        self.book = EndpointBook(lambda key, data: self.records[data])
        lookups = Lookups(
            key=bytes(32),
            book=self.book,
            tunnels=self.tunnels,
            rendezvous_keys=lambda: [self.server],
        )
        self.relays = NoRelays()
        self.early: list[bytes] = []
        self.dialler = Dialler(
            tunnels=self.tunnels,
            outbox=self.outbox,
            relays=self.relays,
            is_public=lambda key: False,
            lookups=lookups,
            book=self.book,
            candidates=CandidateFilter((OVERLAY,), ("198.51.100.1",)),
            call_early=lambda key, now: self.early.append(key),
            entropy=rng.randbytes,
            stored=stored,
        )
        self.dialler.set_record(b"our record")

    def found(self, version: int, *candidates: Endpoint, now: float) -> None:
        """Let the rendezvous tell where the peer is."""
        data = f"record {version}".encode()
        self.records[data] = Endpoints(self.key, version, candidates)
        self.dialler.receive_found(self.server, Found(self.key, data), now=now)

    def want(self, now: float = 0.0) -> None:
        """Let something wait for the peer."""
        self.dialler.want(self.key, (), now=now)

    def introduced(self) -> list[Endpoint]:
        """Return where our record went, readable by the peer, since the last time."""
        sent, self.outbox.datagrams = self.outbox.datagrams, []
        for datagram in sent:
            assert open_introduction(datagram.data, self.peer) == MemberIntroduction(
                b"our record"
            )
        return [datagram.path.remote for datagram in sent]

    def kept(self) -> list[tuple[Endpoint, ...]]:
        """Return what was kept about the peer since the last time."""
        changes, self.outbox.changes = self.outbox.changes, []
        kept = []
        for change in changes:
            assert isinstance(change, KeepEndpoints)
            assert change.key == self.key
            kept.append(change.candidates)
        return kept


@pytest.fixture
def node(rng: random.Random) -> Node:
    """A node that knows nothing of the peer."""
    return Node(rng)


def test_an_unknown_peer_is_looked_up_and_dialled_where_it_says(node: Node) -> None:
    """Bad candidates are left out; the tunnels and an introduction get the rest."""
    node.want()
    assert node.tunnels.drain() == [(node.server, Lookup(node.key))]
    assert node.tunnels.candidates == {}
    assert node.introduced() == []
    node.found(1, ONE, INSIDE, Endpoint("127.0.0.1", 1), TWO, now=0.1)
    assert node.tunnels.candidates == {node.key: (ONE, TWO)}
    assert node.introduced() == [ONE, TWO]
    assert node.kept() == [(ONE, TWO)]


def test_nobody_knows_and_what_waits_is_dropped(node: Node) -> None:
    """After 10 s; wanting again begins anew."""
    node.want()
    for at in (1.0, 3.0, 6.0):
        node.dialler.handle_deadline(now=at, wall=0)
        assert node.tunnels.dropped == []
    node.dialler.handle_deadline(now=GIVE_UP_AFTER, wall=0)
    assert node.tunnels.dropped == [node.key]
    assert node.dialler.next_deadline() is None
    node.tunnels.drain()
    node.want(GIVE_UP_AFTER)
    assert node.tunnels.drain() == [(node.server, Lookup(node.key))]


def test_what_is_cached_is_dialled_at_once_and_not_dropped(rng: random.Random) -> None:
    """Endpoints of an earlier run are tried while the lookup goes on in vain."""
    key = PrivateKey(rng.randbytes(32))
    node = Node(rng, stored=((key.public_key().raw, (ONE, INSIDE)),))
    node.peer, node.key = key, key.public_key().raw
    node.want()
    assert node.tunnels.candidates == {node.key: (ONE,)}
    assert node.introduced() == [ONE]
    for at in (1.0, 3.0, 6.0, GIVE_UP_AFTER):
        node.dialler.handle_deadline(now=at, wall=0)
    assert node.tunnels.dropped == []


def test_candidates_are_ordered_by_what_we_trust(node: Node) -> None:
    """Configuration, last good path, the record, what else was cached."""
    node.tunnels.paths[node.key] = TWO
    node.dialler.session_started(node.key, now=0.0)
    node.tunnels.paths.clear()
    node.want(1.0)
    node.found(1, THREE, now=2.0)
    node.dialler.set_static(node.key, (FOUR, INSIDE), now=3.0)
    assert node.dialler.candidates_of(node.key, now=3.0) == (FOUR, TWO, THREE)
    assert node.tunnels.candidates[node.key] == (FOUR, TWO, THREE)
    node.found(2, ONE, now=4.0)
    assert node.dialler.candidates_of(node.key, now=4.0) == (FOUR, TWO, ONE)
    node.dialler.set_static(node.key, (), now=5.0)
    assert node.dialler.candidates_of(node.key, now=5.0) == (TWO, ONE)


def test_the_record_is_introduced_until_a_session(node: Node) -> None:
    """Every five seconds while we dial; never again once the peer knows it."""
    node.want()
    node.found(1, ONE, now=0.1)
    assert node.introduced() == [ONE]
    node.dialler.handle_deadline(now=INTRODUCE_EVERY, wall=0)
    assert node.introduced() == [ONE]
    node.tunnels.paths[node.key] = ONE
    node.dialler.session_started(node.key, now=6.0)
    assert node.dialler.next_deadline() is None
    node.dialler.introduce(node.key, now=100.0)
    node.want(100.0)
    assert node.introduced() == []


def test_peer_that_does_not_answer_may_have_forgotten_us(node: Node) -> None:
    """The first handshake after a session needs no introduction, the next one does."""
    node.want()
    node.found(1, ONE, now=0.1)
    node.introduced()
    node.dialler.session_started(node.key, now=1.0)
    node.dialler.handshake_begun(node.key, now=100.0)
    assert node.introduced() == []
    node.dialler.handshake_begun(node.key, now=105.0)
    assert node.introduced() == [ONE]
    node.dialler.session_started(node.key, now=106.0)
    node.dialler.handshake_begun(node.key, now=230.0)
    assert node.introduced() == []


def test_a_new_record_is_introduced_again(node: Node) -> None:
    """Nobody knows a record that was just made, nor the same one made again."""
    node.want()
    node.found(1, ONE, now=0.1)
    node.dialler.session_started(node.key, now=1.0)
    node.introduced()
    node.dialler.set_record(b"our record")
    node.dialler.introduce(node.key, now=2.0)
    assert node.introduced() == []
    node.dialler.set_record(b"another")
    node.dialler.introduce(node.key, now=2.0)
    [datagram] = node.outbox.datagrams
    assert datagram.path == Path(ONE)
    assert open_introduction(datagram.data, node.peer) == MemberIntroduction(b"another")


def test_a_dial_ends_with_the_handshakes_of_the_tunnels(node: Node) -> None:
    """After 90 s nothing is sent until something waits again."""
    node.want()
    node.found(1, ONE, now=0.1)
    sent = 0
    while (deadline := node.dialler.next_deadline()) is not None:
        assert deadline.at <= DIAL_FOR
        node.dialler.handle_deadline(now=deadline.at, wall=0)
        sent += len(node.introduced())
    assert sent == DIAL_FOR / INTRODUCE_EVERY


def test_the_path_of_a_session_is_kept_first(node: Node) -> None:
    """Once for each change, and never one with a zone."""
    node.want()
    node.found(1, ONE, TWO, now=0.1)
    node.kept()
    node.tunnels.paths[node.key] = TWO
    node.dialler.session_started(node.key, now=1.0)
    assert node.kept() == [(TWO, ONE)]
    node.dialler.session_started(node.key, now=2.0)
    assert node.kept() == []
    node.tunnels.paths[node.key] = Endpoint("fe80::1", 1, 2)
    node.dialler.session_started(node.key, now=3.0)
    assert node.kept() == []


def test_a_peer_that_moved_is_looked_up_though_its_session_lasts(node: Node) -> None:
    """Until a new handshake shows where it is."""
    node.tunnels.sessions = {node.key}
    node.want()
    assert node.tunnels.drain() == [(node.server, Lookup(node.key))]
    node.found(1, TWO, now=0.1)
    assert node.tunnels.candidates == {node.key: (TWO,)}
    node.dialler.session_started(node.key, now=0.2)
    assert node.dialler.next_deadline() is None


def test_a_path_without_candidates_is_introduced_to(node: Node) -> None:
    """A peer that once spoke to us may have forgotten us."""
    node.tunnels.paths[node.key] = THREE
    node.dialler.introduce(node.key, now=0.0)
    assert node.introduced() == [THREE]


def test_a_key_of_low_order_is_not_introduced_to(node: Node) -> None:
    """Nothing can be sealed to it, and nothing breaks."""
    node.dialler.set_static(bytes(32), (ONE,), now=0.0)
    node.dialler.introduce(bytes(32), now=0.0)
    assert node.outbox.datagrams == []


def test_dials_are_bounded(node: Node, rng: random.Random) -> None:
    """What waits for one peer too many is dropped, so that it asks again."""
    for _ in range(MAX_DIALS):
        node.dialler.want(rng.randbytes(32), (), now=0.0)
    assert node.tunnels.dropped == []
    node.want()
    assert node.tunnels.dropped == [node.key]


def test_who_is_no_member_is_forgotten(node: Node) -> None:
    """Its dial, cache and what it knows of us go; the configuration stays."""
    node.want()
    node.found(1, ONE, now=0.1)
    node.dialler.set_static(node.key, (FOUR,), now=0.2)
    node.dialler.forget(node.key)
    node.book.forget(node.key)
    assert node.dialler.next_deadline() is None
    assert node.dialler.candidates_of(node.key, now=1.0) == (FOUR,)


def test_candidates_are_judged_by_the_latest_filter(node: Node) -> None:
    """When our own addresses change, so does what may be dialled."""
    node.want()
    node.found(1, Endpoint("127.0.0.1", 5), ONE, now=0.1)
    node.dialler.set_filter(CandidateFilter((OVERLAY,), ("127.0.0.1",)))
    assert Endpoint("127.0.0.1", 5) in node.dialler.candidates_of(node.key, now=1.0)


def test_peer_on_our_link_is_dialled_there(node: Node) -> None:
    """Also at a link-local address, which no record may name; until it goes."""
    near = Endpoint("fe80::2", 51820, 3)
    node.want()
    node.dialler.set_near(node.key, (near, INSIDE), now=0.1)
    assert node.tunnels.candidates == {node.key: (near,)}
    assert node.introduced() == [near]
    node.found(1, ONE, now=0.2)
    assert node.tunnels.candidates == {node.key: (near, ONE)}
    assert node.dialler.kinds_of(node.key, now=0.2) == {
        near: CandidateKind.LAN,
        ONE: CandidateKind.LAST,
    }
    node.dialler.set_near(node.key, (), now=0.3)
    assert node.tunnels.candidates == {node.key: (ONE,)}


def test_who_is_forgotten_is_not_dialled_on_our_link(node: Node) -> None:
    """It is no member any more."""
    node.dialler.set_near(node.key, (ONE,), now=0.0)
    node.dialler.forget(node.key)
    assert node.dialler.candidates_of(node.key, now=0.0) == ()


def test_who_is_dialled_for_users_is_called_early(node: Node) -> None:
    """If there is a relay to say it by."""
    node.want()
    assert node.early == []
    node.relays.endpoints = (endpoint_of(1),)
    node.found(1, ONE, now=0.1)
    assert node.early == [node.key]
