"""Renew our own certificate in time, and say so when that does not succeed.

When two thirds of its life have passed, the members that hold an issuing key are
asked one after the other, in the order of a hash of both keys: after 60 s the next
one, then with doubling distance up to an hour, ± 25 %. Until then the wall clock is
looked at once an hour, for it may be set.
"""

from collections.abc import Callable, Iterable
from typing import Final

from meshnode.codec.messages import Refused, Renewed, RenewRequest
from meshnode.codec.record_bytes import parse_envelope
from meshnode.codec.records import Certificate
from meshnode.deadlines import Deadline
from meshnode.errors import CodecError
from meshnode.mesh.events import CertificateRenewed, HealthChanged
from meshnode.mesh.issuing import Issuing
from meshnode.mesh.jitter import spread
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import Tunnels
from meshnode.mesh.ranking import rank_by_hash
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.trust import Trust
from meshnode.ports import Entropy

FIRST_RETRY: Final = 60.0
LAST_RETRY: Final = 3600.0
LOOK_EVERY: Final = 3600.0
HEALTH_SUBJECT: Final = "certificate"

_DAY: Final = 86400
_NONCE_BYTES: Final = 8
_NO_ISSUER: Final = "no issuer is known"
_NO_ANSWER: Final = "no issuer answers"


class Renewal:
    """Keeps our own certificate valid.

    Args:
        key: our WireGuard key.
        trust: verifies what issuers send.
        tunnels: to ask them.
        issuer_keys: gives the WireGuard keys of all members with role issuer now.
        outbox: takes events.
        entropy: for nonces and jitter.
        issuing: our own issuing key at work, if we have one; it is asked first.
    """

    def __init__(
        self,
        *,
        key: bytes,
        trust: Trust,
        tunnels: Tunnels,
        issuer_keys: Callable[[], Iterable[bytes]],
        outbox: Outbox,
        entropy: Entropy,
        issuing: Issuing | None = None,
    ) -> None:
        self._key = key
        self._trust = trust
        self._tunnels = tunnels
        self._issuer_keys = issuer_keys
        self._outbox = outbox
        self._entropy = entropy
        self._issuing = issuing
        self._certificate: Certificate | None = None
        self._check_at = 0.0
        self._attempts = 0
        self._asked: set[bytes] = set()
        self._obstacle = _NO_ISSUER
        self._health = ""

    @property
    def complaint(self) -> str:
        """What is wrong with our certificate, as told last; "" for nothing."""
        return self._health

    def set_certificate(self, certificate: Certificate, *, now: float) -> None:
        """Care for this certificate, ours, from now on."""
        self._certificate = certificate
        self._check_at = now
        self._attempts = 0
        self._asked.clear()
        self._obstacle = _NO_ISSUER

    def receive_renewed(
        self, peer: bytes, message: Renewed, *, now: float, wall: int
    ) -> Renewed | None:
        """Take what *peer* sent; return it if our record shall stand on it now.

        It must come from an issuer, be ours, and be later than what we have. It need
        not have been asked for: an issuer sends what it was told to grant us.
        """
        if peer not in self._asked and peer not in self._issuer_keys():
            return None
        return self._adopt(message, now, wall)

    def receive_refused(self, peer: bytes, message: Refused) -> None:
        """Note why *peer* does not renew; the next issuer is asked in its turn."""
        if peer in self._asked:
            self._obstacle = message.text

    def ask(self, *, now: float, wall: int) -> Renewed | None:
        """Ask at once, whatever is left; return what our own issuing key gave."""
        renewed = self._renew_ourselves(now, wall)
        if renewed is None:
            self._ask_next(now)
        return renewed

    def handle_deadline(self, *, now: float, wall: int) -> Renewed | None:
        """Ask if it is time; return what our own issuing key gave, to stand on it."""
        certificate = self._certificate
        if certificate is None or now < self._check_at:
            return None
        life = certificate.not_after - certificate.not_before
        due = certificate.not_before + 2 * life // 3
        if wall < due:
            self._attempts = 0
            self._check_at = now + min(LOOK_EVERY, float(due - wall))
            self._report(certificate, now, wall)
            return None
        wait = min(FIRST_RETRY * 2.0 ** min(self._attempts, 10), LAST_RETRY)
        self._check_at = now + spread(wait, self._entropy)
        renewed = self._renew_ourselves(now, wall)
        if renewed is None:
            self._ask_next(now)
            self._attempts += 1
            self._report(certificate, now, wall)
        return renewed

    def next_deadline(self) -> Deadline | None:
        """Return when the certificate is looked at next."""
        if self._certificate is None:
            return None
        return Deadline(self._check_at, "renew our certificate")

    def _renew_ourselves(self, now: float, wall: int) -> Renewed | None:
        if self._issuing is None:
            return None
        answer = self._issuing.renew(self._key, now=now, wall=wall)
        if isinstance(answer, Refused):
            self._obstacle = answer.text
            return None
        return self._adopt(answer, now, wall)

    def _ask_next(self, now: float) -> None:
        issuers = [
            key
            for key in rank_by_hash(self._key, self._issuer_keys())
            if key != self._key
        ]
        if not issuers:
            return
        if self._obstacle == _NO_ISSUER:
            self._obstacle = _NO_ANSWER
        issuer = issuers[self._attempts % len(issuers)]
        self._asked.add(issuer)
        request = RenewRequest(self._entropy(_NONCE_BYTES))
        self._tunnels.send(issuer, request, now=now)

    def _adopt(self, message: Renewed, now: float, wall: int) -> Renewed | None:
        ours = self._certificate
        try:
            certificate = self._trust.verify_certificate(
                parse_envelope(message.certificate),
                parse_envelope(message.issuer) if message.issuer else None,
                wall=wall,
            ).certificate
        except (CodecError, RecordRefused) as error:
            self._obstacle = f"an issuer sent what is not valid: {error}"
            return None
        keys = (certificate.wireguard_key, certificate.signing_key)
        if ours is None or keys != (ours.wireguard_key, ours.signing_key):
            return None
        if (certificate.not_after, certificate.not_before) <= (
            ours.not_after,
            ours.not_before,
        ):
            return None
        self.set_certificate(certificate, now=now)
        self._report(certificate, now, wall)
        self._outbox.report(CertificateRenewed(certificate.not_after), now=now)
        return message

    def _report(self, certificate: Certificate, now: float, wall: int) -> None:
        text = ""
        # The first question has had its time when the second is asked.
        if self._attempts > 1 or wall > certificate.not_after:
            left = certificate.not_after - wall
            text = f"our certificate {_how_long(left)}, not renewed: {self._obstacle}"
        if text != self._health:
            self._health = text
            self._outbox.report(HealthChanged(HEALTH_SUBJECT, text), now=now)


def _how_long(left: int) -> str:
    if left < 0:
        return "has expired"
    for days in (7, 30):
        if left < days * _DAY:
            return f"ends within {days} days"
    return "has less than a third of its life left"
