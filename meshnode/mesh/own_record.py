"""Our own word about ourselves: the member record that we sign.

Its version grows with every change and is kept before it is used, so that it never
falls behind what others hold of us. Should they know a later one nevertheless, from
a state that we lost, ours is raised above it.
"""

from dataclasses import replace

from meshnode.codec.record_bytes import (
    MAX_VERSION,
    parse_envelope,
    parse_member_record,
    serialise_envelope,
)
from meshnode.codec.records import Certificate, Member, Route
from meshnode.errors import CodecError, ConfigError
from meshnode.mesh.documents import create_member_record
from meshnode.mesh.grants import may_announce
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import KeepOwn, StoredState
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.settings import NodeIdentity
from meshnode.mesh.trust import Trust, VerifiedCertificate
from meshnode.types import Prefix


class OwnRecord:
    """Holds and renews our member record; `data` is its bytes, b"" before the first.

    `version` is that of `data`, or a greater one to go beyond. `has_left` says that
    the record is a goodbye. A change takes effect with the next `announce`.

    Args:
        identity: who we are, and the certificate we began with.
        trust: of the network, with its charters.
        stored: what an earlier run kept: a renewed certificate is in there.
        outbox: where changes are queued to be kept.

    Raises:
        ConfigError: if our certificate is not of this network.
    """

    def __init__(
        self,
        identity: NodeIdentity,
        *,
        trust: Trust,
        stored: StoredState,
        outbox: Outbox,
    ) -> None:
        self.data = stored.own
        self.version = stored.own_version
        self._identity = identity
        self._trust = trust
        self._outbox = outbox
        self.has_left = False
        first = identity.certificate, identity.issuer
        renewed = self._renewed_papers(stored.own) if stored.own else None
        try:
            self._stand_on(*first, self._verify(*first))
        except ConfigError:
            # Who signed the first ones may be no authority any more.
            if renewed is None:
                raise
            self._stand_on(*renewed, self._verify(*renewed))
        if renewed is not None:
            later = self._verify(*renewed)
            if later.certificate.not_before > self._certificate.not_before:
                self._stand_on(*renewed, later)

    @property
    def certificate(self) -> Certificate:
        """What our certificate says, whether it is valid now or not."""
        return self._certificate

    @property
    def envelopes(self) -> tuple[bytes, bytes]:
        """The certificate as it travels, and that of its issuer, b"" for none."""
        return self._envelopes

    def is_ours(self, key: bytes, signing_key: bytes) -> bool:
        """Whether these two keys are ours."""
        own = self._certificate
        return (key, signing_key) == (own.wireguard_key, own.signing_key)

    @property
    def subjects(self) -> tuple[bytes, bytes, bytes]:
        """What a revocation must name to hit us: our two keys, and our issuer's."""
        own = self._certificate
        return own.wireguard_key, own.signing_key, self._signer

    def may_announce(self, prefix: Prefix) -> bool:
        """Whether our certificate lets us announce *prefix*."""
        return may_announce(prefix, self._certificate)

    def announce(self, routes: tuple[Route, ...], *, now: float) -> bool:
        """Announce exactly *routes*; return whether the record is another now.

        Raises:
            CodecError: if they do not fit into a record; it is the one before then.
        """
        member = Member(max(self.version, 1), routes, self.has_left)
        if self.data and self.data == self._signed(member):
            return False
        member = replace(member, version=self.version + 1)
        self.data = self._signed(member)
        self.version = member.version
        self._outbox.keep(KeepOwn(self.version, self.data), now=now)
        return True

    def use_certificate(self, certificate: bytes, issuer: bytes) -> bool:
        """Stand on another certificate of ours; return whether that is news.

        If it is, what we announce is to be announced anew.

        Raises:
            ConfigError: if it is not of this network, or not for our keys.
        """
        if (certificate, issuer) == self._envelopes:
            return False
        self._stand_on(certificate, issuer, self._verify(certificate, issuer))
        return True

    def leave(self) -> bool:
        """Say goodbye in the next announcement; return whether that is news."""
        was_there, self.has_left = not self.has_left, True
        return was_there

    def raise_above(self, version: int) -> bool:
        """Let the next announcement go beyond *version*, which others hold of us.

        Return whether ours was not beyond it yet.
        """
        if version < self.version or version >= MAX_VERSION:
            return False
        self.version = version
        self.data = b""
        return True

    def _signed(self, member: Member) -> bytes:
        certificate, issuer = self._envelopes
        return create_member_record(
            self._identity.signing_key,
            self._trust.network_id,
            certificate=certificate,
            issuer=issuer,
            member=member,
        )

    def _stand_on(
        self, certificate: bytes, issuer: bytes, verified: VerifiedCertificate
    ) -> None:
        self._envelopes = certificate, issuer
        self._certificate, self._signer = verified.certificate, verified.signer

    def _verify(self, certificate: bytes, issuer: bytes) -> VerifiedCertificate:
        try:
            verified = self._trust.verify_certificate(
                parse_envelope(certificate),
                parse_envelope(issuer) if issuer else None,
                wall=None,
            )
        except (RecordRefused, CodecError) as error:
            raise ConfigError(f"our certificate is no good: {error}") from None
        ours = verified.certificate
        keys = (ours.wireguard_key, ours.signing_key)
        identity = self._identity
        if keys != (
            identity.private_key.public_key().raw,
            identity.signing_key.public,
        ):
            raise ConfigError("our certificate is for other keys than ours")
        return verified

    def _renewed_papers(self, stored: bytes) -> tuple[bytes, bytes] | None:
        """Return what our record that was kept stands on, if it is any good."""
        try:
            record = parse_member_record(stored)
            certificate = serialise_envelope(record.certificate)
            issuer = b"" if record.issuer is None else serialise_envelope(record.issuer)
            self._verify(certificate, issuer)
        except (CodecError, ConfigError):
            return None
        return certificate, issuer
