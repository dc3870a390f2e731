"""What runs on the hosts of a simulated network: it sends numbered packets and echoes.

Every inner packet has a number that no other has, so a packet delivered twice, lost
or delivered to the wrong host is seen at once. A request is answered by a reply of
the same size, which names the request.
"""

import enum
import ipaddress
import struct
from collections.abc import Callable
from typing import Final

from meshnode.codec import ip
from meshnode.types import Prefix
from meshnode.values import frozen

_BODY = struct.Struct("!BHQQ")
_NO_PROTOCOL: Final = 59  # "no next header": nothing follows that a host would parse
_HEADER: Final = {4: ip.IPV4_HEADER_SIZE, 6: ip.IPV6_HEADER_SIZE}

SMALLEST: Final = {version: size + _BODY.size for version, size in _HEADER.items()}
"""Bytes of the shortest inner packet of each version."""


class Kind(enum.IntEnum):
    """What an inner packet is."""

    REQUEST = 1
    REPLY = 2


@frozen
class InnerPacket:
    """One packet: its number, the index of the host that sent it, and its kind.

    `answers` is the number of the request that a reply answers, else 0.
    """

    kind: Kind
    sender: int
    number: int
    answers: int = 0

    def serialise(self, source: bytes, destination: bytes, *, size: int) -> bytes:
        """Return an IP packet of *size* bytes between two packed addresses."""
        version = 4 if len(source) == 4 else 6
        body = _BODY.pack(self.kind, self.sender, self.number, self.answers)
        body = body.ljust(size - _HEADER[version], b"\xaa")
        return _header(version, len(body)) + source + destination + body


def _header(version: int, length: int) -> bytes:
    if version == 4:
        total = ip.IPV4_HEADER_SIZE + length
        return struct.pack("!BBHHHBBH", 0x45, 0, total, 0, 0, 64, _NO_PROTOCOL, 0)
    return struct.pack("!IHBB", 6 << 28, length, _NO_PROTOCOL, 64)


def parse_inner(packet: bytes) -> InnerPacket:
    """Read what `InnerPacket.serialise` wrote."""
    offset = _HEADER[packet[0] >> 4]
    kind, sender, number, answers = _BODY.unpack_from(packet, offset)
    return InnerPacket(Kind(kind), sender, number, answers)


def inner_address(index: int, version: int) -> bytes:
    """Return the packed address of host *index* (0–199) inside the tunnels."""
    if version == 4:
        return bytes((10, 77, 0, index + 1))
    return bytes.fromhex("fd77") + bytes(13) + bytes((index + 1,))


def inner_prefixes(index: int) -> list[Prefix]:
    """Return the /32 and the /128 of host *index*."""
    return [
        Prefix(version, int.from_bytes(inner_address(index, version), "big"), bits)
        for version, bits in ((4, 32), (6, 128))
    ]


class Application:
    """Sends requests, answers those of others, and remembers what happened.

    *send* puts an IP packet into the tunnel, *number* draws the next packet number.
    `sent`, `delivered` and `answered` map the numbers of requests sent, of packets
    received, and of own requests answered, to world time. While `echoes` is False
    requests are not answered.
    """

    def __init__(
        self,
        index: int,
        *,
        send: Callable[[bytes], None],
        number: Callable[[], int],
    ) -> None:
        self.index = index
        self.echoes = True
        self.sent: dict[int, float] = {}
        self.delivered: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self._send = send
        self._number = number

    def request(
        self,
        to: int,
        *,
        now: float,
        version: int = 4,
        size: int = 100,
        claim: int | None = None,
    ) -> int:
        """Send a request of *size* bytes to host number *to*; return its number.

        *claim* is the host whose source address it bears, by default our own.
        """
        source = inner_address(self.index if claim is None else claim, version)
        return self.request_between(
            source, inner_address(to, version), now=now, size=size
        )

    def request_between(
        self, source: bytes, destination: bytes, *, now: float, size: int = 100
    ) -> int:
        """Send a request of *size* bytes between packed addresses; return its number.

        Whoever has the destination answers, so it may be a host behind a node.
        """
        packet = InnerPacket(Kind.REQUEST, self.index, self._number())
        self.sent[packet.number] = now
        self._send(packet.serialise(source, destination, size=size))
        return packet.number

    def receive(self, data: bytes, *, now: float) -> None:
        """Take a packet from the tunnel; a request is answered at once."""
        packet = parse_inner(data)
        self.delivered[packet.number] = now
        if packet.kind is Kind.REPLY:
            self.answered.setdefault(packet.answers, now)
        if packet.kind is Kind.REPLY or not self.echoes:
            return
        reply = InnerPacket(Kind.REPLY, self.index, self._number(), packet.number)
        self._send(
            reply.serialise(ip.destination(data), ip.source(data), size=len(data))
        )


def address_text(packed: bytes) -> str:
    """Return the text form of a packed address."""
    return str(ipaddress.ip_address(packed))
