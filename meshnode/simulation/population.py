"""A network's authority, issuer and members, with real signed records.

Signatures are verified once for all simulated nodes (`SharedTrust`): verifying each
record on each node would cost the square of the network's size and show nothing.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

from meshnode.codec.records import Certificate, Issuer, Member, Revocation, Role, Route
from meshnode.crypto.signing import SigningKey
from meshnode.mesh.documents import (
    create_certificate,
    create_charter,
    create_issuer,
    create_member_record,
    create_revocation,
    create_stock_record,
)
from meshnode.mesh.trust import (
    Trust,
    VerifiedMember,
    VerifiedRevocation,
    network_id_of,
)
from meshnode.types import Prefix

EPOCH: Final = 1_700_000_000
"""Wall time at the beginning of every simulated network."""

LIFETIME: Final = 90 * 86400
_CIDR: Final = Prefix.parse("10.0.0.0/8")


class SharedTrust(Trust):
    """Trust of all simulated nodes at once: what one verified, all have verified."""

    def __init__(self, network_id: bytes) -> None:
        super().__init__(network_id)
        self._members: dict[bytes, VerifiedMember] = {}
        self._revocations: dict[bytes, VerifiedRevocation] = {}

    def verify_member(self, data: bytes, *, wall: int | None) -> VerifiedMember:
        """As `Trust` does; *wall* is left out, as gossip leaves it."""
        known = self._members.get(data)
        if known is None:
            known = self._members[data] = super().verify_member(data, wall=None)
        return known

    def verify_revocation(self, data: bytes) -> VerifiedRevocation:
        """As `Trust` does."""
        known = self._revocations.get(data)
        if known is None:
            known = self._revocations[data] = super().verify_revocation(data)
        return known


@dataclass(slots=True)
class Person:
    """A member: its keys, certificate and the version of its last record."""

    key: bytes
    signing_key: SigningKey
    certificate: bytes
    issuer: bytes
    version: int = 0


class Population:
    """Makes members of one network, all from the seed of *random*."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._count = 0
        self.authority = SigningKey(random.randbytes(32))
        self.issuing = SigningKey(random.randbytes(32))
        self.network_id = network_id_of(self.authority.public)
        self.trust = SharedTrust(self.network_id)
        self.charter = create_charter(
            self.authority, name="scale", cidr=_CIDR, created=EPOCH - LIFETIME
        )
        self.trust.add_charter(self.charter)
        self.issuer = self.create_issuer(self.issuing)

    def create_issuer(self, issuing: SigningKey) -> bytes:
        """Return the envelope by which the authority lets *issuing* certify."""
        grant = Issuer(
            issuing.public,
            "issuer",
            (_CIDR,),
            (),
            (Prefix.parse("192.168.0.0/16"),),
            Role.RENDEZVOUS | Role.STOCK,
            LIFETIME,
            EPOCH - LIFETIME,
            EPOCH + 10 * LIFETIME,
        )
        return create_issuer(self.authority, self.network_id, grant)

    def add(
        self, *, role: Role = Role.NONE, certificate: Certificate | None = None
    ) -> Person:
        """Return a new member, of that *certificate* if one is given."""
        self._count += 1
        signing_key = SigningKey(self._random.randbytes(32))
        if certificate is None:
            certificate = self._certificate(signing_key, role)
        envelope = create_certificate(self.issuing, self.network_id, certificate)
        return Person(certificate.wireguard_key, signing_key, envelope, self.issuer)

    def word(
        self,
        person: Person,
        *,
        version: int | None = None,
        routes: tuple[Route, ...] = (),
        has_left: bool = False,
    ) -> bytes:
        """Return the next record of *person*, or the one with that version."""
        person.version = person.version + 1 if version is None else version
        return create_member_record(
            person.signing_key,
            self.network_id,
            certificate=person.certificate,
            issuer=person.issuer,
            member=Member(person.version, routes, has_left),
        )

    def stock_record(self, gateway: bytes) -> bytes:
        """Return the record of a new member that runs no node, behind *gateway*."""
        self._count += 1
        certificate = self._certificate(None, Role.STOCK, (gateway,))
        return create_stock_record(
            certificate=create_certificate(self.issuing, self.network_id, certificate),
            issuer=self.issuer,
        )

    def revocation(
        self, subject: bytes, signer: SigningKey | None = None, *, at: int = EPOCH
    ) -> bytes:
        """Return a revocation by the authority, or by another *signer*."""
        revocation = Revocation(subject, at, at + 2 * LIFETIME, "stolen")
        return create_revocation(signer or self.authority, self.network_id, revocation)

    def _certificate(
        self,
        signing_key: SigningKey | None,
        role: Role,
        gateways: tuple[bytes, ...] = (),
    ) -> Certificate:
        # Not the first address, which no host may have.
        address = (_CIDR.network + 1 + self._count).to_bytes(4, "big")
        return Certificate(
            serial=self._random.randbytes(16),
            name=f"member-{self._count}",
            wireguard_key=self._random.randbytes(32),
            signing_key=signing_key.public if signing_key else bytes(32),
            ipv4=address,
            subnets=(),
            groups=(),
            roles=role,
            gateways=gateways,
            not_before=EPOCH - 3600,
            not_after=EPOCH - 3600 + LIFETIME,
            member_since=EPOCH - 3600,
        )
