"""How records come in: verified once, paced, durable in the same step."""

import pytest

from meshnode.codec.records import Kind
from meshnode.crypto.signing import SigningKey
from meshnode.mesh.documents import next_charter
from meshnode.mesh.intake import (
    CHANGE_BURST,
    SEEN_TIME,
    is_revocation,
)
from meshnode.mesh.ports import DropRecord, KeepRecord, KeepWallMark
from meshnode.mesh.record_set import Merge, Outcome, identity_of
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.simulation.population import EPOCH
from tests.unit.mesh.gossip_parts import WALL, Site, make_population


@pytest.fixture
def site() -> Site:
    """A node that knows the charter and no record."""
    return Site(make_population())


def take(site: Site, data: bytes, now: float = 100.0) -> Merge | None:
    """Let a pushed record come in."""
    return site.intake.take(data, now=now, wall=WALL)


def test_a_record_is_kept_in_the_step_that_uses_it(site: Site) -> None:
    """With its id, kind and bytes; what it drops is deleted first."""
    person = site.population.add()
    data = site.population.word(person)
    take(site, data)
    kept = [c for c in site.kept() if not isinstance(c, KeepWallMark)]
    (id,) = [identity_of(record) for record in site.records]
    assert [(c.kind, c.data) for c in kept if isinstance(c, KeepRecord)] == [
        (Kind.MEMBER, data)
    ]
    word = site.population.revocation(person.key)
    take(site, word)
    first, second = site.kept()
    assert isinstance(first, DropRecord)
    assert isinstance(second, KeepRecord)
    assert (second.kind, second.data) == (Kind.REVOCATION, word)
    assert first.id == id


def test_what_was_dealt_with_lately_costs_no_signature(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record comes from every neighbour; after a minute it is verified again."""
    data = site.population.word(site.population.add())
    verified = []
    genuine = site.trust.verify_member
    monkeypatch.setattr(
        site.trust,
        "verify_member",
        lambda data, *, wall: verified.append(data) or genuine(data, wall=wall),
    )
    assert take(site, data).outcome is Outcome.NEW
    assert take(site, data, 100 + SEEN_TIME - 1).outcome is Outcome.KNOWN
    assert len(verified) == 1
    assert take(site, data, 100 + SEEN_TIME).outcome is Outcome.KNOWN
    assert len(verified) == 2


def test_a_refused_record_is_counted_and_changes_nothing(site: Site) -> None:
    """And is to be paid for, once: then it is known to be bad."""
    data = bytearray(site.population.word(site.population.add()))
    data[-1] ^= 1
    assert take(site, bytes(data)) is None
    assert sum(site.intake.refused.values()) == 1
    assert take(site, bytes(data)).outcome is Outcome.KNOWN
    assert len(site.records) == 0
    assert site.kept() == []


@pytest.mark.parametrize("data", [b"", b"\x93", b"\x94", bytes(1100), b"\x93" * 900])
def test_garbage_is_refused(site: Site, data: bytes) -> None:
    """As malformed, whatever it begins with."""
    assert take(site, data) is None
    assert site.intake.refused[Refusal.MALFORMED] == 1


def test_what_may_be_accepted_later_is_judged_again(site: Site) -> None:
    """A revocation by an issuer of whom no record has come yet."""
    population = site.population
    person = population.add()
    word = population.revocation(person.key, population.issuing)
    assert take(site, word) is None
    take(site, population.word(person))
    assert take(site, word).outcome is Outcome.NEW


def test_a_member_that_changes_all_the_time_is_not_followed(site: Site) -> None:
    """Five changes at once, then about one in ten seconds; later ones are taken."""
    person = site.population.add()
    data = [site.population.word(person) for _ in range(20)]
    taken = [take(site, one) is not None for one in data]
    assert taken == [True] * (1 + CHANGE_BURST) + [False] * (19 - CHANGE_BURST)
    later = [take(site, one, 111.0) is not None for one in data[-3:]]
    assert later == [True, True, False]
    assert take(site, data[-1], 112.0) is None
    assert take(site, data[-1], 125.0).outcome is Outcome.NEW


def test_replayed_old_versions_do_not_keep_the_next_one_out(site: Site) -> None:
    """Whoever replays somebody's past spends nothing of that member's pace."""
    person = site.population.add()
    data = [site.population.word(person, version=n) for n in range(1, 60)]
    take(site, data[-2])
    for old in data[:-2]:
        assert take(site, old).outcome is Outcome.OLD
    assert take(site, data[-1]).outcome is Outcome.NEW


def test_our_own_publications_have_no_pace(site: Site) -> None:
    """Nor do they lack verification."""
    data = [site.population.word(site.me) for _ in range(20)]
    for one in data:
        assert site.intake.merge(one, now=0.0, wall=WALL).outcome is Outcome.NEW
    with pytest.raises(RecordRefused):
        site.intake.merge(b"\x93", now=0.0, wall=WALL)


def test_a_record_about_us_tells_its_version(site: Site) -> None:
    """Of our own key only; the greatest."""
    take(site, site.population.word(site.population.add(), version=9))
    assert site.intake.own_version == 0
    take(site, site.population.word(site.me, version=7))
    take(site, site.population.word(site.me, version=3))
    assert site.intake.own_version == 7


def test_a_certificate_proves_the_time(site: Site) -> None:
    """That it has begun has passed."""
    assert site.clock.passed(now=100.0) == EPOCH - 86400
    take(site, site.population.word(site.population.add()))
    assert site.clock.passed(now=100.0) == EPOCH - 3600


def test_what_is_stored_is_loaded_in_any_order(site: Site) -> None:
    """Revocations after what shows their issuers; what is damaged is left out."""
    population = site.population
    person = population.add()
    stored = (
        (5, population.revocation(person.key, population.issuing)),
        (4, b"damaged"),
        (4, population.word(person)),
    )
    merges = site.intake.load(stored, now=100.0)
    assert [type(record).__name__ for m in merges for record in m.kept] == [
        "VerifiedMember",
        "VerifiedRevocation",
    ]
    assert site.kept() == []
    assert site.intake.refused[Refusal.MALFORMED] == 1


def test_what_ended_long_ago_is_deleted(site: Site) -> None:
    """By the time that has passed for certain."""
    take(site, site.population.word(site.population.add()))
    site.kept()
    assert site.intake.collect(now=100.0).dropped == ()
    merge = site.intake.collect(now=100.0 + 200 * 86400)
    assert len(merge.dropped) == 1
    assert [type(change) for change in site.kept()] == [DropRecord]


def test_a_new_charter_drops_what_it_does_not_support(site: Site) -> None:
    """With another authority, the old one's issuers and revocations are void."""
    population = site.population
    person = population.add()
    take(site, population.word(person))
    take(site, population.revocation(bytes(range(32))))
    heir = SigningKey(b"h" * 32)
    charter = next_charter(
        site.trust.charter,
        population.authority,
        name="scale",
        authorities=(heir.public,),
        created=EPOCH,
    )
    assert site.intake.judge_again(now=100.0) == []
    site.trust.add_charter(charter)
    merges = site.intake.judge_again(now=100.0)
    assert len([record for merge in merges for record in merge.dropped]) == 2
    assert len(site.records) == 0
    assert take(site, population.word(person, version=1)) is None


def test_the_first_byte_tells_members_from_revocations(site: Site) -> None:
    """Three envelopes, or one."""
    population = site.population
    person = population.add()
    assert not is_revocation(population.word(person))
    assert is_revocation(population.revocation(person.key))
