"""The joiner believes what its network's authority signed, and nothing else."""

import random
from dataclasses import replace

import pytest

from meshnode.codec.messages import (
    Chunk,
    Fetch,
    Hello,
    JoinReply,
    JoinRequest,
    Message,
    Ping,
    Push,
    Refused,
)
from meshnode.codec.records import Kind
from meshnode.crypto.keys import PrivateKey
from meshnode.mesh.certifier import Subject
from meshnode.mesh.documents import next_charter
from meshnode.mesh.join_request import create_join_request
from meshnode.mesh.joining import RETRY_AFTER, Joining, JoinRefusedError
from meshnode.mesh.trust import Trust
from tests.unit.mesh.node_parts import NOTHING, YEAR, Computer, World


class Joiner:
    """A host that joins the founder's network, message by message."""

    def __init__(self, rng: random.Random) -> None:
        self.world = World(rng)
        self.host = self.world.host("alpha")
        self.invite = self.world.invite()
        self.world.admit(self.host, self.invite)
        self.joining = self.begin(self.world.founder.key)

    def begin(self, issuer_key: bytes) -> Joining:
        """Begin to join."""
        request = create_join_request(
            self.host.signing,
            self.world.network_id,
            wireguard_key=self.host.key,
            invite_key=self.invite.public_key().raw,
            name="alpha",
        )
        return Joining(
            Trust(self.world.network_id),
            request,
            key=self.host.key,
            issuer_key=issuer_key,
        )

    def receive(self, message: Message) -> None:
        """Take an answer."""
        self.joining.receive(message, wall=int(self.world.wall))

    def ask(self, now: float = 0.0) -> list[Message]:
        """Let the founder answer what is asked; return that."""
        asked = self.joining.messages_to_send(now=now)
        for message in asked:
            for answer in self.world.say(self.host, self.world.founder, message):
                self.receive(answer)
        return asked


@pytest.fixture
def joiner(rng: random.Random) -> Joiner:
    """A host that joins."""
    return Joiner(rng)


def test_steps_follow_each_other_at_once(joiner: Joiner) -> None:
    """The chain's length, the charters, the certificate: each when one is there."""
    kinds = [type(joiner.ask()[0]) for _ in range(3)]
    assert kinds == [Hello, Fetch, JoinRequest]
    result = joiner.joining.result
    assert result is not None
    assert result.charters == (joiner.world.founding.charter,)
    assert result.issuer_record == joiner.world.founder.node.own.data
    assert joiner.joining.messages_to_send(now=100.0) == []


def test_question_is_asked_again_after_a_second(joiner: Joiner) -> None:
    """Each of them may be lost, and not more often."""
    first = joiner.joining.messages_to_send(now=5.0)
    assert joiner.joining.next_deadline() == 5.0 + RETRY_AFTER
    assert joiner.joining.messages_to_send(now=5.9) == []
    assert joiner.joining.messages_to_send(now=6.0) == first


def test_longer_chain_is_fetched_in_order(joiner: Joiner) -> None:
    """A network that changed its charter lets joiners in, too."""
    world = joiner.world
    charter = next_charter(
        world.founder.node.trust.charter,
        world.authority,
        name="house",
        authorities=(world.authority.public,),
        created=int(world.wall),
    )
    world.do(
        world.founder,
        lambda node: node.publish_charter(charter, now=world.now, wall=world.wall),
    )
    for _ in range(4):
        joiner.ask()
    result = joiner.joining.result
    assert result is not None
    assert result.charters == (world.founding.charter, charter)


def test_refusal_ends_it(joiner: Joiner) -> None:
    """With the issuer's own words."""
    with pytest.raises(JoinRefusedError, match="ask for another") as raised:
        joiner.receive(Refused("used", "the invite is used up; ask for another"))
    assert raised.value.code == "used"


def charters(joiner: Joiner) -> None:
    """Bring it to where it asks for the certificate."""
    joiner.ask()
    joiner.ask()


def test_reply_before_the_charters_is_ignored(joiner: Joiner) -> None:
    """Nothing can be verified yet; it is asked for in its turn."""
    joiner.receive(JoinReply(b"x", b""))
    joiner.receive(Push((b"x",)))
    charters(joiner)
    joiner.ask()
    assert joiner.joining.result is not None


