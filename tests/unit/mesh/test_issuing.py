"""Issuing: joining by invite, asking again, renewing, certifying by hand, revoking."""

import random
from dataclasses import replace

import pytest

from meshnode.codec.messages import JoinReply, JoinRequest, Message, Refused, Renewed
from meshnode.codec.record_bytes import parse_envelope
from meshnode.codec.records import Certificate, Revocation, Role
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError
from meshnode.mesh.certifier import Subject
from meshnode.mesh.documents import create_issuer, create_revocation
from meshnode.mesh.events import InviteUsed
from meshnode.mesh.founding import ISSUER_LIFETIME
from meshnode.mesh.grants import VALIDITY_SKEW
from meshnode.mesh.invites import Grant
from meshnode.mesh.ports import KeepInvite, KeepIssued
from meshnode.types import Prefix
from tests.unit.mesh.issuing_parts import DAY, GRANT, NOW, WALL, YEAR, Host, Office


@pytest.fixture
def office(rng: random.Random) -> Office:
    """An issuer of 10.9.0.0/16."""
    return Office(rng)


def read(office: Office, answer: Message, *, wall: int = WALL) -> Certificate:
    """Return the certificate in an answer, verified as its receiver does."""
    assert isinstance(answer, JoinReply | Renewed), answer
    verified = office.trust.verify_certificate(
        parse_envelope(answer.certificate), parse_envelope(answer.issuer), wall=wall
    )
    return verified.certificate


def code(answer: Message) -> str:
    """Return the code of a refusal."""
    assert isinstance(answer, Refused), answer
    assert answer.text.isprintable()
    assert len(answer.text) <= 200
    return answer.code


def test_a_joiner_gets_what_the_invite_grants(office: Office) -> None:
    """Its keys and name, the invite's content, an address of the pool, a year."""
    lan = Prefix.parse("192.168.7.0/24")
    grant = Grant("", ("ops",), (lan,), Role.RELAY, YEAR)
    host = Host(office.rng)
    certificate = read(office, office.join(office.invite(grant=grant), host, "alpha"))
    assert certificate.name == "alpha"
    assert certificate.wireguard_key == host.key
    assert certificate.signing_key == host.signing.public
    assert certificate.groups == ("ops",)
    assert certificate.subnets == (lan,)
    assert certificate.roles == Role.RELAY
    assert certificate.not_before == certificate.member_since == WALL
    assert certificate.not_after == WALL + YEAR
    assert certificate.ipv4[:2] == bytes([10, 9])


def test_a_name_in_the_invite_overrides_the_joiners(office: Office) -> None:
    """Whoever invited decides."""
    invite = office.invite(grant=Grant("beta", (), (), Role.NONE, YEAR))
    assert read(office, office.join(invite, Host(office.rng), "alpha")).name == "beta"


def test_joining_is_kept_as_a_whole_and_reported(office: Office) -> None:
    """One use and one certificate are queued together."""
    host, invite = Host(office.rng), office.invite()
    office.store()
    answer = office.join(invite, host, "alpha")
    assert isinstance(answer, JoinReply)
    [use, issued] = office.outbox.changes
    assert isinstance(use, KeepInvite)
    assert isinstance(issued, KeepIssued)
    assert issued.data == answer.certificate
    assert list(office.outbox.events) == [InviteUsed("alpha", host.key)]


def test_the_same_joiner_gets_the_same_certificate_again(office: Office) -> None:
    """At once, after the invite is used up, after a restart, and after its end."""
    host, invite = Host(office.rng), office.invite(expires=WALL + 60)
    first = office.join(invite, host, "alpha")
    assert isinstance(first, JoinReply)
    assert office.store() == 3
    assert office.join(invite, host, "alpha") == first
    assert office.join(invite, host, "other-name") == first
    office.restart()
    assert office.join(invite, host, "alpha") == first
    assert office.join(invite, host, "alpha", wall=WALL + 61) == first
    assert office.store() == 0


def test_a_second_joiner_is_told_that_the_invite_is_used(office: Office) -> None:
    """Also after a restart."""
    invite = office.invite()
    read(office, office.join(invite, Host(office.rng), "alpha"))
    assert code(office.join(invite, Host(office.rng), "beta")) == "used"
    office.store()
    office.restart()
    assert code(office.join(invite, Host(office.rng), "beta")) == "used"


