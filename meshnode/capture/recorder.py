"""Turn packets into a pcapng file, as they come or the last of them at the end."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from meshnode.capture import pcapng
from meshnode.capture.seen import Seen, comment
from meshnode.codec.tap import SIDES, TUNNEL_IN, TUNNEL_OUT

MAX_KEPT_BYTES: Final = 256 * 2**20
"""Bytes of packets that are kept in memory; beyond, the oldest go before their time."""

_DESCRIPTIONS: Final = (
    "packets that leave the tunnel for this host",
    "packets that this host sends into the tunnel",
    "datagrams that the tunnel receives",
    "datagrams that the tunnel sends",
)


class Recorder:
    """Makes the blocks of one file.

    Args:
        application: the name of who writes.
        snaplen: bytes that are kept of a packet.
        now_ns: when the capture begins, in nanoseconds since 1970.
    """

    def __init__(self, application: str, *, snaplen: int, now_ns: int) -> None:
        self._application = application
        self._snaplen = snaplen
        self._started_ns = now_ns
        self._kept = [0] * len(SIDES)
        self._dropped = [0] * len(SIDES)
        self._untold = [0] * len(SIDES)

    def begin(self) -> bytes:
        """Return what stands before all packets."""
        return pcapng.section(self._application) + b"".join(
            pcapng.interface(name, text, snaplen=self._snaplen)
            for name, text in zip(SIDES, _DESCRIPTIONS, strict=True)
        )

    def lost(self, *, inbound: int, outbound: int) -> None:
        """Note packets that the taps could not keep since the last time.

        They are counted with the inner packets of their direction.
        """
        for side, count in ((TUNNEL_IN, inbound), (TUNNEL_OUT, outbound)):
            self._dropped[side] += count
            self._untold[side] += count

    def packet(self, seen: Seen) -> bytes:
        """Return the block of one packet."""
        side = seen.side
        self._kept[side] += 1
        untold, self._untold[side] = self._untold[side], 0
        return pcapng.packet(
            side,
            seen.time_ns,
            seen.packet[: self._snaplen],
            seen.length,
            direction=pcapng.INBOUND if seen.is_inbound else pcapng.OUTBOUND,
            comment=comment(seen),
            dropped=untold,
        )

    def end(self, now_ns: int) -> bytes:
        """Return what stands behind all packets."""
        return b"".join(
            pcapng.statistics(
                side,
                start_ns=self._started_ns,
                end_ns=now_ns,
                received=self._kept[side] + self._dropped[side],
                dropped=self._dropped[side],
                kept=self._kept[side],
            )
            for side in range(len(SIDES))
        )


class LastSeconds:
    """Keeps the packets of the last *seconds*, and no more than `MAX_KEPT_BYTES`."""

    def __init__(self, seconds: float) -> None:
        self._span_ns = int(seconds * 1e9)
        self._packets: deque[Seen] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, packets: Iterable[Seen]) -> None:
        """Keep *packets*, which are newer than those before."""
        for seen in packets:
            self._packets.append(seen)
            self._bytes += len(seen.packet)
        while self._bytes > MAX_KEPT_BYTES:
            self._forget_oldest()

    def forget(self, now_ns: int) -> None:
        """Let go of what is too old at *now_ns*."""
        while self._packets and self._packets[0].time_ns < now_ns - self._span_ns:
            self._forget_oldest()

    def packets(self) -> list[Seen]:
        """Return what is kept, in order."""
        return list(self._packets)

    def _forget_oldest(self) -> None:
        self._bytes -= len(self._packets.popleft().packet)
