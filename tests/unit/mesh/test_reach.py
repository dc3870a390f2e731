"""Where we are and where others are: published, looked up, and believed with care."""

import random
from dataclasses import replace

import pytest

from meshnode.codec.messages import Found, Lookup, Publish, Published
from meshnode.codec.records import Role
from meshnode.mesh.candidates import CandidateKind
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import StoredState
from meshnode.mesh.publishing import PUBLISH_EVERY
from meshnode.mesh.reach import MAX_SEEN, Reach
from meshnode.mesh.trust import ula_prefix
from meshnode.types import Endpoint
from tests.unit.mesh.issuing_parts import NOW, WALL, FakeTunnels, Host, NoRelays, Office

HOME = Endpoint("192.168.1.5", 51820)
NAMED = Endpoint("203.0.113.1", 4000)


def seen(number: int) -> Endpoint:
    """Return an address that others may see us at."""
    return Endpoint("198.51.100.1", 40_000 + number)


class Place:
    """The reach of `alpha`, in a network whose founder is a rendezvous."""

    def __init__(self, rng: random.Random) -> None:
        self.office = Office(rng)
        self.host = self.office.add_member("alpha")
        self.other = self.office.add_member("beta")
        self.tunnels, self.outbox = FakeTunnels(), Outbox()
        self.founder = self.office.founder.key
        charter = self.office.trust.charter
        self.reach = Reach(
            key=self.host.key,
            signing_key=self.host.signing,
            trust=self.office.trust,
            directory=self.office.directory,
            overlay=(charter.cidr, ula_prefix(charter.network_id)),
            tunnels=self.tunnels,
            outbox=self.outbox,
            neighbours=lambda: (self.founder,),
            relays=NoRelays(),
            call_early=lambda key, now: None,
            wants_seen=lambda seen: seen.port != 9,
            entropy=rng.randbytes,
            stored=StoredState(),
        )

    def settle(self, *local: Endpoint, advertised: tuple[Endpoint, ...] = ()) -> None:
        """Have these addresses, and publish them."""
        self.reach.set_own(advertised, local, now=NOW, wall=WALL)
        self.reach.handle_deadline(now=NOW, wall=WALL)

    def confirm(self, endpoint: Endpoint | None, sender: bytes | None = None) -> None:
        """Let a rendezvous say where it sees us."""
        message = Published(1, endpoint)
        sender = sender or self.founder
        self.reach.receive(sender, message, now=NOW, wall=WALL)


@pytest.fixture
def place(rng: random.Random) -> Place:
    """A member that has published nothing."""
    place = Place(rng)
    servers = place.office.directory.keys_with_role(Role.RENDEZVOUS)
    assert tuple(servers) == (place.founder,)
    return place


def test_own_addresses_are_published_best_first(place: Place) -> None:
    """What the user advertised, then the host's own; none inside of the overlay."""
    inside = Endpoint("10.9.0.7", 51820)
    place.settle(HOME, inside, advertised=(NAMED,))
    assert place.reach.own_candidates() == (NAMED, HOME)
    ((key, message),) = place.tunnels.drain()
    assert key == place.founder
    assert isinstance(message, Publish)
    member = place.office.directory.member(place.host.key)
    assert member is not None
    endpoints = place.office.trust.verify_endpoints(message.record, member)
    assert endpoints.candidates == (NAMED, HOME)


def test_where_a_rendezvous_sees_us_is_published_too(place: Place) -> None:
    """After a change only; the last four, the latest first."""
    place.settle(HOME)
    place.tunnels.drain()
    for number in range(MAX_SEEN + 2):
        place.confirm(seen(number))
    latest = [seen(number) for number in reversed(range(2, MAX_SEEN + 2))]
    assert list(place.reach.own_candidates()) == [HOME, *latest]
    place.reach.handle_deadline(now=NOW, wall=WALL)
    assert [type(m) for _, m in place.tunnels.drain()] == [Publish]
    place.confirm(seen(MAX_SEEN + 1))
    assert place.reach.next_deadline() is not None
    place.reach.handle_deadline(now=NOW + 1, wall=WALL)
    assert place.tunnels.drain() == []


@pytest.mark.parametrize(
    "endpoint",
    [
        None,
        Endpoint("127.0.0.1", 5),
        Endpoint("10.9.0.7", 5),
        Endpoint("224.0.0.1", 5),
        Endpoint("198.51.100.1", 0),
        Endpoint("fe80::1", 5, 2),
    ],
)
def test_impossible_address_is_not_published(
    place: Place, endpoint: Endpoint | None
) -> None:
    """It would make others dial themselves, or everybody."""
    place.settle(HOME)
    place.confirm(endpoint)
    assert place.reach.own_candidates() == (HOME,)