def test_each_reason_is_told_and_leaves_no_trace(office: Office) -> None:
    """Unknown, expired, revoked, a taken name; state is as it was."""
    unknown = Office(random.Random(1)).invite()
    expired = office.invite(expires=WALL + 10)
    revoked = office.invite()
    office.invites.revoke(revoked.public_key().raw, now=NOW, wall=WALL)
    taken = office.invite()
    read(office, office.join(office.invite(), Host(office.rng), "alpha"))
    for invite, name, wall, expected in (
        (unknown, "beta", WALL, "unknown"),
        (expired, "beta", WALL + 11, "expired"),
        (revoked, "beta", WALL, "revoked"),
        (taken, "alpha", WALL, "name-taken"),
        (taken, "founder", WALL, "name-taken"),
    ):
        before = office.state()
        answer = office.join(invite, Host(office.rng), name, wall=wall)
        assert code(answer) == expected
        assert office.state() == before
    assert read(office, office.join(taken, Host(office.rng), "beta")).name == "beta"


def test_no_request_counts_without_the_proof(office: Office) -> None:
    """A peer that did not show this very invite is refused."""
    shown, other, host = office.invite(), office.invite(), Host(office.rng)
    office.admissions.admit(office.introduction(shown, host), now=NOW, wall=WALL)
    before = office.state()
    request = office.request(other, host, "alpha")
    answer = office.issuing.join(request, host.key, now=NOW, wall=WALL)
    assert code(answer) == "unknown"
    stranger = Host(office.rng)
    request = office.request(shown, stranger, "alpha")
    answer = office.issuing.join(request, stranger.key, now=NOW, wall=WALL)
    assert code(answer) == "unknown"
    assert office.state() == before


def test_a_request_must_be_signed_for_this_session(office: Office) -> None:
    """A request changed in any field, or made for another key, is refused."""
    invite, host, other = office.invite(), Host(office.rng), Host(office.rng)
    office.admissions.admit(office.introduction(invite, host), now=NOW, wall=WALL)
    good = office.request(invite, host, "alpha")
    before = office.state()
    for bad in (
        JoinRequest(good.invite_key, good.signing_key, "beta", good.signature),
        JoinRequest(good.invite_key, other.signing.public, "alpha", good.signature),
        JoinRequest(good.invite_key, good.signing_key, "alpha", bytes(64)),
        office.request(invite, other, "alpha"),
    ):
        answer = office.issuing.join(bad, host.key, now=NOW, wall=WALL)
        assert code(answer) == "bad-request"
    assert office.state() == before


def test_a_name_that_is_no_label_is_refused(office: Office) -> None:
    """Whatever a hostile joiner calls itself, no such certificate exists."""
    for name in ("", "A", "a b", "../x", "a\n", "x" * 64, "-a"):
        assert code(office.join(office.invite(), Host(office.rng), name)) == (
            "bad-request"
        )


def test_a_wireguard_key_has_one_signing_key(office: Office) -> None:
    """A member's key is not certified for somebody else's signing key."""
    host = office.add_member("alpha")
    thief = Host(office.rng)
    thief.key, thief.private = host.key, host.private
    assert code(office.join(office.invite(), thief, "beta")) == "key-taken"
    with pytest.raises(ConfigError, match="WireGuard key"):
        office.issuing.issue(
            Subject(host.key, thief.signing.public),
            Grant("beta", (), (), Role.NONE, YEAR),
            now=NOW,
            wall=WALL,
        )


def test_the_invite_used_with_another_signing_key_is_used(office: Office) -> None:
    """Asking again gives the certificate to the keys it was made for only."""
    host, invite = Host(office.rng), office.invite()
    read(office, office.join(invite, host, "alpha"))
    host.signing = SigningKey(office.rng.randbytes(32))
    assert code(office.join(invite, host, "alpha")) == "used"


def test_a_member_that_joins_again_keeps_address_and_seniority(office: Office) -> None:
    """A new invite gives it new content at its old place."""
    host = office.add_member("alpha")
    member = office.directory.member(host.key)
    assert member is not None
    later = WALL + DAY
    invite = office.invite(grant=GRANT, expires=later)
    answer = office.join(invite, host, "alpha", wall=later)
    certificate = read(office, answer, wall=later)
    assert certificate.ipv4 == member.certificate.ipv4
    assert certificate.member_since == WALL
    assert certificate.groups == ("staff",)
    assert certificate.not_before == later


def test_a_revoked_key_gets_nothing_and_frees_its_name(office: Office) -> None:
    """Not its own certificate again, not a new one; another host takes the name."""
    host, invite = Host(office.rng), office.invite()
    answer = office.join(invite, host, "alpha")
    assert isinstance(answer, JoinReply)
    member = office.enrol(host, answer.certificate)
    office.revoke(office.issuing.revoke(host.key, "lost", wall=WALL + 1))
    assert office.directory.member(host.key) is None
    before = office.state()
    assert code(office.join(invite, host, "alpha")) == "revoked"
    assert office.state() == before
    assert code(office.join(office.invite(), host, "alpha")) == "revoked"
    successor = read(office, office.join(office.invite(), Host(office.rng), "alpha"))
    assert successor.ipv4 != member.certificate.ipv4


