"""Renewal: when it asks whom, what it takes, and what it tells the user."""

import itertools
import random

import pytest

from meshnode.codec.messages import JoinReply, Refused, Renewed, RenewRequest
from meshnode.codec.record_bytes import decode_certificate, parse_envelope
from meshnode.codec.records import Certificate, Role
from meshnode.mesh.events import CertificateRenewed, HealthChanged
from meshnode.mesh.issuing import Issuing
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ranking import rank_by_hash
from meshnode.mesh.renewal import LAST_RETRY, LOOK_EVERY, Renewal
from tests.unit.mesh.issuing_parts import (
    DAY,
    NOW,
    WALL,
    YEAR,
    FakeTunnels,
    Host,
    Office,
)

DUE = WALL + 2 * YEAR // 3


class Member:
    """A member named alpha, whose boottime and wall clock go together."""

    def __init__(self, rng: random.Random, issuers: int = 1, own: bool = False) -> None:
        self.office = Office(rng)
        self.host = self.office.add_member("alpha")
        member = self.office.directory.member(self.host.key)
        assert member is not None
        self.certificate: Certificate = member.certificate
        self.issuers = [rng.randbytes(32) for _ in range(issuers)]
        self.tunnels, self.outbox = FakeTunnels(), Outbox()
        issuing: Issuing | None = self.office.issuing if own else None
        self.renewal = Renewal(
            key=self.host.key,
            trust=self.office.trust,
            tunnels=self.tunnels,
            issuer_keys=lambda: self.issuers,
            outbox=self.outbox,
            entropy=rng.randbytes,
            issuing=issuing,
        )
        self.now = 0.0
        self.renewal.set_certificate(self.certificate, now=self.now)

    @property
    def wall(self) -> int:
        """The wall clock."""
        return WALL + int(self.now)

    def step(self) -> Renewed | None:
        """Go to the next deadline."""
        deadline = self.renewal.next_deadline()
        assert deadline is not None
        self.now = max(self.now, deadline.at)
        return self.renewal.handle_deadline(now=self.now, wall=self.wall)

    def step_until(self, wall: int) -> list[tuple[int, bytes]]:
        """Go on until then; return who was asked when."""
        asked: list[tuple[int, bytes]] = []
        while True:
            deadline = self.renewal.next_deadline()
            assert deadline is not None
            if WALL + deadline.at > wall:
                return asked
            self.step()
            for to, message in self.tunnels.drain():
                assert isinstance(message, RenewRequest)
                asked.append((self.wall, to))

    def answer(self) -> Renewed:
        """Return what the issuer answers now."""
        answer = self.office.issuing.renew(self.host.key, now=NOW, wall=self.wall)
        assert isinstance(answer, Renewed)
        return answer

    def take(self, peer: bytes, answer: Renewed) -> Renewed | None:
        """Let *peer* send this answer."""
        return self.renewal.receive_renewed(peer, answer, now=self.now, wall=self.wall)

    def events(self) -> list[object]:
        """Return the events since the last time."""
        events: list[object] = list(self.outbox.events)
        self.outbox.events.clear()
        return events


def test_nobody_is_asked_before_two_thirds_have_passed(rng: random.Random) -> None:
    """Then the issuer is, within a second; the clock is looked at each hour."""
    member = Member(rng)
    assert member.step_until(DUE - 1) == []
    deadline = member.renewal.next_deadline()
    assert deadline is not None
    assert deadline.at - member.now <= LOOK_EVERY
    [(at, to)] = member.step_until(DUE + 1)
    assert at - DUE <= 1
    assert to == member.issuers[0]


def test_a_wall_clock_that_was_set_is_noticed(rng: random.Random) -> None:
    """A host that was off for a year asks at the first look."""
    member = Member(rng)
    member.step()
    member.renewal.handle_deadline(now=LOOK_EVERY, wall=DUE + DAY)
    assert [to for to, _ in member.tunnels.drain()] == member.issuers


def test_issuers_take_turns_with_growing_distance(rng: random.Random) -> None:
    """In the order of our key; a minute at first, an hour at last, give or take."""
    member = Member(rng, issuers=3)
    asked = member.step_until(DUE + 2 * DAY)
    ranked = rank_by_hash(member.host.key, member.issuers)
    assert [to for _, to in asked[:6]] == [*ranked, *ranked]
    waits = [b - a for (a, _), (b, _) in itertools.pairwise(asked)]
    for number, wait in enumerate(waits):
        expected = min(60 * 2**number, LAST_RETRY)
        assert 0.75 * expected - 1 <= wait <= 1.25 * expected + 1
    assert len(set(waits[8:])) > 5


