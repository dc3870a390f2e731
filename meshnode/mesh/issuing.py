"""Issue certificates: to joiners with an invite, to members that renew, by hand.

Every decision is taken before anything changes; then the ledger, the invite and what
is to be stored change together. So a refusal leaves no trace, and whoever was given
a certificate finds the same one again after a crash.

The serial of a joiner's certificate is a hash of its key and the invite's: asking
again finds the same ledger entry, and no list of who joined by which invite is kept.
"""

from typing import Final

from meshnode.codec.messages import JoinReply, JoinRequest, Refused, Renewed
from meshnode.codec.records import MAX_REASON_BYTES, Certificate, Revocation, Role
from meshnode.crypto.primitives import short_hash
from meshnode.errors import CodecError, ConfigError
from meshnode.mesh.admission import Admissions
from meshnode.mesh.certifier import CertificateRefusedError, Certifier, Subject
from meshnode.mesh.directory import Directory
from meshnode.mesh.documents import create_revocation
from meshnode.mesh.events import InviteUsed
from meshnode.mesh.grants import VALIDITY_SKEW
from meshnode.mesh.invites import DEFAULT_LIFETIME, Grant, Invites
from meshnode.mesh.issued import Issued, IssuedLedger
from meshnode.mesh.join_request import is_signed
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import KeepIssued
from meshnode.mesh.trust import VerifiedMember
from meshnode.ports import Entropy

SERIAL_BYTES: Final = 16

_SERIAL_LABEL: Final = b"meshnode/1 serial"
_REASONS: Final = {
    "unknown": "this issuer does not know the invite; ask for another",
    "used": "the invite is used up; ask for another",
    "expired": "the invite has expired; ask for another",
    "revoked": "the invite was revoked; ask for another",
}


