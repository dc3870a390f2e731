"""Serving others: records of their own only, answers, subscriptions, bounds."""

import pytest

from meshnode.codec.messages import Found, Lookup, Publish, Published
from meshnode.codec.records import Endpoints
from meshnode.mesh import rendezvous as module
from meshnode.mesh.endpoint_book import RECORD_TTL, EndpointBook
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.mesh.rendezvous import SUBSCRIBED_FOR, Rendezvous
from meshnode.types import Endpoint
from tests.unit.mesh.issuing_parts import FakeTunnels

A, B, C = (bytes([n]) * 32 for n in (1, 2, 3))


def record(key: bytes, version: int) -> bytes:
    """Return what `verify` takes for a record of *key*."""
    return key + bytes([version])


def verify(key: bytes, data: bytes) -> Endpoints:
    """Take only records of that key."""
    if data[:32] != key:
        raise RecordRefused(Refusal.WRONG_MEMBER)
    return Endpoints(key, data[32], ())


class Server:
    """A rendezvous and its tunnels."""

    def __init__(self) -> None:
        self.tunnels = FakeTunnels()
        self.rendezvous = Rendezvous(EndpointBook(verify), self.tunnels)

    def publish(self, peer: bytes, data: bytes, now: float = 0.0) -> None:
        """Let *peer* publish."""
        self.rendezvous.receive_publish(peer, Publish(data), now=now)

    def lookup(self, peer: bytes, key: bytes, now: float = 0.0) -> bytes:
        """Let *peer* ask; return the record it is told."""
        self.rendezvous.receive_lookup(peer, Lookup(key), now=now)
        [(to, found)] = self.tunnels.drain()
        assert to == peer
        assert isinstance(found, Found)
        assert found.key == key
        return found.record


@pytest.fixture
def server() -> Server:
    """A fresh one."""
    return Server()


def test_what_is_published_is_confirmed_and_found(server: Server) -> None:
    """The publisher learns version and its own address; others the record."""
    server.tunnels.paths[A] = Endpoint("192.0.2.1", 7)
    server.publish(A, record(A, 5))
    assert server.tunnels.drain() == [(A, Published(5, Endpoint("192.0.2.1", 7)))]
    assert server.lookup(B, A) == record(A, 5)
    assert server.lookup(B, C) == b""


def test_a_zone_is_not_told(server: Server) -> None:
    """An address on a link of ours means nothing to the publisher."""
    server.tunnels.paths[A] = Endpoint("fe80::1", 7, 3)
    server.publish(A, record(A, 5))
    assert server.tunnels.drain() == [(A, Published(5, None))]


def test_nobody_publishes_for_another(server: Server) -> None:
    """Neither a record of somebody else nor a forged one is kept or answered."""
    server.publish(B, record(A, 5))
    assert server.tunnels.drain() == []
    assert server.lookup(C, A) == b""


def test_an_old_version_is_answered_with_the_kept_one(server: Server) -> None:
    """The publisher is alive, but the newer record stays."""
    server.publish(A, record(A, 5))
    server.publish(A, record(A, 4))
    versions = [message for _, message in server.tunnels.drain()]
    assert versions == [Published(5, None), Published(5, None)]
    assert server.lookup(B, A) == record(A, 5)


def test_a_record_is_forgotten_unless_repeated(server: Server) -> None:
    """After 180 s nobody is told of it."""
    server.publish(A, record(A, 5))
    server.tunnels.drain()
    server.rendezvous.handle_deadline(now=RECORD_TTL, wall=0)
    assert server.lookup(B, A, RECORD_TTL) == b""


