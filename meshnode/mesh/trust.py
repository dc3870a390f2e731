"""Who may say what: signatures, charters and grants, for every kind of record.

A record is verified from the outside in: its envelope is parsed, then its signature
verified, and only then its body decoded and judged. Refusing one changes nothing.
Nothing here knows which records a node holds, which of two is newer, or who is
revoked; that is for the set of records, which finds all it needs in the results.
"""

from typing import Final

from meshnode.codec.record_bytes import (
    decode_certificate,
    decode_endpoints,
    decode_issuer,
    decode_member,
    decode_policy,
    decode_revocation,
    parse_member_record,
)
from meshnode.codec.records import (
    Certificate,
    Charter,
    Endpoints,
    Envelope,
    Issuer,
    Kind,
    Member,
    Policy,
    Revocation,
    Role,
)
from meshnode.errors import CodecError
from meshnode.mesh.charters import CharterChain
from meshnode.mesh.envelopes import open_signed, parse_signed, require_kind
from meshnode.mesh.grants import (
    require_certified_routes,
    require_granted,
    require_in_time,
    require_sound_certificate,
    require_sound_issuer,
)
from meshnode.mesh.identifiers import (
    NETWORK_ID_BYTES,
    network_id_of,
    overlay_ipv6,
    record_id,
    ula_prefix,
)
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.types import Prefix
from meshnode.values import frozen

__all__ = [
    "Trust",
    "VerifiedCertificate",
    "VerifiedMember",
    "VerifiedRevocation",
    "network_id_of",
    "overlay_ipv6",
    "record_id",
    "ula_prefix",
]

MAX_KNOWN_ISSUERS: Final = 256
"""Verified issuers that are kept, since each comes again with every record."""


@frozen
class VerifiedCertificate:
    """A certificate that a valid issuer, or the authority `signer` itself, gave."""

    certificate: Certificate
    issuer: Issuer | None
    signer: bytes


@frozen
class VerifiedMember:
    """A member record all of whose signatures and grants hold.

    `signer` is the key that signed the certificate; `member` is None for a stock
    member. `data` is the record's bytes, `id` what names it in the set, `key` the
    WireGuard key, `addresses` the overlay's /32 and /128.

    `version` is the member's own, which grows with every change and so with every
    renewal, because a new certificate needs a new signature of the member. A stock
    member signs nothing: there the renewed certificate begins later, so `version` is
    its `not_before`.
    """

    certificate: Certificate
    issuer: Issuer | None
    signer: bytes
    member: Member | None
    data: bytes
    id: bytes
    key: bytes
    addresses: tuple[Prefix, Prefix]
    version: int


@frozen
class VerifiedRevocation:
    """A revocation by an authority, or by an issuer that we know.

    An issuer revokes only what it certified: compare `signer` with that of the
    member's certificate. `id` is over subject and signer, so that an issuer which
    revokes what is not its own displaces nobody's revocation; `version` is `until`,
    so that of two by the same signer the one that lasts longer counts.
    """

    revocation: Revocation
    signer: bytes
    by_authority: bool
    data: bytes
    id: bytes
    version: int


