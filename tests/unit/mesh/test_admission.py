"""Admission: who becomes a temporary peer, for how long, and how many at once."""

import random

import pytest

from meshnode.crypto.keys import PrivateKey
from meshnode.errors import BadPacket, DropReason
from meshnode.mesh.admission import ADMITTED_FOR, MAX_ADMITTED, MAX_STRANGERS
from meshnode.mesh.introduction import JoinerIntroduction
from tests.unit.mesh.issuing_parts import DAY, NOW, WALL, Host, Office


@pytest.fixture
def office(rng: random.Random) -> Office:
    """An issuer."""
    return Office(rng)


def refusal(office: Office, introduction: JoinerIntroduction) -> DropReason:
    """Return why the joiner is not admitted; nothing may have changed."""
    before = len(office.admissions), dict(office.tunnels.peers)
    with pytest.raises(BadPacket) as caught:
        office.admissions.admit(introduction, now=NOW, wall=WALL)
    assert (len(office.admissions), office.tunnels.peers) == before
    return caught.value.reason


def test_a_joiner_is_a_peer_without_addresses_for_a_minute(office: Office) -> None:
    """It is added, nothing looks for it, and after 60 s it is gone."""
    invite, host = office.invite(), Host(office.rng)
    office.admissions.admit(office.introduction(invite, host), now=NOW, wall=WALL)
    peer = office.tunnels.peers[host.key]
    assert peer.prefixes == ()
    assert not peer.is_sought
    assert office.admissions.invite_of(host.key) == invite.public_key().raw
    deadline = office.admissions.next_deadline()
    assert deadline is not None
    assert deadline.at == NOW + ADMITTED_FOR
    office.admissions.handle_deadline(now=deadline.at - 0.1, wall=WALL)
    assert host.key in office.tunnels.peers
    office.admissions.handle_deadline(now=deadline.at, wall=WALL)
    assert host.key not in office.tunnels.peers
    assert office.admissions.invite_of(host.key) is None
    assert office.admissions.next_deadline() is None


def test_who_became_a_member_stays_a_peer(office: Office) -> None:
    """The end of the minute does not touch a member's peer."""
    host = office.add_member("alpha")
    office.admissions.handle_deadline(now=NOW + ADMITTED_FOR, wall=WALL)
    assert host.key in office.tunnels.peers


def test_a_member_with_an_invite_is_not_made_anew(office: Office) -> None:
    """Its peer, with its addresses, is left alone, and its invite is known."""
    invite = office.invite()
    office.tunnels.peers.clear()
    introduction = office.introduction(invite, office.founder)
    office.admissions.admit(introduction, now=NOW, wall=WALL)
    assert office.tunnels.peers == {}
    assert office.admissions.invite_of(office.founder.key) is not None


def test_a_joiner_that_asks_again_gets_another_minute(office: Office) -> None:
    """The later introduction counts."""
    invite, host = office.invite(), Host(office.rng)
    introduction = office.introduction(invite, host)
    office.admissions.admit(introduction, now=NOW, wall=WALL)
    office.admissions.admit(introduction, now=NOW + 50, wall=WALL)
    office.admissions.handle_deadline(now=NOW + ADMITTED_FOR, wall=WALL)
    assert host.key in office.tunnels.peers
    assert len(office.admissions) == 1


def test_an_old_claim_and_a_wrong_proof_are_refused(office: Office) -> None:
    """Each with its reason; clocks may differ by five minutes."""
    invite, host = office.invite(), Host(office.rng)
    late = office.introduction(invite, host, until=WALL - 301)
    assert refusal(office, late) is DropReason.OLD_TIMESTAMP
    good = office.introduction(invite, host, until=WALL - 300)
    forged = JoinerIntroduction(
        good.invite_key, Host(office.rng).key, good.until, good.proof
    )
    assert refusal(office, forged) is DropReason.BAD_TAG
    office.admissions.admit(good, now=NOW, wall=WALL)


@pytest.mark.parametrize("state", ["used", "expired", "revoked"])
def test_holders_of_dead_invites_are_admitted(office: Office, state: str) -> None:
    """Else they could not be told what is wrong."""
    invite, host = office.invite(expires=WALL + 1), Host(office.rng)
    key = invite.public_key().raw
    if state == "used":
        office.invites.count_use(key, now=NOW)
    elif state == "revoked":
        office.invites.revoke(key, now=NOW, wall=WALL)
    introduction = office.introduction(invite, host, until=WALL + 2 * DAY)
    wall = WALL + DAY if state == "expired" else WALL
    office.admissions.admit(introduction, now=NOW, wall=wall)
    assert office.open_invite(invite).state(wall) == state
    assert host.key in office.tunnels.peers


def test_strangers_have_few_places_and_take_none_of_the_invited(
    office: Office,
) -> None:
    """A flood of made-up invites fills 16 places; who was invited still comes in."""
    strangers = [
        office.introduction(PrivateKey(office.rng.randbytes(32)), Host(office.rng))
        for _ in range(MAX_STRANGERS + 5)
    ]
    for stranger in strangers[:MAX_STRANGERS]:
        office.admissions.admit(stranger, now=NOW, wall=WALL)
    for stranger in strangers[MAX_STRANGERS:]:
        assert refusal(office, stranger) is DropReason.QUEUE_FULL
    invite = office.invite()
    host = Host(office.rng)
    office.admissions.admit(office.introduction(invite, host), now=NOW, wall=WALL)
    assert host.key in office.tunnels.peers


def test_only_so_many_are_admitted_at_once(office: Office) -> None:
    """One more than 256 is refused until places are free; all end at their time."""
    invite = office.invite(uses=1000)
    for _ in range(MAX_ADMITTED):
        introduction = office.introduction(invite, Host(office.rng))
        office.admissions.admit(introduction, now=NOW, wall=WALL)
    late = office.introduction(invite, Host(office.rng))
    assert refusal(office, late) is DropReason.QUEUE_FULL
    office.admissions.handle_deadline(now=NOW + ADMITTED_FOR, wall=WALL)
    assert office.tunnels.peers == {}
    office.admissions.admit(late, now=NOW + ADMITTED_FOR, wall=WALL)
