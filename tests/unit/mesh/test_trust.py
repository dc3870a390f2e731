"""What a node believes, from whom, and why it refuses the rest."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from meshnode.codec.record_bytes import (
    parse_envelope,
    parse_member_record,
    serialise_envelope,
    serialise_member_record,
    signed_bytes,
)
from meshnode.codec.records import (
    Endpoints,
    Envelope,
    Kind,
    Member,
    Policy,
    Revocation,
    Role,
    Route,
)
from meshnode.mesh.documents import (
    create_certificate,
    create_endpoints,
    create_issuer,
    create_member_record,
    create_policy,
    create_revocation,
    create_stock_record,
    next_charter,
)
from meshnode.mesh.envelopes import open_signed
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.mesh.trust import (
    MAX_KNOWN_ISSUERS,
    Trust,
    overlay_ipv6,
    record_id,
)
from meshnode.types import Endpoint, Prefix
from tests.certified_network import (
    AUTHORITY,
    CERTIFICATE,
    CHARTER,
    DAY,
    ISSUER,
    ISSUING,
    MEMBER,
    MEMBER_SIGNING,
    NETWORK_ID,
    STOCK,
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

STRANGER = signing_key(99)


@pytest.fixture
def trust() -> Trust:
    """The trust of a node that has the charter."""
    return trusting()


def refusal(verify: Callable[..., Any], *args: Any, **options: Any) -> Refusal:
    """Return why *verify* refuses these arguments."""
    with pytest.raises(RecordRefused) as caught:
        verify(*args, **options)
    return caught.value.reason


def test_a_network_id_has_16_bytes() -> None:
    """Another length is our own mistake."""
    with pytest.raises(ValueError, match="16 bytes"):
        Trust(NETWORK_ID[:-1])


def test_without_a_charter_nothing_is_believed() -> None:
    """Whatever it is, and it is refused with one reason."""
    trust = Trust(NETWORK_ID)
    issuer = parse_envelope(issuer_envelope())
    certificate = parse_envelope(certificate_envelope())
    for act in (
        lambda: trust.charter,
        lambda: trust.verify_issuer(issuer, wall=WALL),
        lambda: trust.verify_certificate(certificate, issuer, wall=WALL),
        lambda: trust.verify_member(member_record(), wall=WALL),
        lambda: trust.verify_revocation(create_revocation(*REVOKED)),
        lambda: trust.verify_policy(create_policy(AUTHORITY, NETWORK_ID, POLICY)),
    ):
        assert refusal(act) is Refusal.NO_CHARTER


def test_the_chain_is_that_of_the_charters(trust: Trust) -> None:
    """What was added can be passed on."""
    assert trust.chain() == (CHARTER,)
    assert trust.charter.name == "home"
    assert not trust.add_charter(CHARTER)


def test_a_member_is_verified(trust: Trust) -> None:
    """All that the rest of the mesh needs to know of it is in the result."""
    data = member_record()
    verified = trust.verify_member(data, wall=WALL)
    assert verified.certificate == CERTIFICATE
    assert verified.issuer == ISSUER
    assert verified.signer == ISSUING.public
    assert verified.member == MEMBER
    assert verified.data == data
    assert verified.id == record_id(Kind.MEMBER, CERTIFICATE.wireguard_key)
    assert verified.key == CERTIFICATE.wireguard_key
    ipv6 = overlay_ipv6(NETWORK_ID, CERTIFICATE.wireguard_key)
    assert verified.addresses == (
        Prefix.parse("10.20.1.7/32"),
        Prefix(6, int.from_bytes(ipv6, "big"), 128),
    )
    assert verified.version == MEMBER.version


def test_an_authority_certifies_whatever_the_charter_has_room_for(trust: Trust) -> None:
    """No issuer, no pools, no longest lifetime: only what holds for everybody."""
    certificate = certificate_envelope(
        AUTHORITY,
        ipv4=bytes((10, 20, 200, 1)),
        groups=("admin",),
        subnets=prefixes("172.16.0.0/12"),
        roles=Role.ISSUER | Role.POLICY,
        not_after=WALL + 3650 * DAY,
    )
    data = member_record(certificate=certificate, issuer=b"", member=Member(1))
    verified = trust.verify_member(data, wall=WALL)
    assert verified.issuer is None
    assert verified.signer == AUTHORITY.public


def test_an_authority_cannot_certify_against_the_charter(trust: Trust) -> None:
    """The rules for everybody hold for it, too."""
    certificate = certificate_envelope(AUTHORITY, ipv4=bytes((10, 21, 0, 1)))
    data = member_record(certificate=certificate, issuer=b"")
    assert refusal(trust.verify_member, data, wall=WALL) is Refusal.BAD_ADDRESS


def test_a_stock_member_is_verified(trust: Trust) -> None:
    """It signs nothing, and its version is the beginning of its certificate."""
    verified = trust.verify_member(stock_record(), wall=WALL)
    assert verified.certificate == STOCK
    assert verified.member is None
    assert verified.version == STOCK.not_before
    renewed = stock_record(not_before=WALL + 60, not_after=WALL + DAY)
    assert trust.verify_member(renewed, wall=WALL).version > verified.version


def test_a_stock_member_has_no_word(trust: Trust) -> None:
    """Nobody can sign for zeros; a record that tries is refused."""
    stock = create_certificate(ISSUING, NETWORK_ID, STOCK)
    data = create_member_record(
        STRANGER,
        NETWORK_ID,
        certificate=stock,
        issuer=issuer_envelope(),
        member=Member(1),
    )
    assert refusal(trust.verify_member, data, wall=WALL) is Refusal.BAD_STOCK


def test_a_member_must_speak_for_itself(trust: Trust) -> None:
    """A certificate alone is no member."""
    data = create_stock_record(
        certificate=certificate_envelope(), issuer=issuer_envelope()
    )
    assert refusal(trust.verify_member, data, wall=WALL) is Refusal.NO_MEMBER


# What an insider may try: an issuer with its own key, or a member with its own.
HOSTILE: dict[str, tuple[Callable[[], bytes], Refusal]] = {
    "address of another pool": (
        lambda: member_record(
            certificate=certificate_envelope(ipv4=bytes((10, 20, 2, 7)))
        ),
        Refusal.ADDRESS_NOT_GRANTED,
    ),
    "address outside the network": (
        lambda: member_record(
            certificate=certificate_envelope(ipv4=bytes((10, 99, 1, 7)))
        ),
        Refusal.BAD_ADDRESS,
    ),
    "broadcast address": (
        lambda: member_record(
            certificate=certificate_envelope(ipv4=bytes((10, 20, 255, 255)))
        ),
        Refusal.BAD_ADDRESS,
    ),
    "group": (
        lambda: member_record(certificate=certificate_envelope(groups=("admin",))),
        Refusal.GROUP_NOT_GRANTED,
    ),
    "subnet": (
        lambda: member_record(
            certificate=certificate_envelope(subnets=prefixes("172.16.0.0/12"))
        ),
        Refusal.SUBNET_NOT_GRANTED,
    ),
    "subnet of the overlay": (
        lambda: member_record(
            certificate=certificate_envelope(subnets=prefixes("10.20.1.1/32"))
        ),
        Refusal.RESERVED_SUBNET,
    ),
    "default route": (
        lambda: member_record(
            certificate=certificate_envelope(subnets=prefixes("0.0.0.0/0"))
        ),
        Refusal.RESERVED_SUBNET,
    ),
    "role": (
        lambda: member_record(certificate=certificate_envelope(roles=Role.POLICY)),
        Refusal.ROLE_NOT_GRANTED,
    ),
    "lifetime": (
        lambda: member_record(
            certificate=certificate_envelope(not_after=WALL + 31 * DAY)
        ),
        Refusal.LIFETIME,
    ),
    "beyond its own end": (
        lambda: member_record(issuer=issuer_envelope(not_after=WALL + 29 * DAY)),
        Refusal.OUTLIVES_ISSUER,
    ),
    "before its own beginning": (
        lambda: member_record(issuer=issuer_envelope(not_before=WALL + 1)),
        Refusal.OUTLIVES_ISSUER,
    ),
    "grants of its own making": (
        lambda: member_record(issuer=issuer_envelope(ISSUING, groups=("admin",))),
        Refusal.NOT_AUTHORITY,
    ),
    "pool outside the network": (
        lambda: member_record(issuer=issuer_envelope(pools=prefixes("10.0.0.0/8"))),
        Refusal.ADDRESS_NOT_GRANTED,
    ),
    "grants of another issuer": (
        lambda: member_record(issuer=issuer_envelope(issuing_key=STRANGER.public)),
        Refusal.WRONG_ISSUER,
    ),
    "certificate without its issuer": (
        lambda: member_record(issuer=b""),
        Refusal.NOT_AUTHORITY,
    ),
    "certificate by a stranger": (
        lambda: member_record(certificate=certificate_envelope(STRANGER)),
        Refusal.WRONG_ISSUER,
    ),
    "certificate by a stranger alone": (
        lambda: member_record(certificate=certificate_envelope(STRANGER), issuer=b""),
        Refusal.NOT_AUTHORITY,
    ),
    "needless issuer": (
        lambda: member_record(certificate=certificate_envelope(AUTHORITY)),
        Refusal.NEEDLESS_ISSUER,
    ),
    "word by a stranger": (
        lambda: member_record(signer=STRANGER),
        Refusal.WRONG_MEMBER,
    ),
    "word by its issuer": (
        lambda: member_record(signer=ISSUING),
        Refusal.WRONG_MEMBER,
    ),
    "route of others": (
        lambda: member_record(
            member=Member(9, (Route(Prefix.parse("192.168.8.0/24")),))
        ),
        Refusal.ROUTE_NOT_GRANTED,
    ),
    "default route of its own": (
        lambda: member_record(member=Member(9, (Route(Prefix.parse("0.0.0.0/0")),))),
        Refusal.ROUTE_NOT_GRANTED,
    ),
    "no WireGuard key": (
        lambda: member_record(
            certificate=certificate_envelope(wireguard_key=bytes(32))
        ),
        Refusal.BAD_KEY,
    ),
    "stock without a gateway": (lambda: stock_record(gateways=()), Refusal.BAD_STOCK),
    "stock with a signing key": (
        lambda: stock_record(signing_key=STRANGER.public),
        Refusal.BAD_KEY,
    ),
}


@pytest.mark.parametrize(("make", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_insiders_cannot_exceed_what_they_were_given(
    trust: Trust, make: Callable[[], bytes], reason: Refusal
) -> None:
    """Each overreach has its reason, with the time checked or not."""
    data = make()
    assert refusal(trust.verify_member, data, wall=WALL) is reason
    assert refusal(trust.verify_member, data, wall=None) is reason


def with_parts(**changes: Envelope | None) -> bytes:
    """Return the sound member record with parts exchanged."""
    record = parse_member_record(member_record())
    return serialise_member_record(replace(record, **changes))  # type: ignore[arg-type]


def resigned_as(kind: Kind, envelope: bytes) -> Envelope:
    """Return the envelope with another kind and the old signature."""
    return replace(parse_envelope(envelope), kind=kind)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_parts(certificate=parse_envelope(issuer_envelope())), Refusal.WRONG_KIND),
        (with_parts(issuer=parse_envelope(certificate_envelope())), Refusal.WRONG_KIND),
        (with_parts(member=parse_envelope(certificate_envelope())), Refusal.WRONG_KIND),
        (
            with_parts(certificate=resigned_as(Kind.CERTIFICATE, issuer_envelope())),
            Refusal.NEEDLESS_ISSUER,
        ),
        (
            with_parts(
                certificate=resigned_as(
                    Kind.CERTIFICATE,
                    create_revocation(
                        ISSUING, NETWORK_ID, Revocation(bytes(32), 1, 2, "")
                    ),
                )
            ),
            Refusal.BAD_SIGNATURE,
        ),
        (
            with_parts(
                issuer=resigned_as(Kind.ISSUER, certificate_envelope(AUTHORITY))
            ),
            Refusal.BAD_SIGNATURE,
        ),
        (
            with_parts(
                member=resigned_as(
                    Kind.MEMBER,
                    create_endpoints(
                        MEMBER_SIGNING, NETWORK_ID, Endpoints(bytes(32), 1, ())
                    ),
                )
            ),
            Refusal.BAD_SIGNATURE,
        ),
    ],
)
def test_what_was_signed_as_one_kind_is_not_another(
    trust: Trust, data: bytes, reason: Refusal
) -> None:
    """Neither as it is nor with its kind rewritten."""
    assert refusal(trust.verify_member, data, wall=WALL) is reason


def test_a_signed_body_that_is_none_is_refused(trust: Trust) -> None:
    """An authority's signature under a body that is not canonical changes nothing."""
    sound = parse_envelope(issuer_envelope())
    longer = b"\xdc\x00\x09" + sound.body[1:]
    signature = AUTHORITY.sign(signed_bytes(NETWORK_ID, Kind.ISSUER, longer))
    envelope = replace(sound, body=longer, signature=signature)
    assert refusal(trust.verify_issuer, envelope, wall=WALL) is Refusal.MALFORMED


