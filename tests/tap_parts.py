"""Rings and sightings for the tests of captures."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from meshnode.capture.seen import Seen
from meshnode.codec.tap import (
    HEADER_BYTES,
    INNER,
    LAYOUT,
    OUTER,
    RING_BYTES,
    SNAPLEN,
    WANTED,
    Sighting,
    ring_of,
)
from meshnode.dataplane.tap import RingTap
from meshnode.manage.api_client import Borrowed
from tests.inner_packets import tcp_packet, udp_packet

TIME = 1_700_000_000_123_456_789
REMOTE, LOCAL = bytes([192, 0, 2, 9]), bytes([192, 0, 2, 1])


def memory(rings: int = 1, *, wanted: int = INNER | OUTER, snaplen: int = 65535) -> Any:
    """Return the memory of so many rings, in which this is wanted."""
    made = memoryview(bytearray(rings * (HEADER_BYTES + RING_BYTES)))
    for number in range(rings):
        words = ring_of(made, number)[:HEADER_BYTES].cast("Q")
        words[WANTED], words[SNAPLEN] = wanted, snaplen
    return made


def words_of(made: memoryview, number: int = 0) -> memoryview:
    """Return the header of one ring, as words."""
    return ring_of(made, number)[:HEADER_BYTES].cast("Q")


def sighting(**changes: Any) -> Sighting:
    """Return what a tap may have noted of a packet to a peer."""
    data = changes.pop("data", tcp_packet(4, b"hello"))
    found = Sighting(
        data=data,
        length=len(data),
        side=1,
        verdict=0,
        version=4,
        time_ns=TIME,
        slot=3,
        channel=0,
        remote=REMOTE + bytes(12),
        local=LOCAL + bytes(12),
        remote_port=51820,
        local_port=0,
    )
    return found._replace(**changes)


def seen(peer: str = "paris", **changes: Any) -> Seen:
    """Return the same, with the name of the peer."""
    return Seen(sighting(**changes), peer, 4000)


def udp_seen(source_port: int, **changes: Any) -> Seen:
    """Return a UDP packet, from 10.0.0.1 to port 2000 of 10.0.0.2."""
    return seen(data=udp_packet(4, b"x", source_port=source_port), **changes)


class LentTap:
    """Stands for `manage.api_client.borrow`: a tap of two rings and control's.

    `tap` is the writer of ring 1, egress's; `said` is what the node says next.
    """

    def __init__(self) -> None:
        size = 3 * (HEADER_BYTES + RING_BYTES)
        self.descriptor = os.memfd_create("tap")
        os.ftruncate(self.descriptor, size)
        self.mapping = mmap.mmap(self.descriptor, size)
        self.memory = memoryview(self.mapping)
        self.tap = RingTap(ring_of(self.memory, 1))
        self.said: list[dict[str, Any] | Exception] = []
        self.asked: dict[str, Any] = {}
        self.layout = LAYOUT

    @contextmanager
    def borrow(self, *words: Any, **args: Any) -> Iterator[Borrowed]:
        """Lend it, and let the writer know what is wanted."""
        self.asked = args
        for number in range(3):
            words_of(self.memory, number)[WANTED] = INNER | OUTER
            words_of(self.memory, number)[SNAPLEN] = args["snaplen"]
        self.tap.refresh()
        facts = {"layout": self.layout, "bytes": len(self.memory), "port": 4000}
        yield Borrowed(facts, self.descriptor, self._events)

    def _events(self) -> list[dict[str, Any]]:
        found = []
        while self.said:
            said = self.said.pop(0)
            if isinstance(said, Exception):
                raise said
            found.append(said)
        return found

    def close(self) -> None:
        """Give everything back."""
        os.close(self.descriptor)