class Issuing:
    """One issuing key at work.

    Args:
        certifier: makes the certificates.
        directory: the members, as this node knows them.
        admissions: who may ask to join.
        invites: the invites of this issuer.
        ledger: what it has issued; the certifier reads the same.
        outbox: takes what is to be stored and told.
        entropy: for serials.
    """

    def __init__(
        self,
        certifier: Certifier,
        *,
        directory: Directory,
        admissions: Admissions,
        invites: Invites,
        ledger: IssuedLedger,
        outbox: Outbox,
        entropy: Entropy,
    ) -> None:
        self._certifier = certifier
        self._directory = directory
        self._admissions = admissions
        self._invites = invites
        self._ledger = ledger
        self._outbox = outbox
        self._entropy = entropy

    def join(
        self, request: JoinRequest, joiner_key: bytes, *, now: float, wall: int
    ) -> JoinReply | Refused:
        """Answer *request*, which came in a session with *joiner_key*.

        The refusals are `unknown`, `used`, `expired` and `revoked` for the invite,
        `name-taken`, `key-taken`, `no-address`, `not-granted`, and `bad-request`.
        """
        try:
            issued = self._join(request, joiner_key, now, wall)
        except CertificateRefusedError as refusal:
            return Refused(refusal.code, str(refusal))
        return JoinReply(issued.data, self._certifier.issuer_data)

    def renew(self, key: bytes, *, now: float, wall: int) -> Renewed | Refused:
        """Give the member with *key* a later certificate of the same content.

        One that has passed less than a third of its life is given again instead, so
        that a lost answer does not make another. The refusals are `unknown`,
        `revoked`, `stock` and `not-granted`.
        """
        try:
            issued = self._renew(key, now, wall)
        except CertificateRefusedError as refusal:
            return Refused(refusal.code, str(refusal))
        return Renewed(issued.data, self._certifier.issuer_data)

    def issue(
        self, subject: Subject, grant: Grant, *, now: float, wall: int
    ) -> JoinReply:
        """Certify *subject* at once, by the word of whoever runs this issuer.

        A member that has a certificate already keeps its address; at its next renewal
        it gets the new content.

        Raises:
            ConfigError: if it cannot be, with the reason.
        """
        for gateway in subject.gateways:
            member = self._directory.member(gateway)
            if member is None or Role.STOCK in member.certificate.roles:
                raise ConfigError("a gateway is no member that can carry others")
        try:
            serial = self._entropy(SERIAL_BYTES)
            issued = self._certifier.certify(serial, grant.name, subject, grant, wall)
        except CertificateRefusedError as refusal:
            raise ConfigError(str(refusal)) from None
        self._commit(issued, now)
        return JoinReply(issued.data, self._certifier.issuer_data)

    def revoke(self, key: bytes, reason: str, *, wall: int) -> bytes:
        """Return the revocation of the WireGuard *key*, for the set of records.

        *reason* is a line of at most 64 bytes of printable ASCII.

        Raises:
            ConfigError: if this issuer did not certify the key: its revocation would
                count for nothing.
        """
        ends = [
            one.certificate.not_after for one in self._ledger.of_key(key, wall=wall)
        ]
        member = self._directory.member(key)
        if member is not None and member.signer == self._certifier.signing_key.public:
            ends.append(member.certificate.not_after)
        if not ends:
            raise ConfigError("this issuer has certified no member with that key")
        until = max(wall, *ends) + 2 * VALIDITY_SKEW
        revocation = Revocation(key, wall, until, reason)
        try:
            return create_revocation(
                self._certifier.signing_key, self._certifier.network_id, revocation
            )
        except CodecError:
            raise ConfigError(
                f"the reason is not at most {MAX_REASON_BYTES} of printable ASCII"
            ) from None

    def _join(
        self, request: JoinRequest, joiner_key: bytes, now: float, wall: int
    ) -> Issued:
        if self._admissions.invite_of(joiner_key) != request.invite_key:
            raise CertificateRefusedError("unknown", "show the invite before using it")
        if not is_signed(request, self._certifier.network_id, joiner_key):
            raise CertificateRefusedError(
                "bad-request", "the request's signature is wrong"
            )
        subject = Subject(joiner_key, request.signing_key)
        serial = short_hash(
            _SERIAL_LABEL + request.invite_key + joiner_key, SERIAL_BYTES
        )
        known = self._ledger.with_serial(serial)
        if known is not None:
            return self._same_again(known, subject, wall)
        invite = self._invites.get(request.invite_key)
        state = "unknown" if invite is None else invite.state(wall)
        if invite is None or state != "open":
            raise CertificateRefusedError(state, _REASONS[state])
        name = invite.grant.name or request.name
        issued = self._certifier.certify(serial, name, subject, invite.grant, wall)
        self._invites.count_use(invite.key, now=now)
        self._commit(issued, now)
        self._outbox.report(InviteUsed(name, joiner_key), now=now)
        return issued

    def _same_again(self, known: Issued, subject: Subject, wall: int) -> Issued:
        self._certifier.require_unrevoked(subject)
        if known.certificate.signing_key != subject.signing_key:
            raise CertificateRefusedError(
                "used", "this key joined with another signing key"
            )
        if known.is_over(wall):
            raise CertificateRefusedError(
                "expired", "the certificate has expired; join anew"
            )
        return known

    def _renew(self, key: bytes, now: float, wall: int) -> Issued:
        member = self._directory.member(key)
        if member is None:
            raise CertificateRefusedError(
                "unknown", "no member that counts has this key"
            )
        old = member.certificate
        for one in self._ledger.of_key(key, wall=wall):
            if one.certificate.not_before >= old.not_before:
                old = one.certificate
        subject = Subject(key, old.signing_key, old.gateways)
        self._certifier.require_unrevoked(subject)
        if Role.STOCK in old.roles:
            raise CertificateRefusedError(
                "stock", "a stock member is certified by hand"
            )
        known = self._ledger.with_serial(old.serial)
        if (
            known is not None
            and 3 * (wall - old.not_before) < old.not_after - old.not_before
        ):
            return known
        lifetime = self._lifetime_after(old, member)
        grant = Grant(old.name, old.groups, old.subnets, old.roles, lifetime)
        issued = self._certifier.certify(
            self._entropy(SERIAL_BYTES), old.name, subject, grant, wall
        )
        if issued.certificate.ipv4 != old.ipv4:
            raise CertificateRefusedError(
                "not-granted", "the address is another issuer's to give"
            )
        if issued.certificate.not_after <= old.not_after:
            raise CertificateRefusedError(
                "not-granted", "this issuer's own permission ends before that"
            )
        self._commit(issued, now)
        return issued

    def _lifetime_after(self, old: Certificate, member: VerifiedMember) -> int:
        issuer = self._certifier.issuer
        lifetime = old.not_after - old.not_before
        ends = [issuer.not_after]
        if member.issuer is not None:
            ends.append(member.issuer.not_after)
        if old.not_after in ends:
            # It was cut short by the end of its issuer, not by anybody's wish.
            lifetime = max(lifetime, DEFAULT_LIFETIME)
        return min(lifetime, issuer.max_lifetime)

    def _commit(self, issued: Issued, now: float) -> None:
        self._ledger.add(issued)
        serial = issued.certificate.serial
        self._outbox.keep(KeepIssued(serial, issued.data), now=now)