def test_records_of_another_network_are_refused(trust: Trust) -> None:
    """The same keys in two networks cannot carry a record from one to the other."""
    foreign = bytes(16)
    certificate = create_certificate(ISSUING, foreign, CERTIFICATE)
    issuer = create_issuer(AUTHORITY, foreign, ISSUER)
    for data in (
        member_record(certificate=certificate),
        member_record(issuer=issuer),
        create_member_record(
            MEMBER_SIGNING,
            foreign,
            certificate=certificate_envelope(),
            issuer=issuer_envelope(),
            member=MEMBER,
        ),
    ):
        assert refusal(trust.verify_member, data, wall=WALL) is Refusal.BAD_SIGNATURE


@pytest.mark.parametrize("data", [b"", b"\x90", bytes(1101), b"\xdd\xff\xff\xff\xff"])
def test_bytes_that_are_no_record_are_malformed(trust: Trust, data: bytes) -> None:
    """By every entry."""
    member = trust.verify_member(member_record(), wall=WALL)
    for act in (
        lambda: trust.add_charter(data),
        lambda: trust.verify_member(data, wall=WALL),
        lambda: trust.verify_revocation(data),
        lambda: trust.verify_policy(data),
        lambda: trust.verify_endpoints(data, member),
    ):
        assert refusal(act) is Refusal.MALFORMED


