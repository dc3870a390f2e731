"""The relay channels that one worker knows, by the number that we gave.

A channel ends here, or goes on to another peer under the number that this one gave.
How much goes on is limited for each of them. A sender's five-tuple leads all that it
sends to one ingress worker, so several workers need not share what is left.
"""

from collections.abc import Callable
from typing import Any, Final

from meshnode.forwarding import OpenChannel
from meshnode.ports import NEVER

BURST_SECONDS: Final = 0.05
"""How much of a channel's rate may pass at once, in seconds of it."""

MIN_BURST: Final = 2**16
"""Bytes that may pass at once at any rate: what one receive can bring."""


def burst_of(rate: int) -> float:
    """Return how many bytes may pass at once at *rate* bytes a second."""
    return max(rate * BURST_SECONDS, float(MIN_BURST))


class Channel:
    """One channel, and how much may still go on by it: see `forwarding.OpenChannel`."""

    __slots__ = ("_burst", "_left", "_since", "_tokens", "command")

    def __init__(self, command: OpenChannel) -> None:
        self.command = command
        self._burst = burst_of(command.rate)
        self._tokens = self._burst
        self._left = command.quota
        self._since = NEVER

    def take(self, count: int, octets: int, *, now: float) -> int:
        """Return how many of *count* datagrams of *octets* bytes each may go on."""
        count = min(count, self._room(now) // octets)
        self._tokens -= count * octets
        self._left -= count * octets
        return count

    def renew(self, command: OpenChannel) -> None:
        """Begin the quota anew, and keep what is known of the rate."""
        self.command = command
        self._burst = burst_of(command.rate)
        self._left = command.quota

    def _room(self, now: float) -> int:
        """Return how many bytes may go on at *now*."""
        rate, room = self.command.rate, 2**63
        if rate:
            if now > self._since:
                earned = (now - self._since) * rate
                self._tokens = min(self._burst, self._tokens + earned)
                self._since = now
            room = int(self._tokens)
        return min(room, self._left) if self.command.quota else room


class ChannelTable:
    """The channels of one program, by number.

    *make_channel* and *channels* are for an engine that keeps them elsewhere, too.
    """

    def __init__(
        self,
        make_channel: Callable[[OpenChannel], Any] = Channel,
        channels: dict[int, Any] | None = None,
    ) -> None:
        self._make = make_channel
        self._channels: dict[int, Any] = {} if channels is None else channels

    def find(self, number: int) -> Channel | None:
        """Return the channel that we gave this number."""
        channel: Channel | None = self._channels.get(number)
        return channel

    def open(self, command: OpenChannel) -> None:
        """Open a channel, or renew it if it was opened for the same peers."""
        known = self._channels.get(command.channel)
        if known is not None and _ends(known.command) == _ends(command):
            known.renew(command)
        else:
            self._channels[command.channel] = self._make(command)

    def close(self, number: int) -> None:
        """Close a channel, if it is open."""
        if number in self._channels:
            del self._channels[number]

    def remove_slot(self, slot: int) -> None:
        """Close all channels from or to the peer in *slot*."""
        for number, channel in list(self._channels.items()):
            if slot in _ends(channel.command):
                del self._channels[number]


def _ends(command: OpenChannel) -> tuple[int, int | None]:
    return command.slot, command.onward
