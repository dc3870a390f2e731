"""The newest endpoint record of each member that we heard of lately."""

from collections.abc import Callable
from typing import Final

from meshnode.codec.records import Endpoints
from meshnode.deadlines import Deadline
from meshnode.values import frozen

RECORD_TTL: Final = 960.0
"""Seconds a record counts after it was last heard; publishers say so each 300."""

MAX_RECORDS: Final = 16384

Verify = Callable[[bytes, bytes], Endpoints]
"""Return what a record of the member with that key says, or raise `RecordRefused`."""


@frozen
class Heard:
    """A verified endpoint record, its bytes, and until when it counts (boottime)."""

    endpoints: Endpoints
    data: bytes
    until: float


class EndpointBook:
    """Endpoint records by WireGuard key; the newest version wins, each for 960 s.

    *verify* checks a record against the certificate of the member it is about. The
    book holds at most *capacity* records; when full, the one heard of least recently
    goes.
    """

    def __init__(self, verify: Verify, capacity: int = MAX_RECORDS) -> None:
        self._verify = verify
        self._capacity = capacity
        # In the order they were last heard, so in the order they end.
        self._heard: dict[bytes, Heard] = {}

    def __len__(self) -> int:
        return len(self._heard)

    def get(self, key: bytes, *, now: float) -> Heard | None:
        """Return the record of the member if it counts at *now*."""
        heard = self._heard.get(key)
        return heard if heard is not None and now < heard.until else None

    def receive(self, key: bytes, data: bytes, *, now: float) -> bool:
        """Keep the record if none newer is known; whether it was news.

        The same record again counts for another 960 s.

        Raises:
            RecordRefused: if it is not a sound record of that member.
        """
        known = self.get(key, now=now)
        if known is None or data != known.data:
            endpoints = self._verify(key, data)
        else:
            endpoints = known.endpoints
        if known is not None and _rank(known) > (endpoints.version, data):
            return False
        self._heard.pop(key, None)
        self._heard[key] = Heard(endpoints, data, now + RECORD_TTL)
        while len(self._heard) > self._capacity:
            del self._heard[next(iter(self._heard))]
        return known is None or known.data != data

    def refresh(self, key: bytes, version: int, *, now: float) -> bool:
        """Let the record of that version count for another 960 s, if it is the one.

        Return whether it is.
        """
        known = self.get(key, now=now)
        if known is None or known.endpoints.version != version:
            return False
        return not self.receive(key, known.data, now=now)

    def forget(self, key: bytes) -> None:
        """Drop the record of who is no member any more."""
        self._heard.pop(key, None)

    def handle_deadline(self, *, now: float) -> None:
        """Drop what was not heard of for 960 s."""
        while self._heard:
            key, heard = next(iter(self._heard.items()))
            if now < heard.until:
                return
            del self._heard[key]

    def next_deadline(self) -> Deadline | None:
        """Return when the oldest record ends."""
        for heard in self._heard.values():
            return Deadline(heard.until, "endpoint record ends")
        return None


def _rank(heard: Heard) -> tuple[int, bytes]:
    # As for all records: of two with the same version the greater bytes count.
    return heard.endpoints.version, heard.data
