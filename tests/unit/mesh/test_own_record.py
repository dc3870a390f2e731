"""Our own word: versions only grow, and what is signed is what was kept."""

import random
from dataclasses import replace

import pytest

from meshnode.codec.record_bytes import (
    MAX_VERSION,
    parse_envelope,
    parse_member_record,
)
from meshnode.codec.records import Role, Route
from meshnode.crypto.signing import SigningKey
from meshnode.errors import CodecError, ConfigError
from meshnode.mesh.certifier import Subject
from meshnode.mesh.delegation import permit_issuer, succeed_charter
from meshnode.mesh.documents import create_certificate
from meshnode.mesh.invites import Grant
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.own_record import OwnRecord
from meshnode.mesh.ports import KeepOwn, StoredState
from meshnode.mesh.trust import Trust
from meshnode.types import Prefix
from tests.unit.mesh.node_parts import NOTHING, YEAR, World

LAN = Prefix.parse("192.168.7.0/24")
ROUTES = (Route(LAN, 10, 1), Route(Prefix.parse("192.168.7.128/25"), 0, 1))


class Owner:
    """A member whose certificate lets it announce `LAN`."""

    def __init__(self, rng: random.Random) -> None:
        self.world = World(rng)
        self.host = self.world.host("alpha")
        grant = Grant("", (), (LAN,), Role.NONE, YEAR)
        self.reply = self.world.join(self.host, grant)
        self.trust = Trust(self.world.network_id)
        self.trust.add_charter(self.world.founding.charter)
        self.outbox = Outbox()
        self.own = self.open(StoredState())

    def open(self, stored: StoredState) -> OwnRecord:
        """Begin with what was kept."""
        assert self.host.identity is not None
        return OwnRecord(
            self.host.identity, trust=self.trust, stored=stored, outbox=self.outbox
        )

    def kept(self) -> list[tuple[int, bytes]]:
        """Return what was to be kept since the last time."""
        changes, self.outbox.changes = self.outbox.changes, []
        return [(c.version, c.data) for c in changes if isinstance(c, KeepOwn)]

    def renewed(self) -> tuple[bytes, bytes]:
        """Return a later certificate."""
        office = self.world.founder.node.office
        assert office is not None
        self.world.now += 1000.0
        reply = office.issuing.issue(
            Subject(self.host.key, self.host.signing.public),
            replace(NOTHING, name="alpha"),
            now=self.world.now,
            wall=int(self.world.wall),
        )
        return reply.certificate, reply.issuer


@pytest.fixture
def owner(rng: random.Random) -> Owner:
    """A member."""
    return Owner(rng)


def test_record_is_signed_and_kept(owner: Owner) -> None:
    """Others verify it; the same again is no news."""
    assert owner.own.announce(ROUTES, now=0.0)
    assert owner.kept() == [(1, owner.own.data)]
    member = owner.trust.verify_member(owner.own.data, wall=None)
    assert member.member is not None
    assert member.member.routes == ROUTES
    assert not owner.own.announce(ROUTES, now=0.0)
    assert owner.kept() == []
    assert owner.own.announce((), now=0.0)
    assert owner.own.version == 2


def test_kept_record_is_taken_up(owner: Owner) -> None:
    """A restart alone changes no version; another content does."""
    owner.own.announce(ROUTES, now=0.0)
    stored = StoredState(own=owner.own.data, own_version=1)
    own = owner.open(stored)
    assert not own.announce(ROUTES, now=0.0)
    assert own.announce((), now=0.0)
    assert own.version == 2


def test_version_goes_on_where_the_kept_one_was(owner: Owner) -> None:
    """Even if its record is damaged."""
    own = owner.open(StoredState(own=b"rubbish", own_version=7))
    own.announce((), now=0.0)
    assert own.version == 8


def test_goodbye_is_said_once(owner: Owner) -> None:
    """It is in the record, and a restart takes it back."""
    owner.own.announce((), now=0.0)
    assert owner.own.leave()
    assert not owner.own.leave()
    owner.own.announce((), now=0.0)
    member = owner.trust.verify_member(owner.own.data, wall=None)
    assert member.member is not None
    assert member.member.has_left
    own = owner.open(StoredState(own=owner.own.data, own_version=2))
    assert own.announce((), now=0.0)
    member = owner.trust.verify_member(own.data, wall=None)
    assert member.member is not None
    assert not member.member.has_left