def test_every_changed_bit_of_a_member_record_is_refused(trust: Trust) -> None:
    """All of it is signed by somebody; the last good state stays what it is."""
    data = member_record()
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordRefused):
            trust.verify_member(bytes(changed), wall=WALL)
    assert trust.verify_member(data, wall=WALL).member == MEMBER


@pytest.mark.parametrize(
    ("wall", "reason"),
    [
        (WALL - 301, Refusal.NOT_YET_VALID),
        (WALL - 300, None),
        (WALL + 30 * DAY + 300, None),
        (WALL + 30 * DAY + 301, Refusal.EXPIRED),
        (None, None),
    ],
)
def test_certificates_have_their_time(
    trust: Trust, wall: int | None, reason: Refusal | None
) -> None:
    """With 300 s of skew; None asks for everything but the time."""
    if reason is None:
        assert trust.verify_member(member_record(), wall=wall)
    else:
        assert refusal(trust.verify_member, member_record(), wall=wall) is reason


def test_a_known_issuer_still_has_its_time(trust: Trust) -> None:
    """That its signature was verified once does not keep it valid."""
    envelope = parse_envelope(issuer_envelope())
    assert trust.verify_issuer(envelope, wall=WALL) == ISSUER
    late = ISSUER.not_after + 301
    assert refusal(trust.verify_issuer, envelope, wall=late) is Refusal.EXPIRED
    assert trust.verify_issuer(envelope, wall=None) == ISSUER


