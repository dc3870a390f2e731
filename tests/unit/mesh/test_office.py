"""An issuer's office: whom it lets in, what it answers, and when it parts with them."""

import random

import pytest

from meshnode.codec.messages import Hello, JoinReply, Refused, Renewed, RenewRequest
from meshnode.errors import BadPacket, ConfigError, DropReason
from meshnode.mesh.admission import ADMITTED_FOR
from meshnode.mesh.office import Office
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import StoredState, TunnelPeer
from meshnode.mesh.settings import IssuerIdentity
from tests.unit.mesh.issuing_parts import NOW, WALL, FakeTunnels, Host
from tests.unit.mesh.issuing_parts import Office as Parts


class Desk:
    """An `Office` of the founder, made of what it kept."""

    def __init__(self, rng: random.Random) -> None:
        self.parts = Parts(rng)
        self.contacts: set[bytes] = set()
        self.office = self.open()

    def open(self) -> Office:
        """Open the office."""
        parts = self.parts
        parts.store()
        self.tunnels, self.outbox = FakeTunnels(), Outbox()
        return Office(
            IssuerIdentity(parts.issuing_key, parts.founding.issuer),
            trust=parts.trust,
            directory=parts.directory,
            is_contact=self.contacts.__contains__,
            private_key=parts.founder.private,
            tunnels=self.tunnels,
            outbox=self.outbox,
            entropy=parts.rng.randbytes,
            stored=StoredState(
                invites=tuple(parts.kept_invites.items()),
                issued=tuple(parts.kept_issued.items()),
            ),
        )


@pytest.fixture
def desk(rng: random.Random) -> Desk:
    """An office."""
    return Desk(rng)


def test_invite_that_was_kept_lets_in(desk: Desk) -> None:
    """For a minute, and to one certificate."""
    invite = desk.parts.invite()
    office, host = desk.open(), Host(desk.parts.rng)
    introduction = desk.parts.introduction(invite, host)
    assert not office.is_admitted(host.key)
    office.admit(introduction, now=NOW, wall=WALL)
    assert office.is_admitted(host.key)
    request = desk.parts.request(invite, host, "alpha")
    answer = office.answer(host.key, request, now=NOW, wall=WALL)
    assert isinstance(answer, JoinReply)
    deadline = office.next_deadline()
    assert deadline is not None
    assert deadline.at == NOW + ADMITTED_FOR
    office.handle_deadline(now=deadline.at, wall=WALL)
    assert desk.tunnels.peers == {}
    assert not office.is_admitted(host.key)


def test_member_is_renewed_and_a_stranger_is_not(desk: Desk) -> None:
    """The same verb gives the one a certificate, the other a reason."""
    alpha = desk.parts.add_member("alpha")
    office = desk.open()
    request = RenewRequest(bytes(8))
    answer = office.answer(alpha.key, request, now=NOW, wall=WALL)
    assert isinstance(answer, Renewed)
    answer = office.answer(bytes(32), request, now=NOW, wall=WALL)
    assert isinstance(answer, Refused)
    assert answer.code == "unknown"


def test_other_requests_are_refused(desk: Desk) -> None:
    """An issuer is asked for certificates."""
    hello = Hello(bytes(8), 0, 0, 0, wants_answer=True)
    answer = desk.office.answer(bytes(32), hello, now=NOW, wall=WALL)
    assert isinstance(answer, Refused)
    assert answer.code == "bad-request"


def test_wrong_proof_lets_nobody_in(desk: Desk) -> None:
    """And changes nothing."""
    host, other = Host(desk.parts.rng), Host(desk.parts.rng)
    good = desk.parts.introduction(desk.parts.invite(), host)
    stolen = type(good)(good.invite_key, other.key, good.until, good.proof)
    with pytest.raises(BadPacket) as raised:
        desk.office.admit(stolen, now=NOW, wall=WALL)
    assert raised.value.reason is DropReason.BAD_TAG
    assert desk.tunnels.peers == {}


def test_contact_stays_a_peer_when_its_minute_is_over(desk: Desk) -> None:
    """It is not ours alone to part with."""
    host = Host(desk.parts.rng)
    desk.contacts.add(host.key)
    introduction = desk.parts.introduction(desk.parts.invite(), host)
    peer = TunnelPeer(host.key)
    desk.tunnels.set_peer(peer, now=NOW)
    desk.office.admit(introduction, now=NOW, wall=WALL)
    desk.office.handle_deadline(now=NOW + ADMITTED_FOR, wall=WALL)
    assert desk.tunnels.peers == {host.key: peer}


def test_joiner_that_lost_its_peer_gets_it_again(desk: Desk) -> None:
    """It was a member when it was admitted, and is none any more."""
    alpha = desk.parts.add_member("alpha")
    invite = desk.parts.invite()
    desk.office.admit(desk.parts.introduction(invite, alpha), now=NOW, wall=WALL)
    assert desk.tunnels.peers == {}
    desk.parts.revoke(desk.parts.issuing.revoke(alpha.key, "lost", wall=WALL))
    desk.office.admit(desk.parts.introduction(invite, alpha), now=NOW, wall=WALL)
    assert alpha.key in desk.tunnels.peers


def test_office_knows_what_it_may_grant(desk: Desk) -> None:
    """As its authority has signed."""
    assert desk.office.issuer.issuing_key == desk.parts.issuing_key.public
    desk.parts.kept_issued[bytes(16)] = b"rubbish"
    with pytest.raises(ConfigError, match="damaged"):
        desk.open()