def test_changes_are_told_for_300_s(server: Server) -> None:
    """Who asked hears of news while it has a session, of repetitions never."""
    server.lookup(B, A)
    server.lookup(C, A)
    server.tunnels.sessions = {B}
    server.publish(A, record(A, 1), 1.0)
    assert (B, Found(A, record(A, 1))) in server.tunnels.drain()
    server.publish(A, record(A, 1), 2.0)
    assert [to for to, _ in server.tunnels.drain()] == [A]
    server.publish(A, record(A, 2), SUBSCRIBED_FOR - 1)
    assert [to for to, _ in server.tunnels.drain()] == [A, B]
    deadline = server.rendezvous.next_deadline()
    assert deadline is not None
    server.rendezvous.handle_deadline(now=SUBSCRIBED_FOR, wall=0)
    server.publish(A, record(A, 3), SUBSCRIBED_FOR)
    assert [to for to, _ in server.tunnels.drain()] == [A]


def test_nobody_is_told_of_itself(server: Server) -> None:
    """Who looks itself up is answered, but its own news is no news to it."""
    server.tunnels.sessions = {A}
    server.lookup(A, A)
    server.publish(A, record(A, 1), 1.0)
    assert server.tunnels.drain() == [(A, Published(1, None))]


def test_asking_again_subscribes_anew_and_counts_once(server: Server) -> None:
    """The 300 s begin with the last lookup."""
    server.tunnels.sessions = {B}
    server.lookup(B, A)
    server.lookup(B, A, 200.0)
    server.rendezvous.handle_deadline(now=SUBSCRIBED_FOR, wall=0)
    server.publish(A, record(A, 1), SUBSCRIBED_FOR)
    told = [to for to, message in server.tunnels.drain() if isinstance(message, Found)]
    assert told == [B]


def test_subscriptions_are_bounded_and_answers_are_not(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bounds of a key and a peer one is answered, but not subscribed."""
    monkeypatch.setattr(module, "MAX_SUBSCRIBERS", 2)
    monkeypatch.setattr(module, "MAX_SUBSCRIPTIONS", 3)
    server.publish(A, record(A, 1))
    server.tunnels.drain()
    peers = [bytes([n]) * 32 for n in range(10, 14)]
    for peer in peers:
        assert server.lookup(peer, A) == record(A, 1)
    server.tunnels.sessions = set(peers)
    server.publish(A, record(A, 2), 1.0)
    assert [to for to, _ in server.tunnels.drain()] == [A, *peers[:2]]
    greedy = bytes([99]) * 32
    server.tunnels.sessions = {greedy}
    keys = [bytes([n]) * 32 for n in range(20, 25)]
    for key in keys:
        server.lookup(greedy, key, 2.0)
    for key in keys:
        server.publish(key, record(key, 1), 3.0)
    told = [to for to, message in server.tunnels.drain() if isinstance(message, Found)]
    assert told == [greedy] * 3
    server.rendezvous.handle_deadline(now=2.0 + SUBSCRIBED_FOR, wall=0)
    server.lookup(greedy, keys[4], 310.0)
    server.publish(keys[4], record(keys[4], 2), 311.0)
    assert (greedy, Found(keys[4], record(keys[4], 2))) in server.tunnels.drain()


def test_our_own_record_is_served_and_told(server: Server) -> None:
    """As if we had published to ourselves; nothing is sent to us."""
    server.tunnels.sessions = {B}
    server.lookup(B, A)
    server.rendezvous.keep_own(A, record(A, 1), now=1.0)
    assert server.tunnels.drain() == [(B, Found(A, record(A, 1)))]
    server.rendezvous.keep_own(A, record(A, 1), now=2.0)
    assert server.tunnels.drain() == []
    assert server.lookup(C, A, 3.0) == record(A, 1)


def test_who_is_no_member_is_forgotten(server: Server) -> None:
    """Its record, its subscriptions and those to it are gone."""
    server.tunnels.sessions = {A, B}
    server.publish(A, record(A, 1))
    server.tunnels.drain()
    server.lookup(B, A)
    server.lookup(A, B)
    server.rendezvous.forget(A)
    assert server.lookup(C, A) == b""
    server.publish(B, record(B, 1), 1.0)
    assert [to for to, _ in server.tunnels.drain()] == [B]
