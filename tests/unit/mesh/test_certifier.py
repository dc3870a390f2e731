"""The certifier: only with its own permission, and never in the pools of others."""

import random

import pytest

from meshnode.codec.messages import JoinReply
from meshnode.codec.record_bytes import decode_certificate, parse_envelope
from meshnode.codec.records import Issuer, Role
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError
from meshnode.mesh.certifier import CertificateRefusedError, Certifier, Subject
from meshnode.mesh.documents import create_certificate, create_issuer
from meshnode.mesh.invites import Grant
from meshnode.mesh.issued import IssuedLedger
from meshnode.types import Prefix
from tests.unit.mesh.issuing_parts import NOW, WALL, YEAR, Host, Office

PLAIN = Grant("", (), (), Role.NONE, YEAR)


def certifier(office: Office, key: SigningKey, issuer: bytes) -> Certifier:
    """Return a certifier with that permission."""
    return Certifier(
        trust=office.trust,
        signing_key=key,
        issuer=issuer,
        directory=office.directory,
        ledger=IssuedLedger(),
    )


def permission(office: Office, key: SigningKey, pool: str) -> bytes:
    """Return an authority's word for another issuing key."""
    issuer = Issuer(
        issuing_key=key.public,
        name="branch",
        pools=(Prefix.parse(pool),),
        groups=(),
        subnets=(),
        roles=Role.NONE,
        max_lifetime=YEAR,
        not_before=WALL,
        not_after=WALL + YEAR,
    )
    return create_issuer(office.authority, office.network_id, issuer)


def test_a_permission_for_another_key_or_network_is_refused(
    rng: random.Random,
) -> None:
    """Certificates by it would be refused by everybody."""
    office, other = Office(rng), Office(rng)
    for key, issuer in (
        (SigningKey(rng.randbytes(32)), office.founding.issuer),
        (other.issuing_key, other.founding.issuer),
        (office.issuing_key, office.founding.certificate),
        (office.issuing_key, b"nonsense"),
    ):
        with pytest.raises(ConfigError, match="permission"):
            certifier(office, key, issuer)


def test_pools_of_other_issuers_are_left_alone(rng: random.Random) -> None:
    """Once a branch issuer's member is known, the founder gives nothing of its pool."""
    office = Office(rng, "10.9.0.0/28")
    branch_key = SigningKey(rng.randbytes(32))
    issuer = permission(office, branch_key, "10.9.0.8/29")
    branch = certifier(office, branch_key, issuer)
    host = Host(rng)
    issued = branch.certify(
        rng.randbytes(16), "branch", Subject(host.key, host.signing.public), PLAIN, WALL
    )
    assert 8 <= issued.certificate.ipv4[3] < 15
    office.enrol(host, issued.data, issuer=issuer)
    invite = office.invite(uses=20)
    addresses = []
    for number in range(6):
        answer = office.join(invite, Host(rng), f"host-{number}")
        assert isinstance(answer, JoinReply)
        body = parse_envelope(answer.certificate).body
        addresses.append(decode_certificate(body).ipv4[3])
    assert sorted(addresses) == [2, 3, 4, 5, 6, 7]
    assert not isinstance(office.join(invite, Host(rng), "late"), JoinReply)


def test_nothing_is_given_that_another_issuer_gave_away(rng: random.Random) -> None:
    """An address and a name that the network knows are taken, whoever gave them."""
    office = Office(rng, "10.9.0.0/30")
    host = Host(rng)
    branch_key = SigningKey(rng.randbytes(32))
    issuer = permission(office, branch_key, "10.9.0.0/30")
    branch = certifier(office, branch_key, issuer)
    subject = Subject(host.key, host.signing.public)
    with pytest.raises(CertificateRefusedError) as refused:
        branch.certify(rng.randbytes(16), "founder", subject, PLAIN, WALL)
    assert refused.value.code == "name-taken"
    issued = branch.certify(rng.randbytes(16), "branch", subject, PLAIN, WALL)
    assert issued.certificate.ipv4 == bytes([10, 9, 0, 2])


def test_certifying_changes_nothing(rng: random.Random) -> None:
    """Until the caller enters it into the ledger, the same may be certified again."""
    office = Office(rng)
    host, serial = Host(rng), rng.randbytes(16)
    subject = Subject(host.key, host.signing.public)
    before = office.state()
    first = office.certifier.certify(serial, "alpha", subject, PLAIN, WALL)
    assert office.certifier.certify(serial, "alpha", subject, PLAIN, WALL) == first
    assert office.state() == before


def test_renewing_does_not_need_the_ledger(rng: random.Random) -> None:
    """After the ledger is lost, address and seniority come from the network."""
    office = Office(rng)
    host = office.add_member("alpha")
    member = office.directory.member(host.key)
    assert member is not None
    office.restart()
    wall = WALL + YEAR // 2
    answer = office.issuing.renew(host.key, now=NOW, wall=wall)
    assert not hasattr(answer, "code")
    [issued] = office.ledger.of_key(host.key, wall=wall)
    assert issued.certificate.ipv4 == member.certificate.ipv4
    assert issued.certificate.member_since == WALL
    assert issued.data == create_certificate(
        office.issuing_key, office.network_id, issued.certificate
    )


def test_pools_that_were_given_away_are_left_alone_at_once(
    rng: random.Random,
) -> None:
    """Also before the new issuer has certified anybody; nonsense is ignored."""
    office = Office(rng, "10.9.0.0/28")
    ours = certifier(office, office.issuing_key, office.founding.issuer)
    branch = permission(office, SigningKey(rng.randbytes(32)), "10.9.0.8/29")
    ours.set_delegated((branch, b"nonsense", office.founding.certificate))
    for number in range(20):
        host = Host(rng)
        subject = Subject(host.key, host.signing.public)
        name = f"host-{number}"
        issued = ours.certify(rng.randbytes(16), name, subject, PLAIN, WALL)
        assert issued.certificate.ipv4[3] < 8
