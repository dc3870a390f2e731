"""Who talks to whom, and how much: packets added up by their five values and peer."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Final

from meshnode.capture.headers import Headers, address_of
from meshnode.capture.seen import Seen, ends_text, protocol_name
from meshnode.values import frozen

MAX_FLOWS: Final = 10_000
"""Flows that are remembered; beyond, the one that was silent longest is forgotten."""


@frozen
class Flow:
    """What one flow did, both ways: `headers` are those of its first packet.

    `rate` is in bytes a second, over the interval that was asked for.
    """

    headers: Headers
    peer: str
    packets: int
    octets: int
    dropped: int
    rate: float


class _Entry:
    __slots__ = ("before", "dropped", "headers", "octets", "packets", "peer")

    def __init__(self, seen: Seen) -> None:
        self.headers = seen.headers
        self.peer = seen.peer
        self.packets = self.octets = self.dropped = self.before = 0


class FlowTable:
    """Adds packets up; the two directions of a flow are one flow."""

    def __init__(self) -> None:
        self._entries: dict[object, _Entry] = {}

    def add(self, packets: Iterable[Seen]) -> None:
        """Count *packets*; those that are no IP packets belong to no flow."""
        for seen in packets:
            if not seen.headers.version:
                continue
            key = _key(seen)
            entry = self._entries.pop(key, None)
            if entry is None:
                entry = _Entry(seen)
                if len(self._entries) >= MAX_FLOWS:
                    del self._entries[next(iter(self._entries))]
            # At the end again: the first is who was silent longest.
            self._entries[key] = entry
            entry.packets += 1
            entry.octets += seen.length
            entry.dropped += seen.is_dropped

    def top(self, count: int, *, seconds: float) -> list[Flow]:
        """Return the *count* busiest flows of the last *seconds*, since the last call.

        Among those that were silent, those with more bytes altogether are first.
        """
        flows = []
        for entry in self._entries.values():
            rate = (entry.octets - entry.before) / seconds if seconds > 0 else 0.0
            entry.before = entry.octets
            flows.append(
                Flow(
                    entry.headers,
                    entry.peer,
                    entry.packets,
                    entry.octets,
                    entry.dropped,
                    rate,
                )
            )
        flows.sort(key=attrgetter("rate", "octets"), reverse=True)
        return flows[:count]


def describe_flow(flow: Flow) -> dict[str, object]:
    """Return a flow as JSON has it."""
    headers = flow.headers
    found: dict[str, object] = {
        "protocol": protocol_name(headers.protocol),
        "source": str(address_of(headers.source)),
        "destination": str(address_of(headers.destination)),
        "peer": flow.peer,
        "packets": flow.packets,
        "bytes": flow.octets,
        "dropped": flow.dropped,
        "bytesPerSecond": round(flow.rate),
    }
    if headers.source_port >= 0:
        found["sourcePort"] = headers.source_port
        found["destinationPort"] = headers.destination_port
    return found


def flow_text(flow: Flow) -> tuple[str, str]:
    """Return the protocol of a flow and its two ends, for a table."""
    return protocol_name(flow.headers.protocol), ends_text(flow.headers)


def _key(seen: Seen) -> object:
    one = seen.headers
    here = (one.source, one.source_port)
    there = (one.destination, one.destination_port)
    return one.protocol, seen.peer, *sorted((here, there))
