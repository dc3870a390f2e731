"""What iperf3 reports, as values.

Throughput is what the receiver got: goodput, bits of payload a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Throughput:
    """One run of TCP: received bits a second, and processor use.

    `processor_seconds` counts the busy time of all processors during the run,
    `program_seconds` what iperf3 itself used at both ends.
    """

    bits_per_second: float
    processor_seconds: float
    seconds: float
    program_seconds: float = 0.0

    @property
    def processor_seconds_per_gigabit(self) -> float:
        """Busy processor seconds of the whole machine for each 10⁹ bits received."""
        gigabits = self.bits_per_second * self.seconds / 1e9
        return self.processor_seconds / gigabits if gigabits else float("inf")


@dataclass(frozen=True, slots=True)
class Datagrams:
    """One run of UDP: datagrams a second that were sent and that came through.

    `payload` is the bytes of UDP payload of each.
    """

    offered: float
    received: float
    payload: int

    @property
    def bits_per_second(self) -> float:
        """Bits of payload received a second."""
        return self.received * self.payload * 8

    @property
    def loss(self) -> float:
        """The share that was lost, from 0 to 1."""
        return max(0.0, 1 - self.received / self.offered) if self.offered else 0.0


def throughput(report: Mapping[str, Any], processor_seconds: float) -> Throughput:
    """Return the result of a TCP run from the client's report (`iperf3 -J`)."""
    received = report["end"]["sum_received"]
    use = report["end"]["cpu_utilization_percent"]
    seconds = received["seconds"]
    return Throughput(
        received["bits_per_second"],
        processor_seconds,
        seconds,
        (use["host_total"] + use["remote_total"]) / 100 * seconds,
    )


def datagrams(report: Mapping[str, Any], payload: int) -> Datagrams:
    """Return the result of a UDP run from the client's report (`iperf3 -J -u`)."""
    sent, received = report["end"]["sum_sent"], report["end"]["sum_received"]
    return Datagrams(
        offered=_rate(sent["packets"], sent["seconds"]),
        # The receiver's own count: what it takes for lost leaves out the tail.
        received=_rate(received["bytes"] / payload, received["seconds"]),
        payload=payload,
    )


def _rate(count: float, seconds: float) -> float:
    return count / seconds if seconds else 0.0
