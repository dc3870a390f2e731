"""An internet in one object: what becomes of each packet, and when it arrives.

Pure: packets and the time go in, packets that are due come out. A packet waits for its
sender's line, travels, and waits for its receiver's line. All queues are bounded: what
does not fit is lost and counted, as everything that is lost.
"""

import heapq
import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

LONGEST_QUEUE: Final = 0.05
"""Seconds a packet may wait for a line that has a rate; longer queues lose it."""

MOST_PACKETS: Final = 20_000
"""Packets under way at once."""

REORDER_DELAY: Final = 0.5
"""Seconds by which a packet is late, at most, that others are to overtake."""

_SHORTEST: Final = {4: 20, 6: 40}


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the internet does to packets.

    `latency` and `jitter` are seconds, `loss` and `reorder` shares from 0 to 1, `rate`
    bits a second for each member and direction (0: no limit), `mtu` the bytes of the
    longest packet that passes, `hops` by how much the TTL is lowered.
    """

    latency: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    rate: int = 0
    mtu: int = 1500
    hops: int = 1


class Internet:
    """Carries IP packets between members, who are numbers.

    *places* are the prefixes that each member answers to, the longest wins. All chance
    comes from *random*. `lost` counts packets by the reason that ended them.
    """

    def __init__(
        self, conditions: Conditions, places: Sequence[Iterable[str]], random: Random
    ) -> None:
        self.lost: Counter[str] = Counter()
        self._conditions = conditions
        self._random = random
        self._routes = sorted(
            (
                (ipaddress.ip_network(prefix), member)
                for member, prefixes in enumerate(places)
                for prefix in prefixes
            ),
            key=lambda route: -route[0].prefixlen,
        )
        self._known: dict[bytes, int | None] = {}
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._arriving: list[tuple[float, int, int, bytes]] = []
        self._numbers = 0
        self._lines_out = [0.0] * len(places)
        self._lines_in = [0.0] * len(places)

    def take(self, packet: bytes, sender: int, *, now: float) -> None:
        """Accept a packet that *sender* sent at *now*, in seconds of any clock."""
        receiver = self._receiver(packet)
        if receiver is None or receiver == sender:
            self.lost["nobody has this address"] += 1
            return
        reason = self._misfortune(packet)
        if reason:
            self.lost[reason] += 1
            return
        lowered = lower_ttl(packet, self._conditions.hops)
        if lowered is None:
            self.lost["its TTL ran out"] += 1
            return
        left = self._through(self._lines_out, sender, len(packet), now)
        if left is not None:
            self._queue(self._under_way, left + self._travel(), receiver, lowered)

    def due(self, now: float) -> list[tuple[int, bytes]]:
        """Return the packets that have arrived by *now*, each with its receiver."""
        while self._under_way and self._under_way[0][0] <= now:
            at, _, receiver, packet = heapq.heappop(self._under_way)
            done = self._through(self._lines_in, receiver, len(packet), at)
            if done is not None:
                self._queue(self._arriving, done, receiver, packet)
        arrived = []
        while self._arriving and self._arriving[0][0] <= now:
            _, _, receiver, packet = heapq.heappop(self._arriving)
            arrived.append((receiver, packet))
        return arrived

    def next_at(self) -> float | None:
        """Return when `due` is to be asked next, None while nothing is under way."""
        heads = [queue[0][0] for queue in (self._under_way, self._arriving) if queue]
        return min(heads, default=None)

    # --- one packet ---

    def _receiver(self, packet: bytes) -> int | None:
        version = packet[0] >> 4 if packet else 0
        if version not in _SHORTEST or len(packet) < _SHORTEST[version]:
            return None
        address = packet[16:20] if version == 4 else packet[24:40]
        if address not in self._known:
            if len(self._known) > MOST_PACKETS:
                self._known.clear()  # somebody tries all addresses
            wanted = ipaddress.ip_address(address)
            self._known[address] = next(
                (member for prefix, member in self._routes if wanted in prefix), None
            )
        return self._known[address]

    def _misfortune(self, packet: bytes) -> str:
        conditions = self._conditions
        if len(packet) > conditions.mtu:
            return "larger than the MTU"
        if conditions.loss and self._random.random() < conditions.loss:
            return "bad luck"
        if len(self._under_way) + len(self._arriving) >= MOST_PACKETS:
            return "too many under way"
        return ""

    def _travel(self) -> float:
        conditions = self._conditions
        seconds = conditions.latency
        if conditions.jitter:
            seconds += conditions.jitter * self._random.random()
        if conditions.reorder and self._random.random() < conditions.reorder:
            seconds += REORDER_DELAY * self._random.random()
        return seconds

    def _through(
        self, lines: list[float], member: int, size: int, now: float
    ) -> float | None:
        """Return when a packet of *size* bytes is through a line, None if it is lost.

        *lines* say until when each member's line is busy.
        """
        if not self._conditions.rate:
            return now
        begins = max(now, lines[member])
        if begins - now > LONGEST_QUEUE:
            self.lost["full queue"] += 1
            return None
        lines[member] = begins + size * 8 / self._conditions.rate
        return lines[member]

    def _queue(
        self,
        queue: list[tuple[float, int, int, bytes]],
        at: float,
        receiver: int,
        packet: bytes,
    ) -> None:
        self._numbers += 1  # equal times keep their order
        heapq.heappush(queue, (at, self._numbers, receiver, packet))


def lower_ttl(packet: bytes, hops: int) -> bytes | None:
    """Return an IP packet with its TTL lowered, None if it does not survive that.

    The packet is long enough for a header of its version.
    """
    changed = bytearray(packet)
    if packet[0] >> 4 == 6:
        if packet[7] <= hops:
            return None
        changed[7] -= hops
        return bytes(changed)
    if packet[8] <= hops:
        return None
    changed[8] -= hops
    # The checksum's complement sums the header; the TTL is the high byte of a word.
    total = int.from_bytes(packet[10:12], "big") + (hops << 8)
    changed[10:12] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2, "big")
    return bytes(changed)
