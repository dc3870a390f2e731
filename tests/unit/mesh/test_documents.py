"""Records are signed for one network and one kind, by the key that was given."""

from dataclasses import replace

import pytest

from meshnode.codec.record_bytes import (
    decode_charter,
    decode_member,
    parse_envelope,
    parse_member_record,
    signed_bytes,
)
from meshnode.codec.records import Charter, Endpoints, Kind, Member, Policy, Revocation
from meshnode.crypto.signing import verify
from meshnode.errors import CodecError
from meshnode.mesh import documents
from meshnode.mesh.identifiers import network_id_of
from tests.certified_network import (
    AUTHORITY,
    CERTIFICATE,
    CIDR,
    ISSUER,
    NETWORK_ID,
    WALL,
    certificate_envelope,
    issuer_envelope,
    signing_key,
)

KEY = signing_key(7)
CREATED = {
    Kind.CHARTER: lambda: documents.create_charter(
        KEY, name="home", cidr=CIDR, created=WALL
    ),
    Kind.ISSUER: lambda: documents.create_issuer(KEY, NETWORK_ID, ISSUER),
    Kind.CERTIFICATE: lambda: documents.create_certificate(
        KEY, NETWORK_ID, CERTIFICATE
    ),
    Kind.REVOCATION: lambda: documents.create_revocation(
        KEY, NETWORK_ID, Revocation(bytes(32), 1, 2, "lost")
    ),
    Kind.POLICY: lambda: documents.create_policy(KEY, NETWORK_ID, Policy(1, "")),
    Kind.ENDPOINTS: lambda: documents.create_endpoints(
        KEY, NETWORK_ID, Endpoints(bytes(32), 1, ())
    ),
}


@pytest.mark.parametrize("kind", CREATED)
def test_each_kind_is_signed_as_what_it_is(kind: Kind) -> None:
    """The signature covers network, kind and body; the signer is named."""
    envelope = parse_envelope(CREATED[kind]())
    assert envelope.kind is kind
    assert envelope.signer == KEY.public
    network_id = network_id_of(KEY.public) if kind is Kind.CHARTER else NETWORK_ID
    signed = signed_bytes(network_id, kind, envelope.body)
    verify(KEY.public, signed, envelope.signature)


def test_the_first_charter_makes_the_network() -> None:
    """Its id is the founder's, who is the first of the authorities."""
    other = signing_key(8).public
    data = documents.create_charter(
        KEY, name="home", cidr=CIDR, created=WALL, others=(other,)
    )
    assert decode_charter(parse_envelope(data).body) == Charter(
        network_id_of(KEY.public), 1, "home", CIDR, (KEY.public, other), WALL
    )


def test_the_next_charter_keeps_network_and_addresses() -> None:
    """Only name and authorities are another's to choose."""
    first = Charter(NETWORK_ID, 4, "home", CIDR, (AUTHORITY.public,), WALL)
    data = documents.next_charter(
        first, AUTHORITY, name="away", authorities=(KEY.public,), created=WALL + 1
    )
    envelope = parse_envelope(data)
    assert envelope.signer == AUTHORITY.public
    assert decode_charter(envelope.body) == Charter(
        NETWORK_ID, 5, "away", CIDR, (KEY.public,), WALL + 1
    )


def test_a_member_record_holds_what_it_was_given() -> None:
    """The envelopes as they were, beside the member's own."""
    certificate, issuer = certificate_envelope(), issuer_envelope()
    member = Member(3, (), True)
    record = parse_member_record(
        documents.create_member_record(
            KEY, NETWORK_ID, certificate=certificate, issuer=issuer, member=member
        )
    )
    assert record.certificate == parse_envelope(certificate)
    assert record.issuer == parse_envelope(issuer)
    assert record.member is not None
    assert record.member.kind is Kind.MEMBER
    assert record.member.signer == KEY.public
    assert decode_member(record.member.body) == member


def test_a_stock_record_has_no_word_and_perhaps_no_issuer() -> None:
    """b"" stands for an issuer that is not there."""
    certificate = certificate_envelope()
    for issuer in (issuer_envelope(), b""):
        data = documents.create_stock_record(certificate=certificate, issuer=issuer)
        record = parse_member_record(data)
        assert record.member is None
        assert record.issuer == (parse_envelope(issuer) if issuer else None)


def test_what_cannot_be_read_is_not_signed() -> None:
    """A field out of range is an error at once, not at every other node."""
    with pytest.raises(CodecError):
        documents.create_certificate(
            KEY, NETWORK_ID, replace(CERTIFICATE, name="No Label")
        )
    with pytest.raises(CodecError):
        documents.create_policy(KEY, NETWORK_ID, Policy(1, "a" * 65_500))
