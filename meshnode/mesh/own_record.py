"""Our own word about ourselves: the member record that we sign.

Its version grows with every change and is kept before it is used, so that it never
falls behind what others hold of us. Should they know a later one nevertheless, from
a state that we lost, ours is raised above it.
"""

from meshnode.codec.record_bytes import (
    parse_envelope,
    parse_member_record,
    serialise_envelope,
)
from meshnode.codec.records import Certificate, Member, Role, Route
from meshnode.errors import CodecError, ConfigError
from meshnode.mesh.documents import create_member_record
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import KeepOwn, StoredState
from meshnode.mesh.prefixes import contains
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.settings import NodeIdentity
from meshnode.mesh.trust import Trust
from meshnode.types import Prefix


class OwnRecord:
    """Holds and renews our member record; `data` is its bytes, b"" before the first.

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
        self._envelopes = identity.certificate, identity.issuer
        self._certificate = self._verify(*self._envelopes)
        self._routes: tuple[Route, ...] = ()
        self._has_left = False
        if stored.own:
            self._take_renewal(stored.own)

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

    def may_announce(self, prefix: Prefix) -> bool:
        """Whether our certificate lets us announce *prefix*."""
        if prefix.length == 0:
            return Role.EXIT in self._certificate.roles
        return any(contains(one, prefix) for one in self._certificate.subnets)

    def announce(self, routes: tuple[Route, ...], *, now: float) -> bool:
        """Announce exactly *routes*; return whether the record is another now."""
        self._routes = routes
        return self._renew(now)

    def use_certificate(self, certificate: bytes, issuer: bytes, *, now: float) -> bool:
        """Stand on another certificate of ours; return whether that is news.

        Raises:
            ConfigError: if it is not of this network, or not for our keys.
        """
        if (certificate, issuer) == self._envelopes:
            return False
        self._certificate = self._verify(certificate, issuer)
        self._envelopes = certificate, issuer
        self._routes = tuple(r for r in self._routes if self.may_announce(r.prefix))
        return self._renew(now)

    def leave(self, *, now: float) -> bool:
        """Say goodbye; return whether that is news."""
        self._has_left = True
        return self._renew(now)

    def raise_above(self, version: int, *, now: float) -> bool:
        """Go beyond *version*, which others hold of us; return whether it was news."""
        if version < self.version:
            return False
        self.version = version
        self.data = b""
        return self._renew(now)

    def _renew(self, now: float) -> bool:
        if self.data and self.data == self._signed(self.version):
            return False
        self.version += 1
        self.data = self._signed(self.version)
        self._outbox.keep(KeepOwn(self.version, self.data), now=now)
        return True

    def _signed(self, version: int) -> bytes:
        certificate, issuer = self._envelopes
        return create_member_record(
            self._identity.signing_key,
            self._trust.network_id,
            certificate=certificate,
            issuer=issuer,
            member=Member(version, self._routes, self._has_left),
        )

    def _verify(self, certificate: bytes, issuer: bytes) -> Certificate:
        try:
            verified = self._trust.verify_certificate(
                parse_envelope(certificate),
                parse_envelope(issuer) if issuer else None,
                wall=None,
            ).certificate
        except (RecordRefused, CodecError) as error:
            raise ConfigError(f"our certificate is no good: {error}") from None
        keys = (verified.wireguard_key, verified.signing_key)
        identity = self._identity
        if keys != (
            identity.private_key.public_key().raw,
            identity.signing_key.public,
        ):
            raise ConfigError("our certificate is for other keys than ours")
        return verified

    def _take_renewal(self, stored: bytes) -> None:
        """Stand on the certificate in the record that was kept, if it is later."""
        try:
            record = parse_member_record(stored)
            certificate = serialise_envelope(record.certificate)
            issuer = b"" if record.issuer is None else serialise_envelope(record.issuer)
            kept = self._verify(certificate, issuer)
        except (CodecError, ConfigError):
            return
        if kept.not_before > self._certificate.not_before:
            self._certificate, self._envelopes = kept, (certificate, issuer)