def test_later_word_is_outdone(owner: Owner) -> None:
    """Also one of our own version: of two with one version others may hold another."""
    owner.own.announce((), now=0.0)
    assert not owner.own.raise_above(0)
    assert owner.own.raise_above(1)
    owner.own.announce((), now=0.0)
    assert owner.own.version == 2
    assert owner.own.raise_above(50)
    owner.own.announce((), now=0.0)
    assert owner.own.version == 51
    assert not owner.own.raise_above(MAX_VERSION)
    assert owner.own.announce(ROUTES, now=0.0)


def test_record_that_would_be_too_long_changes_nothing(owner: Owner) -> None:
    """The one before stays."""
    owner.own.announce(ROUTES, now=0.0)
    before = owner.own.data
    owner.kept()
    many = tuple(
        Route(Prefix(4, LAN.network + number, 32), 0, 1) for number in range(17)
    )
    with pytest.raises(CodecError):
        owner.own.announce(many, now=0.0)
    assert (owner.own.version, owner.own.data) == (1, before)
    assert owner.kept() == []


def test_renewed_certificate_survives_in_the_record(owner: Owner) -> None:
    """It is nowhere else; an older one in there does not displace our papers."""
    old = owner.own.certificate
    owner.own.announce((), now=0.0)
    first = owner.own.data
    assert owner.own.use_certificate(*owner.renewed())
    assert not owner.own.use_certificate(*owner.own.envelopes)
    owner.own.announce((), now=0.0)
    own = owner.open(StoredState(own=owner.own.data, own_version=2))
    assert own.certificate == owner.own.certificate
    assert own.certificate.not_before > old.not_before
    assert owner.host.identity is not None
    certificate, issuer = own.envelopes
    owner.host.identity = replace(
        owner.host.identity, certificate=certificate, issuer=issuer
    )
    own = owner.open(StoredState(own=first, own_version=2))
    assert own.certificate.not_before > old.not_before


@pytest.mark.parametrize("papers", [(b"", b""), (b"x", b""), (b"x", b"x")])
def test_bad_certificate_is_refused(owner: Owner, papers: tuple[bytes, bytes]) -> None:
    """And nothing changed."""
    before = owner.own.envelopes
    with pytest.raises(ConfigError, match="our certificate is no good"):
        owner.own.use_certificate(*papers)
    assert owner.own.envelopes == before


def test_what_is_ours(owner: Owner) -> None:
    """Both keys; a revocation hits us by these and by our issuer's."""
    ours = owner.host.key, owner.host.signing.public
    assert owner.own.is_ours(*ours)
    assert not owner.own.is_ours(ours[0], bytes(32))
    assert owner.own.subjects == (*ours, owner.world.issuing.public)
    parse_member_record(owner.own.data or owner.world.founder.node.own.data)


def test_what_may_be_announced(owner: Owner) -> None:
    """All inside a certified subnet, and nothing outside."""
    assert owner.own.may_announce(LAN)
    assert owner.own.may_announce(ROUTES[1].prefix)
    assert not owner.own.may_announce(Prefix.parse("192.168.0.0/16"))
    assert not owner.own.may_announce(Prefix.parse("0.0.0.0/0"))


def test_the_first_authority_may_go(owner: Owner, rng: random.Random) -> None:
    """After a roll-over the renewed certificate is what we stand on, from the start."""
    world, wall = owner.world, int(owner.world.wall)
    second, issuing = SigningKey(rng.randbytes(32)), SigningKey(rng.randbytes(32))
    both = (world.authority.public, second.public)
    succeed_charter(owner.trust, world.authority, authorities=both, wall=wall)
    permission = permit_issuer(
        owner.trust,
        second,
        replace(
            owner.trust.verify_issuer(parse_envelope(world.founding.issuer), wall=None),
            issuing_key=issuing.public,
        ),
    )
    later = replace(
        owner.own.certificate,
        serial=rng.randbytes(16),
        not_before=wall + 10,
        not_after=wall + 1000,
    )
    certificate = create_certificate(issuing, owner.trust.network_id, later)
    assert owner.own.use_certificate(certificate, permission)
    owner.own.announce((), now=1.0)
    stored = StoredState(own=owner.own.data, own_version=owner.own.version)
    succeed_charter(owner.trust, second, authorities=(second.public,), wall=wall)
    assert owner.open(stored).certificate == later
    with pytest.raises(ConfigError, match="our certificate is no good"):
        owner.open(StoredState())
