"""`Tunnels` that keep what was sent, for tests of what speaks to members."""

from meshnode.codec.messages import Message
from meshnode.mesh.ports import SharedPrefix, TunnelPeer
from meshnode.ports import NEVER
from meshnode.types import Cipher, Endpoint


class Mailbox:
    """Takes every message; `sent` has them with their receivers, in order."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Message]] = []

    def send(self, key: bytes, message: Message, *, now: float) -> None:
        """Keep the message."""
        self.sent.append((key, message))

    def taken(self) -> list[tuple[bytes, Message]]:
        """Return what was sent since this was asked last."""
        sent, self.sent = self.sent, []
        return sent

    def set_peer(self, peer: TunnelPeer, *, now: float) -> None:
        """Do nothing."""

    def remove_peer(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def share_prefixes(self, shared: tuple[SharedPrefix, ...], *, now: float) -> None:
        """Do nothing."""

    def set_candidates(
        self, key: bytes, candidates: tuple[Endpoint, ...], *, now: float
    ) -> None:
        """Do nothing."""

    def drop_waiting(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def path_of(self, key: bytes) -> Endpoint | None:
        """There is none."""
        return None

    def has_session(self, key: bytes) -> bool:
        """There is one with everybody."""
        return True

    def sessions_of(self, key: bytes) -> tuple[int, ...]:
        """There is one."""
        return (1,)

    def send_probe(
        self, key: bytes, message: Message, size: int, *, now: float
    ) -> None:
        """Not used."""

    def use_cipher(
        self, key: bytes, session: int, cipher: Cipher, *, now: float
    ) -> None:
        """Do nothing."""

    def dial_again(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def is_wanted(self, key: bytes) -> bool:
        """Say yes: whoever is dialled is dialled for users."""
        return True

    def is_watched(self, key: bytes) -> bool:
        """Say no: all traffic is told."""
        return False

    def last_received(self, key: bytes) -> float:
        """Nothing ever came."""
        return NEVER

    def last_data_sent(self, key: bytes) -> float:
        """Nothing ever went."""
        return NEVER

    def take_questions(self) -> dict[bytes, Endpoint]:
        """Return none."""
        return {}

    def sent_to(self, key: bytes) -> tuple[int, int]:
        """Say none."""
        return 0, 0
