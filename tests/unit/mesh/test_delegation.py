"""Issuer requests, permissions, charters and revocations by an authority."""

from dataclasses import replace

import pytest

from meshnode.codec.record_bytes import parse_envelope
from meshnode.codec.records import Kind
from meshnode.errors import ConfigError
from meshnode.mesh.armour import armour, unarmour
from meshnode.mesh.delegation import (
    IssuerRequest,
    parse_issuer_request,
    parse_permission,
    permit_issuer,
    revoke_by_authority,
    serialise_issuer_request,
    serialise_permission,
    standing_on,
    succeed_charter,
)
from tests.certified_network import (
    AUTHORITY,
    DAY,
    ISSUER,
    ISSUING,
    NETWORK_ID,
    WALL,
    certificate_envelope,
    issuer_envelope,
    member_record,
    prefixes,
    signing_key,
    stock_record,
    trusting,
    wireguard_key,
)

REQUEST = IssuerRequest(NETWORK_ID, "paris", ISSUING.public)


def test_a_request_comes_back_as_it_went() -> None:
    """Also from the middle of a mail."""
    text = serialise_issuer_request(REQUEST, ISSUING)
    assert parse_issuer_request(f"Hello,\n\n{text}\nbye") == REQUEST


def test_a_request_is_signed_by_its_own_key() -> None:
    """Nobody asks for another's issuing key."""
    with pytest.raises(ValueError, match="signed by the key"):
        serialise_issuer_request(REQUEST, AUTHORITY)
    good = unarmour(
        "issuer-request", serialise_issuer_request(REQUEST, ISSUING), max_bytes=512
    )
    at = good.index(b"paris")
    forged = good[:at] + b"palis" + good[at + 5 :]
    with pytest.raises(ConfigError, match="signature is wrong"):
        parse_issuer_request(armour("issuer-request", forged))


@pytest.mark.parametrize("data", [b"x", b"\x92\xc4\x01a\xc4\x01b", b"\xc0" * 300])
def test_what_is_no_request_is_refused(data: bytes) -> None:
    """With one line for the user."""
    with pytest.raises(ConfigError, match="none that meshnode has made"):
        parse_issuer_request(armour("issuer-request", data))


def test_a_request_with_a_bad_name_cannot_be_made() -> None:
    """Names are labels everywhere."""
    with pytest.raises(ConfigError, match="cannot be made"):
        serialise_issuer_request(replace(REQUEST, name="No Name"), ISSUING)


def test_a_permission_comes_back_as_it_went() -> None:
    """The envelope is not touched on its way."""
    envelope = permit_issuer(trusting(), AUTHORITY, ISSUER)
    assert parse_permission(serialise_permission(envelope)) == envelope


def test_a_permission_is_of_an_issuer() -> None:
    """Another signed record is none."""
    for data in (certificate_envelope(), b"nonsense"):
        with pytest.raises(ConfigError, match="none that meshnode has made"):
            parse_permission(armour("issuer", data))


def test_only_what_the_network_allows_is_permitted() -> None:
    """The pool lies in the network, and an authority of today signs."""
    outside = replace(ISSUER, pools=prefixes("10.99.0.0/24"))
    with pytest.raises(ConfigError, match="not the issuer's to give"):
        permit_issuer(trusting(), AUTHORITY, outside)
    with pytest.raises(ConfigError, match="no authority"):
        permit_issuer(trusting(), signing_key(9), ISSUER)


def test_a_charter_follows_with_other_authorities() -> None:
    """Name and addresses stay; the new authority counts at once."""
    trust = trusting()
    other = signing_key(7)
    before = trust.charter
    envelope = succeed_charter(
        trust, AUTHORITY, authorities=(AUTHORITY.public, other.public), wall=WALL
    )
    assert trust.chain()[-1] == envelope
    assert (trust.charter.name, trust.charter.cidr) == (before.name, before.cidr)
    assert trust.charter.version == 2
    permit_issuer(trust, other, ISSUER)


def test_a_charter_is_signed_by_an_authority_in_force() -> None:
    """A stranger cannot add itself, and nothing changes."""
    trust = trusting()
    stranger = signing_key(9)
    with pytest.raises(ConfigError, match="no authority"):
        succeed_charter(trust, stranger, authorities=(stranger.public,), wall=WALL)
    assert trust.charter.version == 1


def test_an_authority_revokes_any_key() -> None:
    """For longer than what the key is used for."""
    trust = trusting()
    envelope = revoke_by_authority(
        trust,
        AUTHORITY,
        wireguard_key(3),
        reason="stolen",
        until=WALL + DAY,
        wall=WALL,
    )
    verified = trust.verify_revocation(envelope)
    assert verified.by_authority
    assert verified.revocation.subject == wireguard_key(3)
    assert verified.revocation.until > WALL + DAY
    past = revoke_by_authority(
        trust, AUTHORITY, wireguard_key(3), reason="", until=WALL - DAY, wall=WALL
    )
    assert trust.verify_revocation(past).revocation.until > WALL


def test_a_revocation_that_nobody_would_take_is_not_made() -> None:
    """A stranger's, or one with a novel for a reason."""
    for signer, reason in ((signing_key(9), "x"), (AUTHORITY, "x" * 65)):
        with pytest.raises(ConfigError, match="would not be valid"):
            revoke_by_authority(
                trusting(), signer, bytes(32), reason=reason, until=WALL, wall=WALL
            )


def test_what_stands_on_an_authority_is_told() -> None:
    """Issuers through whom members stand on it, and its revocations."""
    by_authority = member_record(
        certificate=certificate_envelope(AUTHORITY), issuer=b""
    )
    revocation = revoke_by_authority(
        trusting(), AUTHORITY, bytes(32), reason="", until=WALL, wall=WALL
    )
    other = member_record(issuer=issuer_envelope(signing_key(8), name="other"))
    records = [
        (int(Kind.MEMBER), member_record()),
        (int(Kind.MEMBER), stock_record()),
        (int(Kind.MEMBER), by_authority),
        (int(Kind.MEMBER), other),
        (int(Kind.REVOCATION), revocation),
    ]
    assert standing_on(records, AUTHORITY.public) == (("gate", "laptop"), 1)
    assert standing_on(records, signing_key(8).public) == (("other",), 0)
    assert standing_on(records, signing_key(7).public) == ((), 0)
    assert parse_envelope(revocation).signer == AUTHORITY.public