def test_an_authoritys_revocation_counts_too(office: Office) -> None:
    """The issuer certifies nobody whom an authority revoked."""
    host = Host(office.rng)
    revocation = Revocation(host.key, WALL, WALL + YEAR, "stolen")
    data = create_revocation(office.authority, office.network_id, revocation)
    office.revoke(data)
    assert code(office.join(office.invite(), host, "alpha")) == "revoked"


def test_a_revocation_outlasts_all_that_it_revokes(office: Office) -> None:
    """Its end is later than that of every certificate, by more than clocks differ."""
    host = office.add_member("alpha")
    data = office.issuing.revoke(host.key, "lost", wall=WALL + 5)
    revocation = office.trust.verify_revocation(data).revocation
    assert revocation.revoked_at == WALL + 5
    assert revocation.until > WALL + YEAR + VALIDITY_SKEW
    with pytest.raises(ConfigError, match="printable"):
        office.issuing.revoke(host.key, "ctrl \x07", wall=WALL)
    with pytest.raises(ConfigError, match="no member"):
        office.issuing.revoke(bytes(32), "unknown", wall=WALL)


def test_renewal_keeps_the_content(office: Office) -> None:
    """Only serial and validity differ."""
    host = office.add_member("alpha", Role.RELAY)
    member = office.directory.member(host.key)
    assert member is not None
    old = member.certificate
    wall = WALL + 2 * YEAR // 3
    new = read(office, office.issuing.renew(host.key, now=NOW, wall=wall), wall=wall)
    assert new.serial != old.serial
    assert (new.not_before, new.not_after) == (wall, wall + YEAR)
    for name in (
        *("name", "wireguard_key", "signing_key", "ipv4", "subnets", "groups"),
        *("roles", "gateways", "member_since"),
    ):
        assert getattr(new, name) == getattr(old, name)


