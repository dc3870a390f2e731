"""Make a certificate, or say why not; nothing changes either way.

What must be unique (name and address) is looked for in what this node knows of the
network and in what this issuer has given away itself, which others may not know yet.
"""

from collections.abc import Iterable
from typing import Final

from meshnode.codec.names import check_label
from meshnode.codec.record_bytes import parse_envelope
from meshnode.codec.records import MAX_ENVELOPE_BYTES, Certificate, Issuer
from meshnode.crypto.signing import SigningKey
from meshnode.errors import CodecError, ConfigError
from meshnode.mesh.addresses import allot_address, free_ranges
from meshnode.mesh.directory import Directory
from meshnode.mesh.documents import create_certificate
from meshnode.mesh.grants import may_grant_groups
from meshnode.mesh.invites import Grant
from meshnode.mesh.issued import Issued, IssuedLedger
from meshnode.mesh.prefixes import contains
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.trust import Trust
from meshnode.types import Prefix
from meshnode.values import frozen

ROOM_FOR_MEMBER: Final = 300
"""Bytes of a member record that are left for the member's own word."""


@frozen
class Subject:
    """Whom a certificate is for: both keys, and gateways for a stock member.

    `signing_key` is zeros for a stock member, which alone has gateways: WireGuard
    keys of 1–3 members.
    """

    wireguard_key: bytes
    signing_key: bytes
    gateways: tuple[bytes, ...] = ()


