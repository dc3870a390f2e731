"""What a peer's messages may cost us, and the answers to them.

Every message of a peer, and every answer to it, is paid from its budget. What goes
beyond is dropped: an honest peer comes again with its next `Hello`, a flood gets no
more than the budget, and gives nothing to send to others.
"""

from typing import Final

from meshnode.codec.messages import Chunk, Leaf, Message, Push
from meshnode.mesh.budgets import Budgets
from meshnode.mesh.ports import Tunnels

PEER_RATE: Final = 256 * 1024
PEER_BURST: Final = 128 * 1024
"""What a peer may cost: bytes a second, bytes at once. Answers count twice."""

REFUSED_COST: Final = 4096
USELESS_COST: Final = 1024
"""What a record costs besides its bytes that was refused, or verified for nothing."""

_MESSAGE_COST: Final = 128


class Answers:
    """The budgets of all peers, by WireGuard key, and the way back to them."""

    def __init__(self, tunnels: Tunnels) -> None:
        self.over_budget = 0
        """How many messages and answers were dropped."""
        self._tunnels = tunnels
        self._budgets = Budgets(rate=PEER_RATE, burst=PEER_BURST)

    def admit(self, key: bytes, message: Message, *, now: float) -> bool:
        """Whether the peer may send *message* now."""
        return self._spend(key, _cost_of(message), now)

    def send(self, key: bytes, message: Message, *, now: float) -> bool:
        """Send what a message of the peer caused; False if that costs too much."""
        if not self._spend(key, 2 * _cost_of(message), now):
            return False
        self._tunnels.send(key, message, now=now)
        return True

    def charge(self, key: bytes, cost: int, *, now: float) -> None:
        """Make the peer pay for work that came to nothing."""
        self._spend(key, cost, now)

    def _spend(self, key: bytes, cost: int, now: float) -> bool:
        if self._budgets.spend(key, cost, now=now):
            return True
        self.over_budget += 1
        return False


def _cost_of(message: Message) -> int:
    size = 0
    match message:
        case Push():
            size = sum([len(data) for data in message.records])
        case Leaf():
            size = 16 * len(message.entries)
        case Chunk():
            size = len(message.data)
    return _MESSAGE_COST + size
