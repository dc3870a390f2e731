"""The people of simulated networks: their records are real."""

import random

import pytest

from meshnode.codec.records import Role
from meshnode.crypto.signing import SigningKey
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.trust import Trust
from meshnode.simulation.population import EPOCH, Population


@pytest.fixture
def population() -> Population:
    """A network."""
    return Population(random.Random(1))


@pytest.fixture
def trust(population: Population) -> Trust:
    """Somebody's trust in it, which verifies everything itself."""
    trust = Trust(population.network_id)
    trust.add_charter(population.charter)
    return trust


def test_records_verify(population: Population, trust: Trust) -> None:
    """Of members, stock members and revocations; names and addresses differ."""
    one, other = population.add(), population.add()
    members = [
        trust.verify_member(data, wall=EPOCH)
        for data in (
            population.word(one),
            population.word(other, has_left=True),
            population.stock_record(one.key),
        )
    ]
    assert len({m.certificate.name for m in members}) == 3
    assert len({m.addresses for m in members}) == 3
    assert Role.STOCK in members[2].certificate.roles
    assert trust.verify_revocation(population.revocation(one.key)).by_authority
    by_issuer = population.revocation(one.key, population.issuing)
    assert not trust.verify_revocation(by_issuer).by_authority


def test_versions_rise(population: Population, trust: Trust) -> None:
    """Unless one is asked for."""
    one = population.add()
    records = [population.word(one), population.word(one)]
    records += [population.word(one, version=9), population.word(one)]
    versions = [trust.verify_member(data, wall=None).version for data in records]
    assert versions == [1, 2, 9, 10]


def test_another_issuer_may_certify(population: Population, trust: Trust) -> None:
    """With the authority's word for it."""
    issuing = SigningKey(b"i" * 32)
    envelope = population.create_issuer(issuing)
    assert envelope != population.issuer


def test_shared_trust_refuses_what_trust_refuses(population: Population) -> None:
    """And verifies the rest once."""
    data = population.word(population.add())
    shared = population.trust
    assert shared.verify_member(data, wall=None) is shared.verify_member(data, wall=1)
    word = population.revocation(b"k" * 32)
    assert shared.verify_revocation(word) is shared.verify_revocation(word)
    for bad in (data[:-1], word[:-1], data[:-1] + bytes((data[-1] ^ 1,))):
        with pytest.raises(RecordRefused):
            shared.verify_member(bad, wall=None)
        with pytest.raises(RecordRefused):
            shared.verify_revocation(bad)
