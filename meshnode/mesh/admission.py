"""Let joiners shake hands: temporary peers without addresses, for a minute each.

Whoever holds an invite of ours is admitted even if it is used up, expired or revoked,
because only inside a session can it be told so. Proofs by keys that are no invite of
ours cost nothing to make, so they have a few places of their own.
"""

from collections.abc import Callable
from typing import Final

from meshnode.crypto.keys import PrivateKey
from meshnode.deadlines import Deadline
from meshnode.errors import BadPacket, DropReason
from meshnode.mesh.grants import VALIDITY_SKEW
from meshnode.mesh.introduction import JoinerIntroduction, has_valid_proof
from meshnode.mesh.invites import Invites
from meshnode.mesh.ports import TunnelPeer, Tunnels
from meshnode.values import frozen

ADMITTED_FOR: Final = 60.0
MAX_ADMITTED: Final = 256
MAX_STRANGERS: Final = 16


@frozen
class _Admission:
    invite_key: bytes
    is_stranger: bool
    until: float


class Admissions:
    """The joiners that may shake hands with us now.

    Args:
        tunnels: where they become peers.
        private_key: our WireGuard key, which proofs are made for.
        network_id: 16 bytes.
        invites: tells whose proofs are worth more.
        is_member: whether the WireGuard key is a member's: its peer is not ours to
            add or remove.
    """

    def __init__(
        self,
        *,
        tunnels: Tunnels,
        private_key: PrivateKey,
        network_id: bytes,
        invites: Invites,
        is_member: Callable[[bytes], bool],
    ) -> None:
        self._tunnels = tunnels
        self._private_key = private_key
        self._network_id = network_id
        self._invites = invites
        self._is_member = is_member
        # By the joiner's key, in the order they end.
        self._admitted: dict[bytes, _Admission] = {}

    def __len__(self) -> int:
        return len(self._admitted)

    def admit(self, introduction: JoinerIntroduction, *, now: float, wall: int) -> None:
        """Admit the joiner for 60 s; once more if it is admitted already.

        Raises:
            BadPacket: BAD_TAG if the proof is wrong, OLD_TIMESTAMP if the claim has
                ended, QUEUE_FULL if there is no place. Nothing has changed then.
        """
        if wall > introduction.until + VALIDITY_SKEW:
            raise BadPacket(DropReason.OLD_TIMESTAMP)
        if not has_valid_proof(introduction, self._private_key, self._network_id):
            raise BadPacket(DropReason.BAD_TAG)
        key = introduction.joiner_key
        is_stranger = self._invites.get(introduction.invite_key) is None
        others = [one for other, one in self._admitted.items() if other != key]
        strangers = sum(one.is_stranger for one in others)
        if is_stranger and strangers >= MAX_STRANGERS:
            raise BadPacket(DropReason.QUEUE_FULL)
        if not is_stranger and len(others) - strangers >= MAX_ADMITTED:
            raise BadPacket(DropReason.QUEUE_FULL)
        self._admitted.pop(key, None)
        self._admitted[key] = _Admission(
            introduction.invite_key, is_stranger, now + ADMITTED_FOR
        )
        if not self._is_member(key):
            self._tunnels.set_peer(TunnelPeer(key, is_sought=False), now=now)

    def invite_of(self, joiner_key: bytes) -> bytes | None:
        """Return the invite key whose private half this joiner has, if admitted."""
        admission = self._admitted.get(joiner_key)
        return admission.invite_key if admission is not None else None

    def handle_deadline(self, *, now: float, wall: int) -> None:
        """Part with joiners whose minute is over and who are no members."""
        while self._admitted:
            key, admission = next(iter(self._admitted.items()))
            if now < admission.until:
                return
            del self._admitted[key]
            if not self._is_member(key):
                self._tunnels.remove_peer(key, now=now)

    def next_deadline(self) -> Deadline | None:
        """Return when the next minute is over."""
        for admission in self._admitted.values():
            return Deadline(admission.until, "admission of a joiner ends")
        return None