def test_an_issuer_is_verified_once(
    trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its envelope comes with every record; only its first costs a verification."""
    opened: list[Kind] = []

    def count(network_id: bytes, envelope: Envelope, decode: Any) -> Any:
        opened.append(envelope.kind)
        return open_signed(network_id, envelope, decode)

    monkeypatch.setattr("meshnode.mesh.trust.open_signed", count)
    for _ in range(3):
        trust.verify_member(member_record(), wall=WALL)
    assert opened.count(Kind.ISSUER) == 1
    assert opened.count(Kind.CERTIFICATE) == 3


def test_a_known_issuer_does_not_vouch_for_a_changed_one(trust: Trust) -> None:
    """What is kept is kept by all its bytes."""
    envelope = parse_envelope(issuer_envelope())
    trust.verify_issuer(envelope, wall=WALL)
    for changed in (
        replace(envelope, signature=bytes(64)),
        replace(envelope, body=parse_envelope(issuer_envelope(groups=())).body),
    ):
        assert refusal(trust.verify_issuer, changed, wall=WALL) is Refusal.BAD_SIGNATURE


def test_known_issuers_are_bounded(trust: Trust) -> None:
    """The oldest is forgotten, and simply verified again when it comes again."""
    first = parse_envelope(issuer_envelope())
    trust.verify_issuer(first, wall=WALL)
    revocation = create_revocation(
        ISSUING, NETWORK_ID, Revocation(wireguard_key(5), WALL, WALL + DAY, "")
    )
    assert trust.verify_revocation(revocation)
    for number in range(MAX_KNOWN_ISSUERS):
        other = issuer_envelope(issuing_key=(number + 1).to_bytes(32, "big"))
        trust.verify_issuer(parse_envelope(other), wall=WALL)
    assert refusal(trust.verify_revocation, revocation) is Refusal.UNKNOWN_SIGNER
    trust.verify_issuer(first, wall=WALL)
    assert trust.verify_revocation(revocation)


def test_a_new_charter_ends_the_issuers_of_authorities_that_left(trust: Trust) -> None:
    """What a removed authority signed counts for nothing from then on."""
    second = signing_key(42)
    trust.verify_member(member_record(), wall=WALL)
    both = next_charter(
        trust.charter,
        AUTHORITY,
        name="home",
        authorities=(AUTHORITY.public, second.public),
        created=WALL,
    )
    trust.add_charter(both)
    assert trust.verify_member(member_record(), wall=WALL)
    trust.add_charter(
        next_charter(
            trust.charter,
            second,
            name="home",
            authorities=(second.public,),
            created=WALL,
        )
    )
    assert (
        refusal(trust.verify_member, member_record(), wall=WALL)
        is Refusal.NOT_AUTHORITY
    )
    revoked = create_revocation(
        ISSUING, NETWORK_ID, Revocation(wireguard_key(3), WALL, WALL + DAY, "")
    )
    assert refusal(trust.verify_revocation, revoked) is Refusal.UNKNOWN_SIGNER
    assert trust.verify_member(member_record(issuer=issuer_envelope(second)), wall=WALL)


REVOCATION = Revocation(wireguard_key(3), WALL, WALL + 60 * DAY, "stolen")
REVOKED = (AUTHORITY, NETWORK_ID, REVOCATION)


def test_an_authority_revokes(trust: Trust) -> None:
    """Its revocation says so."""
    data = create_revocation(*REVOKED)
    verified = trust.verify_revocation(data)
    assert verified.revocation == REVOCATION
    assert verified.signer == AUTHORITY.public
    assert verified.by_authority
    assert verified.data == data
    assert verified.version == REVOCATION.until


def test_an_issuer_revokes_once_it_is_known(trust: Trust) -> None:
    """The signer is told, so that only what it certified is revoked by it."""
    data = create_revocation(ISSUING, NETWORK_ID, REVOCATION)
    assert refusal(trust.verify_revocation, data) is Refusal.UNKNOWN_SIGNER
    trust.verify_member(member_record(), wall=WALL)
    verified = trust.verify_revocation(data)
    assert not verified.by_authority
    assert verified.signer == ISSUING.public


def test_revocations_by_two_signers_are_two_records(trust: Trust) -> None:
    """An issuer cannot push another's revocation out of the set."""
    trust.verify_member(member_record(), wall=WALL)
    one = trust.verify_revocation(create_revocation(*REVOKED))
    other = trust.verify_revocation(create_revocation(ISSUING, NETWORK_ID, REVOCATION))
    assert one.id != other.id


@pytest.mark.parametrize("signer", [MEMBER_SIGNING, STRANGER])
def test_nobody_else_revokes(trust: Trust, signer: Any) -> None:
    """Neither a member, not even itself, nor a stranger."""
    trust.verify_member(member_record(), wall=WALL)
    data = create_revocation(signer, NETWORK_ID, REVOCATION)
    assert refusal(trust.verify_revocation, data) is Refusal.UNKNOWN_SIGNER


def test_a_revocation_ends_after_it_begins(trust: Trust) -> None:
    """One that never counts is refused."""
    data = create_revocation(AUTHORITY, NETWORK_ID, replace(REVOCATION, until=WALL))
    assert refusal(trust.verify_revocation, data) is Refusal.BAD_VALIDITY


POLICY = Policy(3, '[[allow]]\nfrom = "staff"\n')


def test_an_authority_sets_the_policy(trust: Trust) -> None:
    """However long it is, within its limit."""
    for policy in (POLICY, replace(POLICY, text="# " + "a" * 60_000)):
        data = create_policy(AUTHORITY, NETWORK_ID, policy)
        assert trust.verify_policy(data) == policy


def test_an_issuer_sets_the_policy_if_it_may(trust: Trust) -> None:
    """It has to be known, and to have the role."""
    data = create_policy(ISSUING, NETWORK_ID, POLICY)
    assert refusal(trust.verify_policy, data) is Refusal.UNKNOWN_SIGNER
    trust.verify_issuer(parse_envelope(issuer_envelope()), wall=WALL)
    assert refusal(trust.verify_policy, data) is Refusal.ROLE_NOT_GRANTED
    renewed = issuer_envelope(roles=ISSUER.roles | Role.POLICY)
    trust.verify_issuer(parse_envelope(renewed), wall=WALL)
    assert trust.verify_policy(data) == POLICY


def test_a_forged_policy_is_refused(trust: Trust) -> None:
    """An authority's name alone signs nothing."""
    forged = replace(
        parse_envelope(create_policy(STRANGER, NETWORK_ID, POLICY)),
        signer=AUTHORITY.public,
    )
    data = serialise_envelope(forged)
    assert refusal(trust.verify_policy, data) is Refusal.BAD_SIGNATURE


ENDPOINTS = Endpoints(
    CERTIFICATE.wireguard_key, 7, (Endpoint("192.0.2.1", 1), Endpoint("10.0.0.2", 2))
)


def test_a_member_says_where_it_is(trust: Trust) -> None:
    """In the order it likes best."""
    member = trust.verify_member(member_record(), wall=WALL)
    data = create_endpoints(MEMBER_SIGNING, NETWORK_ID, ENDPOINTS)
    assert trust.verify_endpoints(data, member) == ENDPOINTS


@pytest.mark.parametrize("signer", [AUTHORITY, ISSUING, STRANGER])
def test_nobody_else_says_where_a_member_is(trust: Trust, signer: Any) -> None:
    """Not even who certified it."""
    member = trust.verify_member(member_record(), wall=WALL)
    data = create_endpoints(signer, NETWORK_ID, ENDPOINTS)
    assert refusal(trust.verify_endpoints, data, member) is Refusal.WRONG_MEMBER


def test_a_member_does_not_say_where_others_are(trust: Trust) -> None:
    """The key in the record is the member's own."""
    member = trust.verify_member(member_record(), wall=WALL)
    other = replace(ENDPOINTS, wireguard_key=wireguard_key(4))
    data = create_endpoints(MEMBER_SIGNING, NETWORK_ID, other)
    assert refusal(trust.verify_endpoints, data, member) is Refusal.WRONG_MEMBER


def test_a_stock_member_has_no_endpoint_record(trust: Trust) -> None:
    """A signature by the key of zeros does not verify, however it is made."""
    member = trust.verify_member(stock_record(), wall=WALL)
    body = msgpack.packb([STOCK.wireguard_key, 1, []])
    for signature in (bytes(64), b"\x01" + bytes(63)):
        forged = Envelope(Kind.ENDPOINTS, bytes(32), signature, body)
        data = serialise_envelope(forged)
        assert refusal(trust.verify_endpoints, data, member) is Refusal.BAD_SIGNATURE