def test_who_was_not_asked_is_not_believed(place: Place) -> None:
    """Any member could else make all others dial whom it likes."""
    place.settle(HOME)
    place.confirm(seen(1), place.other.key)
    assert place.reach.own_candidates() == (HOME,)


def test_another_network_makes_what_was_seen_void(place: Place) -> None:
    """The addresses of the host have changed; the same again change nothing."""
    place.settle(HOME)
    place.confirm(seen(1))
    place.settle(HOME)
    assert seen(1) in place.reach.own_candidates()
    elsewhere = Endpoint("192.168.2.5", 51820)
    place.settle(elsewhere)
    assert place.reach.own_candidates() == (elsewhere,)


def test_what_is_of_no_use_to_others_is_not_told(place: Place) -> None:
    """As further ports of a NAT that gives everybody another one."""
    place.settle(HOME)
    place.confirm(seen(1))
    place.confirm(replace(seen(2), port=9))
    assert place.reach.own_candidates() == (HOME, seen(1))


def test_wanted_member_is_found_and_dialled(place: Place) -> None:
    """By the rendezvous's answer, which its own key has signed."""
    place.reach.want(place.other.key, now=NOW)
    assert (place.founder, Lookup(place.other.key)) in place.tunnels.drain()
    record = place.other.endpoints(place.office.network_id, 1, NAMED)
    found = Found(place.other.key, record)
    place.reach.receive(place.founder, found, now=NOW, wall=WALL)
    assert place.tunnels.candidates[place.other.key] == (NAMED,)


@pytest.mark.parametrize("record", [b"x", b""])
def test_rubbish_is_nobodys_endpoint(place: Place, record: bytes) -> None:
    """Nor is another's signature."""
    place.reach.want(place.other.key, now=NOW)
    foreign = Host(place.office.rng).endpoints(place.office.network_id, 1, NAMED)
    for data in (record, foreign):
        found = Found(place.other.key, data)
        place.reach.receive(place.founder, found, now=NOW, wall=WALL)
        place.reach.receive(place.other.key, Publish(data), now=NOW, wall=WALL)
    assert place.other.key not in place.tunnels.candidates
    assert not any(isinstance(m, Published) for _, m in place.tunnels.drain())


def test_we_keep_what_others_publish(place: Place) -> None:
    """And hand it out, until they are members no more."""
    record = place.other.endpoints(place.office.network_id, 1, NAMED)
    place.tunnels.paths[place.other.key] = NAMED
    place.reach.receive(place.other.key, Publish(record), now=NOW, wall=WALL)
    assert place.tunnels.drain() == [(place.other.key, Published(1, NAMED))]
    lookup = Lookup(place.other.key)
    place.reach.receive(place.founder, lookup, now=NOW, wall=WALL)
    assert place.tunnels.drain() == [(place.founder, Found(place.other.key, record))]
    place.reach.forget(place.other.key)
    place.reach.receive(place.founder, lookup, now=NOW, wall=WALL)
    assert place.tunnels.drain() == [(place.founder, Found(place.other.key, b""))]


def test_endpoints_are_published_again(place: Place) -> None:
    """About once a minute, since they are forgotten after three."""
    place.settle(HOME)
    place.confirm(None)
    place.tunnels.drain()
    deadline = place.reach.next_deadline()
    assert deadline is not None
    assert 0.7 * PUBLISH_EVERY < deadline.at - NOW < 1.3 * PUBLISH_EVERY
    place.reach.handle_deadline(now=deadline.at, wall=WALL + 60)
    assert [type(m) for _, m in place.tunnels.drain()] == [Publish]


def test_mapped_port_is_published_and_withdrawn(place: Place) -> None:
    """Before our own addresses, which few can reach; each with how we know of it."""
    mapped = Endpoint("203.0.113.9", 51820)
    place.settle(HOME, advertised=(NAMED,))
    place.confirm(seen(1))
    place.reach.set_mapped((mapped, Endpoint("10.9.0.7", 5)), now=NOW, wall=WALL)
    assert place.reach.own_kinds() == {
        NAMED: CandidateKind.CONFIGURED,
        mapped: CandidateKind.MAPPED,
        HOME: CandidateKind.LOCAL,
        seen(1): CandidateKind.SEEN,
    }
    place.tunnels.drain()
    place.reach.handle_deadline(now=NOW, wall=WALL)
    assert [type(m) for _, m in place.tunnels.drain()] == [Publish]
    place.reach.set_mapped((), now=NOW, wall=WALL)
    assert place.reach.own_candidates() == (NAMED, HOME, seen(1))


def test_pinhole_is_told_of_once(place: Place) -> None:
    """A router lets IPv6 through to the address that we have."""
    own = Endpoint("2001:db8::5", 51820)
    place.settle(HOME, own)
    place.reach.set_mapped((own,), now=NOW, wall=WALL)
    assert place.reach.own_candidates() == (own, HOME)
