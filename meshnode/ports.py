"""Protocols for what the pure layers need from outside."""

from collections.abc import Callable
from typing import Protocol

from meshnode.values import frozen

Entropy = Callable[[int], bytes]
"""Give that many random bytes: `os.urandom` in production, seeded in simulation."""

NEVER = float("-inf")
"""The time of something that has not happened; 0.0 is a real instant."""


@frozen
class Traffic:
    """What the data plane and the handshakes did for one peer, at one moment.

    Times are boottime seconds or `NEVER`; counts include handshake messages, and
    bytes are whole UDP payloads.

    `unanswered_since` is when the first data packet left after the last
    authenticated receive, or None if nothing waits for an answer.
    `unacknowledged_since` is when the first data packet arrived after our last
    authenticated send, or None if we owe nothing. `last_sent_for_users_at` is when a
    data packet last left that was no control frame.
    """

    sent_packets: int = 0
    sent_bytes: int = 0
    received_packets: int = 0
    received_bytes: int = 0
    last_sent_at: float = NEVER
    last_data_sent_at: float = NEVER
    last_received_at: float = NEVER
    last_data_received_at: float = NEVER
    unanswered_since: float | None = None
    unacknowledged_since: float | None = None
    last_sent_for_users_at: float = NEVER


class TrafficView(Protocol):
    """Read the facts of the data plane; how control learns of packets lazily.

    Slots are small integers that control gives to peers.
    """

    def read(self, slot: int) -> Traffic:
        """Return the facts of the peer in *slot*."""

    def watch(self, slot: int, watched: bool) -> None:
        """Say whether control has a timer running for the peer.

        While unwatched, the data plane reports `TrafficResumed` as soon as
        `unanswered_since` or `unacknowledged_since` begins anew.
        """

    def count_handshake(
        self, slot: int, *, sent: int = 0, received: int = 0, now: float
    ) -> None:
        """Add one authenticated handshake message of that many bytes."""

    def stop_waiting(self, slot: int) -> None:
        """End the wait for an answer though none came.

        `unanswered_since` becomes None, and the next data packet sent begins a
        new wait.
        """

    def clear(self, slot: int) -> None:
        """Forget everything about *slot*; a new peer takes it."""