@pytest.mark.parametrize("length", [0, 10_000])
def test_chain_has_a_sane_length(joiner: Joiner, length: int) -> None:
    """Else an issuer could keep us busy for ever."""
    with pytest.raises(JoinRefusedError, match="sane length"):
        joiner.receive(Hello(bytes(8), 0, length, 0, wants_answer=False))


def chunk(data: bytes, version: int = 1, offset: int = 0) -> Chunk:
    """Return a part of a charter."""
    return Chunk(Kind.CHARTER, version, offset, offset + len(data), data)


def test_charter_of_another_network_is_refused(joiner: Joiner) -> None:
    """And rubbish, and one that comes twice under two numbers."""
    other = World(random.Random(1)).founding.charter
    own = joiner.world.founding.charter
    joiner.receive(Hello(bytes(8), 0, 2, 0, wants_answer=False))
    for data in (other, b"rubbish"):
        with pytest.raises(JoinRefusedError, match="not of this network"):
            joiner.receive(chunk(data))
    joiner.receive(chunk(own))
    with pytest.raises(JoinRefusedError, match="not of this network"):
        joiner.receive(chunk(own, version=2))


def test_parts_that_were_not_asked_for_are_ignored(joiner: Joiner) -> None:
    """Other versions, halves, and charters beyond the chain."""
    own = joiner.world.founding.charter
    joiner.receive(chunk(own))
    joiner.receive(Hello(bytes(8), 0, 1, 0, wants_answer=False))
    joiner.receive(chunk(own, version=2))
    joiner.receive(Chunk(Kind.CHARTER, 1, 0, 2 * len(own), own))
    joiner.receive(Ping(bytes(8)))
    assert [type(one) for one in joiner.joining.messages_to_send(now=0.0)] == [Fetch]
    joiner.receive(chunk(own))
    joiner.receive(chunk(own, version=2))
    asked = joiner.joining.messages_to_send(now=0.0)
    assert [type(one) for one in asked] == [JoinRequest]


def issue(joiner: Joiner, host: Computer, *, wall: float | None = None) -> JoinReply:
    """Return a certificate of the founder for the keys of a host."""
    office = joiner.world.founder.node.office
    assert office is not None
    return office.issuing.issue(
        Subject(host.key, host.signing.public),
        replace(NOTHING, name=host.name),
        now=joiner.world.now,
        wall=int(joiner.world.wall if wall is None else wall),
    )


def test_certificate_for_another_host_is_refused(joiner: Joiner) -> None:
    """Else the issuer could give us somebody's name."""
    charters(joiner)
    reply = issue(joiner, joiner.world.host("beta"))
    with pytest.raises(JoinRefusedError, match="another host"):
        joiner.receive(reply)


def test_certificate_that_nobody_allowed_is_refused(joiner: Joiner) -> None:
    """Rubbish, another network's, and one without its issuer."""
    charters(joiner)
    foreign = Joiner(random.Random(1))
    for reply in (
        JoinReply(b"x", b"x"),
        issue(foreign, joiner.host),
        JoinReply(issue(joiner, joiner.host).certificate, b""),
    ):
        with pytest.raises(JoinRefusedError, match="not of this network"):
            joiner.receive(reply)


def test_certificate_out_of_its_time_is_refused(joiner: Joiner) -> None:
    """By our own clock."""
    charters(joiner)
    reply = issue(joiner, joiner.host)
    with pytest.raises(JoinRefusedError, match="not of this network"):
        joiner.joining.receive(reply, wall=int(joiner.world.wall) + 2 * YEAR)


def test_record_of_another_member_is_not_the_issuers(joiner: Joiner) -> None:
    """We need that of whom the invite names."""
    joiner.joining = joiner.begin(PrivateKey(bytes([7]) * 32).public_key().raw)
    charters(joiner)
    joiner.ask()
    assert joiner.joining.result is None
    with pytest.raises(JoinRefusedError, match="not of this network"):
        joiner.receive(Push((b"rubbish",)))