class CertificateRefusedError(Exception):
    """No certificate, and why: `code` for programs, the text for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Certifier:
    """One issuing key, and what an authority lets it certify.

    Args:
        trust: of the network, with its charters.
        signing_key: the issuing key.
        issuer: the envelope in which an authority names it.
        directory: the members, as this node knows them.
        ledger: what this issuer has given away.

    Raises:
        ConfigError: if *issuer* is not for this key or not of this network.
    """

    def __init__(
        self,
        *,
        trust: Trust,
        signing_key: SigningKey,
        issuer: bytes,
        directory: Directory,
        ledger: IssuedLedger,
    ) -> None:
        try:
            self._envelope = parse_envelope(issuer)
            self.issuer = trust.verify_issuer(self._envelope, wall=None)
        except (CodecError, RecordRefused) as error:
            raise ConfigError(f"the issuer's permission is no good: {error}") from None
        if self.issuer.issuing_key != signing_key.public:
            raise ConfigError("the issuer's permission is for another issuing key")
        self.issuer_data = issuer
        self.signing_key = signing_key
        self.network_id = trust.network_id
        self._trust = trust
        self._directory = directory
        self._ledger = ledger
        self._delegated: tuple[Issuer, ...] = ()

    def set_delegated(self, envelopes: Iterable[bytes]) -> None:
        """Leave the pools of these permissions alone, whether they are used or not.

        What is no permission of this network's is ignored.
        """
        found = []
        for data in envelopes:
            try:
                issuer = self._trust.verify_issuer(parse_envelope(data), wall=None)
            except (CodecError, RecordRefused):
                continue
            found.append(issuer)
        self._delegated = tuple(found)

    def check_grant(self, grant: Grant) -> None:
        """Refuse what this issuer may not grant, before an invite promises it.

        Raises:
            ConfigError: with what is too much.
        """
        issuer = self.issuer
        strange = [g for g in grant.groups if not may_grant_groups((g,), issuer)]
        if strange:
            raise ConfigError(f"this issuer may not grant the group {strange[0]}")
        for subnet in grant.subnets:
            if not any(contains(granted, subnet) for granted in issuer.subnets):
                raise ConfigError(f"this issuer may not grant the subnet {subnet}")
        if grant.roles & ~issuer.roles:
            raise ConfigError("this issuer may not grant all of these roles")
        if grant.lifetime > issuer.max_lifetime:
            raise ConfigError(
                f"this issuer may not certify for more than {issuer.max_lifetime} s"
            )

    def certify(
        self, serial: bytes, name: str, subject: Subject, grant: Grant, wall: int
    ) -> Issued:
        """Return a certificate for *subject* named *name*, with what *grant* says.

        A member that has one keeps its address and since when it is a member.

        Raises:
            CertificateRefusedError: `revoked`, `bad-request`, `name-taken`,
                `key-taken`, `no-address` or `not-granted`.
        """
        self.require_unrevoked(subject)
        self._require_own_key(subject, wall)
        self._require_free_name(name, subject.wireguard_key, wall)
        begin = max(wall, self.issuer.not_before)
        certificate = Certificate(
            serial=serial,
            name=name,
            wireguard_key=subject.wireguard_key,
            signing_key=subject.signing_key,
            ipv4=self._address_for(subject.wireguard_key, wall),
            subnets=grant.subnets,
            groups=grant.groups,
            roles=grant.roles,
            gateways=subject.gateways,
            not_before=begin,
            not_after=min(begin + grant.lifetime, self.issuer.not_after),
            member_since=self._member_since(subject.wireguard_key, wall),
        )
        try:
            data = create_certificate(self.signing_key, self.network_id, certificate)
            # What others would refuse is not even stored.
            envelope = parse_envelope(data)
            self._trust.verify_certificate(envelope, self._envelope, wall=wall)
        except (CodecError, RecordRefused) as error:
            text = f"the certificate would not be valid: {error}"
            raise CertificateRefusedError("not-granted", text) from None
        room = MAX_ENVELOPE_BYTES - ROOM_FOR_MEMBER - len(self.issuer_data)
        if len(data) > room:
            raise CertificateRefusedError(
                "not-granted", "too many groups or subnets in one"
            )
        return Issued(certificate, data)

    def require_unrevoked(self, subject: Subject) -> None:
        """Refuse a subject one of whose keys was revoked, or ours; `revoked`."""
        if self._directory.is_revoked(self.signing_key.public):
            raise CertificateRefusedError(
                "revoked", "this issuer was revoked; ask another one"
            )
        for key in (subject.wireguard_key, subject.signing_key):
            if self._directory.is_revoked(key):
                raise CertificateRefusedError(
                    "revoked", "the key was revoked; make new ones"
                )

    def _require_own_key(self, subject: Subject, wall: int) -> None:
        # Who may certify somebody else's WireGuard key for his own signing key could
        # take that member's place.
        for certificate in self._certificates_of(subject.wireguard_key, wall):
            if certificate.signing_key != subject.signing_key:
                raise CertificateRefusedError(
                    "key-taken", "a member has this WireGuard key; make new keys"
                )

    def _require_free_name(self, name: str, key: bytes, wall: int) -> None:
        try:
            check_label(name, "the name")
        except ConfigError as error:
            raise CertificateRefusedError("bad-request", str(error)) from None
        holder = self._directory.key_with_name(name)
        holders = [] if holder is None else [holder]
        holders += [
            one.certificate.wireguard_key
            for one in self._ledger.with_name(name, wall=wall)
        ]
        # A lost host is revoked, and its name is free at once.
        if any(
            holder != key and not self._directory.is_revoked(holder)
            for holder in holders
        ):
            raise CertificateRefusedError(
                "name-taken", f"the name {name} is taken; give another"
            )

    def _address_for(self, key: bytes, wall: int) -> bytes:
        cidr = self._trust.charter.cidr
        ranges = free_ranges(self.issuer.pools, self._others_pools(), cidr)

        def is_taken(address: int) -> bool:
            ipv4 = address.to_bytes(4, "big")
            holder = self._directory.key_with_address(ipv4)
            return (holder is not None and holder != key) or any(
                one.certificate.wireguard_key != key
                for one in self._ledger.with_address(ipv4, wall=wall)
            )

        for certificate in self._certificates_of(key, wall):
            present = int.from_bytes(certificate.ipv4, "big")
            if any(present in one for one in ranges) and not is_taken(present):
                return certificate.ipv4
        address = allot_address(key, ranges, is_taken)
        if address is None:
            raise CertificateRefusedError(
                "no-address", "all addresses of this issuer are taken"
            )
        return address.to_bytes(4, "big")

    def _others_pools(self) -> tuple[Prefix, ...]:
        # What was split off our pools; who has more than we have took nothing off.
        return tuple(
            [
                pool
                for other in (*self._directory.issuers(), *self._delegated)
                if other.issuing_key != self.issuer.issuing_key
                for pool in other.pools
                if not any(contains(pool, ours) for ours in self.issuer.pools)
            ]
        )

    def _member_since(self, key: bytes, wall: int) -> int:
        return min(
            (one.member_since for one in self._certificates_of(key, wall)),
            default=wall,
        )

    def _certificates_of(self, key: bytes, wall: int) -> Iterable[Certificate]:
        member = self._directory.member(key)
        if member is not None:
            yield member.certificate
        for issued in self._ledger.of_key(key, wall=wall):
            yield issued.certificate