class Trust:
    """What one network's members believe, from its id (16 bytes) upwards.

    Everything but the charters may be verified in any order and as often as one
    likes, except that revocations and policies signed by an issuer are refused
    (`UNKNOWN_SIGNER`) until a record has shown that issuer.
    """

    def __init__(self, network_id: bytes) -> None:
        if len(network_id) != NETWORK_ID_BYTES:
            raise ValueError(f"a network id has {NETWORK_ID_BYTES} bytes")
        self.network_id = network_id
        self._ula = ula_prefix(network_id)
        self._charters = CharterChain(network_id)
        self._issuers: dict[Envelope, Issuer] = {}

    @property
    def charter(self) -> Charter:
        """The charter in force; raises `RecordRefused` if there is none yet."""
        return self._charters.latest

    def chain(self) -> tuple[bytes, ...]:
        """Return the charter envelopes, from version 1 to the one in force."""
        return self._charters.envelopes()

    def add_charter(self, data: bytes) -> bool:
        """Take the next charter; return False if it is known already.

        Raises:
            RecordRefused: see `CharterChain.add`.
        """
        is_new = self._charters.add(data)
        if is_new:
            # Who signed for an issuer may be no authority any more.
            self._issuers = {
                envelope: issuer
                for envelope, issuer in self._issuers.items()
                if envelope.signer in self.charter.authorities
            }
        return is_new

    def verify_issuer(self, envelope: Envelope, *, wall: int | None) -> Issuer:
        """Return what the issuer in *envelope* may grant.

        *wall* is seconds; None leaves the time out.

        Raises:
            RecordRefused: if no authority signed it, or it grants what is not the
                network's, or it is not valid at *wall*.
        """
        charter = self.charter
        issuer = self._issuers.get(envelope)
        if issuer is None:
            require_kind(envelope, Kind.ISSUER)
            self._require_authority(envelope)
            issuer = open_signed(self.network_id, envelope, decode_issuer)
            require_sound_issuer(issuer, charter)
            if len(self._issuers) >= MAX_KNOWN_ISSUERS:
                del self._issuers[next(iter(self._issuers))]
            self._issuers[envelope] = issuer
        require_in_time(issuer.not_before, issuer.not_after, wall=wall)
        return issuer

    def verify_certificate(
        self, certificate: Envelope, issuer: Envelope | None, *, wall: int | None
    ) -> VerifiedCertificate:
        """Return a certificate with the issuer that gave it.

        *issuer* is None if an authority signed the certificate. *wall* is seconds;
        None leaves the time out.

        Raises:
            RecordRefused: if either is not signed as it must be, grants more than
                it may, or is not valid at *wall*.
        """
        charter = self.charter
        require_kind(certificate, Kind.CERTIFICATE)
        granter = None
        if issuer is None:
            self._require_authority(certificate)
        elif certificate.signer in charter.authorities:
            # Two spellings of one record would be two records.
            raise RecordRefused(Refusal.NEEDLESS_ISSUER)
        else:
            granter = self.verify_issuer(issuer, wall=wall)
            if certificate.signer != granter.issuing_key:
                raise RecordRefused(Refusal.WRONG_ISSUER)
        body = open_signed(self.network_id, certificate, decode_certificate)
        require_sound_certificate(body, charter, self._ula)
        if granter is not None:
            require_granted(body, granter)
        require_in_time(body.not_before, body.not_after, wall=wall)
        return VerifiedCertificate(body, granter, certificate.signer)

    def verify_member(self, data: bytes, *, wall: int | None) -> VerifiedMember:
        """Return the member whose record *data* is.

        *wall* is seconds; None leaves the time out, for a record that is judged
        again as time passes.

        Raises:
            RecordRefused: with the first rule broken, from the issuer inwards.
        """
        try:
            record = parse_member_record(data)
        except CodecError:
            raise RecordRefused(Refusal.MALFORMED) from None
        verified = self.verify_certificate(record.certificate, record.issuer, wall=wall)
        certificate = verified.certificate
        member = self._verify_word(record.member, certificate)
        key = certificate.wireguard_key
        ipv4 = int.from_bytes(certificate.ipv4, "big")
        ipv6 = int.from_bytes(overlay_ipv6(self.network_id, key), "big")
        return VerifiedMember(
            certificate=certificate,
            issuer=verified.issuer,
            signer=verified.signer,
            member=member,
            data=data,
            id=record_id(Kind.MEMBER, key),
            key=key,
            addresses=(Prefix(4, ipv4, 32), Prefix(6, ipv6, 128)),
            version=certificate.not_before if member is None else member.version,
        )

    def verify_revocation(self, data: bytes) -> VerifiedRevocation:
        """Return the revocation whose envelope *data* is.

        Raises:
            RecordRefused: also if the signer is an issuer not known (yet).
        """
        authorities = self.charter.authorities
        envelope = parse_signed(data, Kind.REVOCATION)
        by_authority = envelope.signer in authorities
        if not by_authority and not self._known_issuers(envelope.signer):
            raise RecordRefused(Refusal.UNKNOWN_SIGNER)
        revocation = open_signed(self.network_id, envelope, decode_revocation)
        if revocation.until <= revocation.revoked_at:
            raise RecordRefused(Refusal.BAD_VALIDITY)
        return VerifiedRevocation(
            revocation=revocation,
            signer=envelope.signer,
            by_authority=by_authority,
            data=data,
            id=record_id(Kind.REVOCATION, revocation.subject + envelope.signer),
            version=revocation.until,
        )

    def verify_policy(self, data: bytes) -> Policy:
        """Return the policy whose envelope *data* is.

        Raises:
            RecordRefused: also if the signer is an issuer not known (yet), or one
                without the role `policy`.
        """
        authorities = self.charter.authorities
        envelope = parse_signed(data, Kind.POLICY)
        if envelope.signer not in authorities:
            issuers = self._known_issuers(envelope.signer)
            if not issuers:
                raise RecordRefused(Refusal.UNKNOWN_SIGNER)
            if not any(Role.POLICY in issuer.roles for issuer in issuers):
                raise RecordRefused(Refusal.ROLE_NOT_GRANTED)
        return open_signed(self.network_id, envelope, decode_policy)

    def verify_endpoints(self, data: bytes, member: VerifiedMember) -> Endpoints:
        """Return the endpoint record of *member* whose envelope *data* is.

        Raises:
            RecordRefused: if it is not signed by this member, or not about it.
        """
        certificate = member.certificate
        envelope = parse_signed(data, Kind.ENDPOINTS)
        if envelope.signer != certificate.signing_key:
            raise RecordRefused(Refusal.WRONG_MEMBER)
        endpoints = open_signed(self.network_id, envelope, decode_endpoints)
        if endpoints.wireguard_key != certificate.wireguard_key:
            raise RecordRefused(Refusal.WRONG_MEMBER)
        return endpoints

    def _verify_word(
        self, envelope: Envelope | None, certificate: Certificate
    ) -> Member | None:
        if Role.STOCK in certificate.roles:
            if envelope is not None:
                raise RecordRefused(Refusal.BAD_STOCK)
            return None
        if envelope is None:
            raise RecordRefused(Refusal.NO_MEMBER)
        require_kind(envelope, Kind.MEMBER)
        if envelope.signer != certificate.signing_key:
            raise RecordRefused(Refusal.WRONG_MEMBER)
        member = open_signed(self.network_id, envelope, decode_member)
        require_certified_routes(member, certificate)
        return member

    def _known_issuers(self, issuing_key: bytes) -> list[Issuer]:
        # More than one if an authority renewed it.
        return [i for i in self._issuers.values() if i.issuing_key == issuing_key]

    def _require_authority(self, envelope: Envelope) -> None:
        if envelope.signer not in self.charter.authorities:
            raise RecordRefused(Refusal.NOT_AUTHORITY)