def test_the_answer_is_taken_once_and_reported(rng: random.Random) -> None:
    """Then all is quiet until two thirds of the new life have passed."""
    member = Member(rng)
    member.step_until(DUE + 1)
    answer = member.answer()
    assert member.take(member.issuers[0], answer) == answer
    certificate = decode_certificate(parse_envelope(answer.certificate).body)
    assert member.events() == [CertificateRenewed(certificate.not_after)]
    assert member.take(member.issuers[0], answer) is None
    assert member.events() == []
    assert member.step_until(DUE + 2 * YEAR // 3 - DAY) == []
    assert len(member.step_until(DUE + 2 * YEAR // 3 + 2)) == 1


def test_an_issuer_may_send_what_was_not_asked_for(rng: random.Random) -> None:
    """What an administrator granted takes effect at once; others cannot send it."""
    member = Member(rng)
    member.now = float(YEAR // 2)
    early = member.answer()
    assert member.take(rng.randbytes(32), early) is None
    assert member.take(member.issuers[0], early) == early


def test_asking_at_once_does_not_wait_for_two_thirds(rng: random.Random) -> None:
    """The next issuer is asked, or our own issuing key gives at once."""
    member = Member(rng)
    assert member.renewal.ask(now=0.0, wall=WALL) is None
    assert [to for to, _ in member.tunnels.drain()] == member.issuers
    issuer = Member(rng, own=True)
    issuer.now = float(YEAR // 2)
    assert issuer.renewal.ask(now=issuer.now, wall=issuer.wall) is not None
    assert issuer.tunnels.drain() == []


def test_only_what_is_ours_and_later_is_taken(rng: random.Random) -> None:
    """Not from others, not invalid, not older and not somebody else's."""
    member = Member(rng)
    [issuer] = member.issuers
    member.step_until(DUE + 1)
    answer = member.answer()
    assert member.take(rng.randbytes(32), answer) is None
    other = member.office.join(
        member.office.invite(expires=DUE + DAY),
        Host(rng),
        "beta",
        wall=member.wall,
    )
    assert isinstance(other, JoinReply)
    old = member.office.kept_issued | {
        issued.certificate.serial: issued.data
        for issued in member.office.ledger.of_key(member.host.key, wall=WALL)
    }
    oldest = old[member.certificate.serial]
    for bad in (
        Renewed(other.certificate, other.issuer),
        Renewed(oldest, answer.issuer),
        Renewed(answer.certificate[:-1], answer.issuer),
        Renewed(answer.certificate, b""),
        Renewed(answer.certificate, other.certificate),
    ):
        assert member.take(issuer, bad) is None
    assert not any(isinstance(e, CertificateRenewed) for e in member.events())
    assert member.take(issuer, answer) == answer


def test_an_issuer_renews_itself(rng: random.Random) -> None:
    """Without asking anybody, and the certificate is handed out to be used."""
    member = Member(rng, own=True)
    renewed = None
    while renewed is None:
        renewed = member.step()
    assert member.wall >= DUE
    assert member.wall <= DUE + 1
    assert member.tunnels.sent == []
    assert [type(event) for event in member.events()] == [CertificateRenewed]


def test_an_issuer_that_may_not_renew_itself_asks_others(rng: random.Random) -> None:
    """Its own refusal is the obstacle that is told."""
    member = Member(rng, own=True)
    revocation = member.office.issuing.revoke(member.host.key, "lost", wall=WALL)
    member.office.revoke(revocation)
    asked = member.step_until(DUE + 100)
    assert [to for _, to in asked] == member.issuers * len(asked)
    assert asked


def test_health_worsens_by_steps_and_recovers(rng: random.Random) -> None:
    """A third, 30 days, 7 days, expired; each once, and "" when renewed."""
    member = Member(rng)
    member.step_until(DUE + 1)
    assert member.events() == []
    texts: list[str] = []
    member.step_until(WALL + YEAR + DAY)
    for event in member.events():
        assert isinstance(event, HealthChanged)
        assert event.subject == "certificate"
        texts.append(event.text)
    assert [text.partition(",")[0] for text in texts] == [
        "our certificate has less than a third of its life left",
        "our certificate ends within 30 days",
        "our certificate ends within 7 days",
        "our certificate has expired",
    ]
    assert all("no issuer answers" in text for text in texts)
    member.office.directory.follow(
        member.office.membership.handle_deadline(wall=float(WALL))
    )
    wall = WALL + YEAR - DAY
    answer = member.office.issuing.renew(member.host.key, now=NOW, wall=wall)
    assert isinstance(answer, Renewed)
    assert member.take(member.issuers[0], answer) is not None
    assert HealthChanged("certificate", "") in member.events()


@pytest.mark.parametrize(
    ("issuers", "obstacle"), [(0, "no issuer is known"), (1, "ask the founder")]
)
def test_health_says_what_stands_in_the_way(
    rng: random.Random, issuers: int, obstacle: str
) -> None:
    """That nobody can be asked, or what an issuer said."""
    member = Member(rng, issuers=issuers)
    member.step_until(DUE + 1)
    for issuer in member.issuers:
        refused = Refused("not-granted", "ask the founder")
        member.renewal.receive_refused(rng.randbytes(32), Refused("x", "nonsense"))
        member.renewal.receive_refused(issuer, refused)
    member.step_until(DUE + 200)
    [event] = member.events()
    assert isinstance(event, HealthChanged)
    assert event.text.endswith(obstacle)


def test_without_a_certificate_there_is_nothing_to_do(rng: random.Random) -> None:
    """No deadline, and a deadline that comes anyway does nothing."""
    office = Office(rng)
    renewal = Renewal(
        key=rng.randbytes(32),
        trust=office.trust,
        tunnels=FakeTunnels(),
        issuer_keys=lambda: office.directory.keys_with_role(Role.ISSUER),
        outbox=Outbox(),
        entropy=rng.randbytes,
    )
    assert renewal.next_deadline() is None
    assert renewal.handle_deadline(now=NOW, wall=WALL) is None