def test_a_lost_renewal_is_given_again(office: Office) -> None:
    """Asking twice issues once, also across a restart."""
    host = office.add_member("alpha")
    wall = WALL + YEAR // 2
    first = office.issuing.renew(host.key, now=NOW, wall=wall)
    office.store()
    assert office.issuing.renew(host.key, now=NOW, wall=wall + 60) == first
    office.restart()
    assert office.issuing.renew(host.key, now=NOW, wall=wall + 3600) == first
    assert office.store() == 0
    assert office.issuing.renew(host.key, now=NOW, wall=wall + YEAR // 2) != first


def test_renewal_brings_what_was_issued_by_hand(office: Office) -> None:
    """A certificate of other content takes effect when the member renews."""
    host = office.add_member("alpha")
    grant = Grant("alpha", ("ops",), (), Role.NONE, YEAR)
    subject = Subject(host.key, host.signing.public)
    reply = office.issuing.issue(subject, grant, now=NOW, wall=WALL)
    answer = office.issuing.renew(host.key, now=NOW, wall=WALL + 1)
    assert isinstance(answer, Renewed)
    assert answer.certificate == reply.certificate
    assert read(office, answer).groups == ("ops",)


def test_unknown_revoked_and_stock_are_not_renewed(office: Office) -> None:
    """Each is told why, and nothing is issued."""
    renew = office.issuing.renew
    host = office.add_member("alpha")
    before = len(office.ledger)
    assert code(renew(Host(office.rng).key, now=NOW, wall=WALL)) == "unknown"
    revocation = Revocation(host.signing.public, WALL, WALL + 2 * YEAR, "lost")
    late = WALL + YEAR // 2
    member = office.directory.member(host.key)
    assert member is not None
    office.revoke(
        create_revocation(office.authority, office.network_id, revocation), wall=late
    )
    assert code(renew(host.key, now=NOW, wall=late)) == "unknown"
    assert len(office.ledger) == before


def test_a_stock_member_has_gateways_that_are_members(office: Office) -> None:
    """It is certified by hand, with living gateways only, and not renewed."""
    phone = Host(office.rng)
    grant = Grant("phone", (), (), Role.STOCK, YEAR)
    gateway = office.add_member("gateway")
    issue = office.issuing.issue
    before = office.state()
    for gateways in ((Host(office.rng).key,), ()):
        with pytest.raises(ConfigError):
            issue(Subject(phone.key, bytes(32), gateways), grant, now=NOW, wall=WALL)
    assert office.state() == before
    subject = Subject(phone.key, bytes(32), (gateway.key,))
    certificate = read(office, issue(subject, grant, now=NOW, wall=WALL))
    assert certificate.gateways == (gateway.key,)
    assert certificate.roles == Role.STOCK


def test_what_the_issuer_may_not_grant_is_refused_everywhere(office: Office) -> None:
    """Before an invite is made, when somebody joins by it, and by hand."""
    for grant in (
        Grant("", ("admins",), (), Role.NONE, YEAR),
        Grant("", (), (), Role.NONE, ISSUER_LIFETIME + 1),
    ):
        with pytest.raises(ConfigError):
            office.certifier.check_grant(grant)
        invite = office.invite(grant=grant)
        before = office.state()
        host = Host(office.rng)
        if grant.groups:
            assert code(office.join(invite, host, "alpha")) == "not-granted"
            assert office.state() == before
    office.certifier.check_grant(GRANT)


def test_overlay_addresses_are_no_subnets_to_give(office: Office) -> None:
    """A grant of part of the network itself is refused by the rules of all."""
    grant = Grant("", (), (Prefix.parse("10.9.5.0/24"),), Role.NONE, YEAR)
    invite = office.invite(grant=grant)
    assert code(office.join(invite, Host(office.rng), "alpha")) == "not-granted"


def test_a_certificate_leaves_room_for_the_members_word(rng: random.Random) -> None:
    """What would not fit into a member record is not issued."""
    groups = tuple(f"{number}".rjust(32, "g") for number in range(8))
    office = Office(rng, groups=groups)
    subnets = tuple(Prefix(6, 0x2001 << 112 | n << 8, 120) for n in range(16))
    grant = Grant("", groups, subnets, Role.NONE, YEAR)
    answer = office.join(office.invite(grant=grant), Host(office.rng), "a" * 63)
    assert code(answer) == "not-granted"


def test_no_certificate_outlives_its_issuer(office: Office) -> None:
    """Near the issuer's end certificates are cut short, and then refused."""
    end = WALL + ISSUER_LIFETIME
    invite = office.invite(expires=end + DAY, uses=9)
    near = end - 30 * DAY
    host = Host(office.rng)
    answer = office.join(invite, host, "alpha", wall=near)
    assert isinstance(answer, JoinReply)
    assert read(office, answer, wall=near).not_after == end
    office.enrol(host, answer.certificate, wall=near)
    later = near + 20 * DAY
    assert code(office.issuing.renew(host.key, now=NOW, wall=later)) == "not-granted"
    answer = office.join(invite, Host(office.rng), "beta", wall=end + DAY)
    assert code(answer) == "not-granted"


def test_a_new_permission_gives_a_whole_life_again(office: Office) -> None:
    """What was cut short by the old permission's end is not renewed as short."""
    end = WALL + ISSUER_LIFETIME
    near = end - 30 * DAY
    host = Host(office.rng)
    answer = office.join(office.invite(expires=end), host, "alpha", wall=near)
    assert isinstance(answer, JoinReply)
    office.enrol(host, answer.certificate, wall=near)
    permission = replace(
        office.certifier.issuer, not_before=near, not_after=near + ISSUER_LIFETIME
    )
    office.founding = replace(
        office.founding,
        issuer=create_issuer(office.authority, office.network_id, permission),
    )
    office.store()
    office.restart()
    later = near + 20 * DAY
    renewed = office.issuing.renew(host.key, now=NOW, wall=later)
    certificate = read(office, renewed, wall=later)
    assert certificate.not_after == later + YEAR


def test_a_full_pool_is_told_and_never_shares_an_address(rng: random.Random) -> None:
    """Of a /29 five hosts join beside the founder, each with its own address."""
    office = Office(rng, "10.9.0.0/29")
    invite = office.invite(uses=9)
    addresses = {
        read(office, office.join(invite, Host(rng), f"host-{n}")).ipv4 for n in range(5)
    }
    assert addresses == {bytes([10, 9, 0, n]) for n in range(2, 7)}
    before = office.state()
    assert code(office.join(invite, Host(rng), "one-more")) == "no-address"
    assert office.state() == before


def test_an_address_is_given_again_only_after_its_certificate(
    rng: random.Random,
) -> None:
    """The address of a revoked member waits until its certificate has ended."""
    office = Office(rng, "10.9.0.0/29")
    invite = office.invite(uses=9, expires=WALL + 3 * YEAR)
    hosts = [Host(rng) for _ in range(5)]
    for number, host in enumerate(hosts):
        read(office, office.join(invite, host, f"host-{number}"))
    answer = office.join(invite, hosts[0], "host-0")
    assert isinstance(answer, JoinReply)
    office.enrol(hosts[0], answer.certificate)
    office.revoke(office.issuing.revoke(hosts[0].key, "lost", wall=WALL))
    assert code(office.join(invite, Host(rng), "again")) == "no-address"
    over = WALL + YEAR + VALIDITY_SKEW + 1
    read(office, office.join(invite, Host(rng), "again", wall=over), wall=over)
