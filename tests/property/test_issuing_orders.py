"""In whatever order joiners come: invites keep count, and addresses are unique."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.codec.messages import JoinReply, Refused, Renewed
from meshnode.codec.record_bytes import decode_certificate, parse_envelope
from meshnode.codec.records import Certificate, Role
from meshnode.errors import ConfigError
from meshnode.mesh.certifier import Subject
from meshnode.mesh.invites import Grant
from meshnode.types import Prefix
from tests.unit.mesh.issuing_parts import DAY, NOW, WALL, YEAR, Host, Office

JOINERS = 100
POOL = "10.9.0.0/28"
HOSTS = 24


def read(data: bytes) -> Certificate:
    """Return the certificate in an envelope of our own."""
    return decode_certificate(parse_envelope(data).body)


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_of_a_hundred_joiners_exactly_as_many_as_allowed_get_in(
    seed: int, uses: int
) -> None:
    """Introductions and requests in any interleaving, repeated, with crashes.

    A crash before the store has written loses the answer too; the joiner asks again.
    """
    rng = random.Random(seed)
    office = Office(rng)
    invite = office.invite(uses=uses)
    office.store()
    hosts = [Host(rng) for _ in range(JOINERS)]
    introductions = [office.introduction(invite, host) for host in hosts]
    requests = [
        office.request(invite, host, f"host-{number}")
        for number, host in enumerate(hosts)
    ]
    steps = [(number, asks) for number in range(JOINERS) for asks in range(3)]
    rng.shuffle(steps)
    answers: dict[int, set[bytes]] = {}
    for number, asks in steps:
        if asks == 0 or office.admissions.invite_of(hosts[number].key) is None:
            office.admissions.admit(introductions[number], now=NOW, wall=WALL)
        answer = office.issuing.join(
            requests[number], hosts[number].key, now=NOW, wall=WALL
        )
        if rng.random() < 0.02:
            office.restart()  # nothing of this step was written, nothing answered
            continue
        office.store()
        if isinstance(answer, JoinReply):
            answers.setdefault(number, set()).add(answer.certificate)
        else:
            assert isinstance(answer, Refused)
            assert answer.code == "used"
    assert len(answers) == uses
    assert all(len(certificates) == 1 for certificates in answers.values())
    assert office.open_invite(invite).used == uses
    assert len(office.kept_issued) == len(office.ledger) == uses


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "issue", "renew", "enrol", "revoke", "wait"]),
        st.integers(0, HOSTS - 1),
    ),
    max_size=60,
)


class Model:
    """An office over a small pool, and the certificates it gave, for the oracle."""

    def __init__(self) -> None:
        self.rng = random.Random(1)
        self.office = Office(self.rng, POOL)
        self.invite = self.office.invite(uses=1000, expires=WALL + 100 * YEAR)
        self.hosts = [Host(self.rng) for _ in range(HOSTS)]
        self.wall = WALL
        self.given: list[Certificate] = [read(self.office.founding.certificate)]

    def step(self, what: str, number: int) -> bool:
        """Do one thing; whether it was not refused."""
        office, host, wall = self.office, self.hosts[number], self.wall
        name = f"name-{number % 8}"  # three hosts want each
        answer: object = None
        match what:
            case "join":
                answer = office.join(self.invite, host, name, wall=wall)
            case "issue":
                grant = Grant(name, ("ops",), (), Role.NONE, YEAR // 2)
                subject = Subject(host.key, host.signing.public)
                try:
                    answer = office.issuing.issue(subject, grant, now=NOW, wall=wall)
                except ConfigError:
                    return False
            case "renew":
                answer = office.issuing.renew(host.key, now=NOW, wall=wall)
            case "enrol":
                certificates = office.ledger.of_key(host.key, wall=wall)
                if certificates and not office.directory.is_revoked(host.key):
                    last = certificates[-1]
                    version = len(self.given)
                    office.enrol(host, last.data, version=version, wall=wall)
            case "revoke":
                if office.directory.member(host.key) is not None:
                    data = office.issuing.revoke(host.key, "lost", wall=wall)
                    office.revoke(data, wall=wall)
            case "wait":
                self.wall += YEAR // 5 + number * DAY
                changes = office.membership.handle_deadline(wall=float(self.wall))
                office.directory.follow(changes)
        if isinstance(answer, Refused):
            return False
        if isinstance(answer, JoinReply | Renewed):
            self.given.append(read(answer.certificate))
        return True


@settings(max_examples=60)
@given(STEPS)
def test_no_two_hosts_ever_share_an_address_or_a_name(
    steps: list[tuple[str, int]],
) -> None:
    """Of all certificates that are valid at any time, and refusals change nothing.

    A name may pass to another host only when its holder was revoked.
    """
    model = Model()
    network = Prefix.parse(POOL).network
    for what, number in steps:
        before = model.office.state()
        if not model.step(what, number):
            assert model.office.state() == before
        valid = [one for one in model.given if model.wall <= one.not_after]
        owners: dict[bytes, set[bytes]] = {}
        for one in valid:
            owners.setdefault(one.ipv4, set()).add(one.wireguard_key)
            assert 1 <= int.from_bytes(one.ipv4, "big") - network <= 14
        assert all(len(keys) == 1 for keys in owners.values())
        holders: dict[str, set[bytes]] = {}
        for one in valid:
            if not model.office.directory.is_revoked(one.wireguard_key):
                holders.setdefault(one.name, set()).add(one.wireguard_key)
        assert all(len(keys) == 1 for keys in holders.values())
