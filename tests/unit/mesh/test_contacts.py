"""Whom a node talks to first: greeted until known, and nobody's peer if revoked."""

import itertools
import random

import pytest

from meshnode.mesh.contacts import MAX_CONTACTS, Contacts
from meshnode.mesh.neighbours import FIRST_RETRY, LAST_RETRY
from meshnode.mesh.ports import TunnelPeer
from meshnode.types import Endpoint
from tests.unit.mesh.issuing_parts import FakeTunnels

PLACE = Endpoint("192.0.2.1", 51820)
OWN, ONE, TWO = (bytes([number]) * 32 for number in range(3))


class Table:
    """Contacts, and what they ask of others."""

    def __init__(self, rng: random.Random) -> None:
        self.tunnels = FakeTunnels()
        self.members: set[bytes] = set()
        self.revoked: set[bytes] = set()
        self.greeted: list[tuple[bytes, float]] = []
        self.places: dict[bytes, tuple[Endpoint, ...]] = {}
        self.contacts = Contacts(
            OWN,
            tunnels=self.tunnels,
            set_static=lambda key, endpoints, now: self.places.update({key: endpoints}),
            greet=lambda key, now: self.greeted.append((key, now)),
            is_member=self.members.__contains__,
            is_revoked=self.revoked.__contains__,
            entropy=rng.randbytes,
        )

    def run(self, until: float) -> None:
        """Let time pass."""
        while deadline := self.contacts.next_deadline():
            if deadline.at > until:
                return
            self.contacts.handle_deadline(now=deadline.at)


@pytest.fixture
def table(rng: random.Random) -> Table:
    """No contacts."""
    return Table(rng)


def test_unknown_contact_is_a_peer_and_greeted(table: Table) -> None:
    """Without addresses; a member is none of our business, nor are we."""
    table.members.add(TWO)
    table.contacts.set({ONE: (PLACE,), TWO: (PLACE,), OWN: (PLACE,)}, now=0.0)
    assert table.tunnels.peers == {ONE: TunnelPeer(ONE)}
    assert table.greeted == [(ONE, 0.0)]
    assert table.places == {ONE: (PLACE,), TWO: (PLACE,)}
    assert table.contacts.keys == (ONE, TWO)
    assert [table.contacts.is_unknown(key) for key in (ONE, TWO, OWN)] == [
        True,
        False,
        False,
    ]


def test_greetings_grow_rare(table: Table) -> None:
    """After 5 s, and with doubling distance up to 120 s, give or take a quarter."""
    table.contacts.set({ONE: ()}, now=0.0)
    table.run(1000.0)
    times = [at for _, at in table.greeted]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    wanted = FIRST_RETRY
    for gap in gaps:
        assert 0.75 * wanted <= gap <= 1.25 * wanted
        wanted = min(2 * wanted, LAST_RETRY)
    assert len(gaps) > 8


def test_member_is_greeted_no_more(table: Table) -> None:
    """Its peer stays, it is the mesh's now."""
    table.contacts.set({ONE: ()}, now=0.0)
    table.members.add(ONE)
    table.contacts.note_member(ONE)
    assert table.contacts.next_deadline() is None
    table.contacts.set({}, now=1.0)
    assert ONE in table.tunnels.peers
    assert table.places == {ONE: ()}


def test_former_member_is_a_contact_again(table: Table) -> None:
    """It may come back; who is no contact does not."""
    table.members |= {ONE, TWO}
    table.contacts.set({ONE: ()}, now=0.0)
    table.members.clear()
    table.contacts.note_gone(ONE, now=5.0)
    table.contacts.note_gone(TWO, now=5.0)
    assert set(table.tunnels.peers) == {ONE}
    table.run(20.0)
    assert {key for key, _ in table.greeted} == {ONE}


def test_revoked_contact_is_cut_off(table: Table) -> None:
    """When its time comes to be greeted; and it is not taken up."""
    table.contacts.set({ONE: ()}, now=0.0)
    table.revoked |= {ONE, TWO}
    table.contacts.set({ONE: (), TWO: ()}, now=1.0)
    table.greeted.clear()
    table.run(100.0)
    assert table.greeted == []
    assert table.tunnels.peers == {}
    assert table.contacts.next_deadline() is None


def test_removed_contact_is_forgotten(table: Table) -> None:
    """Its peer, its places and its greetings."""
    table.contacts.set({ONE: (PLACE,), TWO: ()}, now=0.0)
    table.contacts.set({TWO: ()}, now=1.0)
    assert set(table.tunnels.peers) == {TWO}
    assert table.places[ONE] == ()
    table.greeted.clear()
    table.run(100.0)
    assert {key for key, _ in table.greeted} == {TWO}


def test_new_endpoints_are_tried_at_once(table: Table) -> None:
    """The user has corrected them, and waits."""
    table.contacts.set({ONE: ()}, now=0.0)
    table.contacts.set({ONE: (PLACE,)}, now=50.0)
    assert table.greeted[-1] == (ONE, 50.0)


def test_there_are_at_most_sixteen(table: Table, rng: random.Random) -> None:
    """The first ones."""
    keys = [rng.randbytes(32) for _ in range(MAX_CONTACTS + 3)]
    table.contacts.set(dict.fromkeys(keys, ()), now=0.0)
    assert list(table.contacts.keys) == keys[:MAX_CONTACTS]
    assert len(table.tunnels.peers) == MAX_CONTACTS
