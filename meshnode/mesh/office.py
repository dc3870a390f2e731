"""What an issuer does for others: admit joiners, certify, renew, revoke."""

from collections.abc import Callable
from typing import Final

from meshnode.codec.messages import JoinRequest, Message, Refused, RenewRequest
from meshnode.codec.records import Issuer
from meshnode.crypto.keys import PrivateKey
from meshnode.deadlines import Deadline
from meshnode.mesh.admission import Admissions
from meshnode.mesh.certifier import Certifier
from meshnode.mesh.directory import Directory
from meshnode.mesh.introduction import JoinerIntroduction
from meshnode.mesh.invites import Invites
from meshnode.mesh.issued import IssuedLedger
from meshnode.mesh.issuing import Issuing
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import StoredState, Tunnels
from meshnode.mesh.settings import IssuerIdentity
from meshnode.mesh.trust import Trust
from meshnode.ports import Entropy

_BAD_REQUEST: Final = "bad-request"


class Office:
    """The issuing half of a node; only those with an issuing key have one.

    Args:
        identity: the issuing key and the permission to use it.
        trust: of the network.
        directory: the members that count.
        is_contact: whether a WireGuard key is a contact's: its peer stays.
        private_key: our WireGuard key, which introductions are sealed to.
        tunnels: where joiners become temporary peers.
        outbox: takes what is to be kept and told.
        entropy: for serials.
        stored: what an earlier run kept.

    Raises:
        ConfigError: if the permission is not for this key or not of this network.
    """

    def __init__(
        self,
        identity: IssuerIdentity,
        *,
        trust: Trust,
        directory: Directory,
        is_contact: Callable[[bytes], bool],
        private_key: PrivateKey,
        tunnels: Tunnels,
        outbox: Outbox,
        entropy: Entropy,
        stored: StoredState,
    ) -> None:
        ledger = IssuedLedger(stored.issued)
        self.invites = Invites(outbox, stored.invites)
        self.certifier = Certifier(
            trust=trust,
            signing_key=identity.key,
            issuer=identity.envelope,
            directory=directory,
            ledger=ledger,
        )
        self._admissions = Admissions(
            tunnels=tunnels,
            private_key=private_key,
            network_id=trust.network_id,
            invites=self.invites,
            is_member=lambda key: directory.member(key) is not None or is_contact(key),
        )
        self.issuing = Issuing(
            self.certifier,
            directory=directory,
            admissions=self._admissions,
            invites=self.invites,
            ledger=ledger,
            outbox=outbox,
            entropy=entropy,
        )

    @property
    def issuer(self) -> Issuer:
        """What we may grant."""
        return self.certifier.issuer

    def admit(self, introduction: JoinerIntroduction, *, now: float, wall: int) -> None:
        """Let a joiner with an invite of ours shake hands; raises `BadPacket`."""
        self._admissions.admit(introduction, now=now, wall=wall)

    def is_admitted(self, key: bytes) -> bool:
        """Whether the peer is a joiner that may ask for a certificate."""
        return self._admissions.invite_of(key) is not None

    def answer(self, key: bytes, request: Message, *, now: float, wall: int) -> Message:
        """Answer what a joiner or a member asks this issuer for."""
        match request:
            case JoinRequest():
                return self.issuing.join(request, key, now=now, wall=wall)
            case RenewRequest():
                return self.issuing.renew(key, now=now, wall=wall)
        return Refused(_BAD_REQUEST, "an issuer is not asked that")

    def handle_deadline(self, *, now: float, wall: int) -> None:
        """Part with joiners whose time is over."""
        self._admissions.handle_deadline(now=now, wall=wall)

    def next_deadline(self) -> Deadline | None:
        """Return when that is."""
        return self._admissions.next_deadline()
