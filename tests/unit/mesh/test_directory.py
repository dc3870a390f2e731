"""The directory: members by key, name, address and role, and who is revoked."""

import random

import pytest

from meshnode.codec.records import Revocation, Role
from meshnode.mesh.documents import create_revocation
from meshnode.mesh.prefixes import host_prefix
from tests.unit.mesh.issuing_parts import WALL, YEAR, Host, Office


@pytest.fixture
def office(rng: random.Random) -> Office:
    """A network with its founder."""
    return Office(rng)


def test_a_member_is_found_by_all_its_names(office: Office) -> None:
    """By key, name and address; a stranger by none."""
    host, directory = office.add_member("alpha"), office.directory
    member = directory.member(host.key)
    assert member is not None
    assert directory.key_with_name("alpha") == host.key
    assert host_prefix(member.certificate.ipv4) in member.addresses
    assert directory.key_with_address(member.certificate.ipv4) == host.key
    assert directory.member(bytes(32)) is None
    assert directory.key_with_name("beta") is None
    assert directory.key_with_address(bytes(4)) is None


def test_roles_follow_the_membership(office: Office) -> None:
    """Members come into and leave the lists of their roles."""
    relay = office.add_member("relay", Role.RELAY)
    both = office.add_member("both", Role.RELAY | Role.EXIT)
    keys = office.directory.keys_with_role
    assert set(keys(Role.RELAY)) == {office.founder.key, relay.key, both.key}
    assert set(keys(Role.EXIT)) == {both.key}
    assert set(keys(Role.ISSUER)) == {office.founder.key}
    assert set(keys(Role.STOCK)) == set()
    office.revoke(office.issuing.revoke(both.key, "lost", wall=WALL))
    assert set(keys(Role.RELAY)) == {office.founder.key, relay.key}
    assert set(keys(Role.EXIT)) == set()


def test_issuers_are_listed_once(office: Office) -> None:
    """However many members they certified."""
    office.add_member("alpha")
    office.add_member("beta")
    assert [issuer.issuing_key for issuer in office.directory.issuers()] == [
        office.issuing_key.public
    ]


def test_revocations_of_authority_and_issuer_count(office: Office) -> None:
    """Ours for our members, an authority's for anybody; others are not revoked."""
    host = office.add_member("alpha")
    stranger = Host(office.rng)
    is_revoked = office.directory.is_revoked
    assert not is_revoked(host.key)
    office.revoke(office.issuing.revoke(host.key, "lost", wall=WALL))
    assert is_revoked(host.key)
    assert not is_revoked(host.signing.public)
    assert not is_revoked(stranger.key)
    revocation = Revocation(stranger.key, WALL, WALL + YEAR, "stolen")
    data = create_revocation(office.authority, office.network_id, revocation)
    office.revoke(data)
    assert is_revoked(stranger.key)
