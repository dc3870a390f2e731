"""One packet of a capture, with all that is known of it."""

from functools import lru_cache
from typing import Final

from meshnode.capture.headers import (
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Headers,
    address_of,
    read_headers,
    udp_headers,
)
from meshnode.codec.tap import (
    SIDES,
    TUNNEL_IN,
    UNDERLAY_IN,
    Sighting,
    is_dropped,
    verdict_text,
)

_PROTOCOLS: Final = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmp6"}


class Seen:
    """A packet: its bytes from the IP header on, as far as they were copied.

    What costs something to find out is found out when it is asked for, since most of
    many packets are only written down.

    Attributes:
        time_ns: when, in nanoseconds since 1970.
        side: one of those of `codec.tap`.
        packet: the first bytes; of a datagram of the tunnel with headers before it.
        length: of the whole packet.
        peer: the name of the member that it came from or goes to; "" if unknown.
        channel: number of the relay channel, 0 for none.
        verdict: a verdict of `codec.tap`.

    *port* is that of the node's own UDP sockets.
    """

    __slots__ = (
        *("time_ns", "side", "packet", "length", "peer", "channel", "verdict"),
        *("_headers", "_place"),
    )

    def __init__(self, sighting: Sighting, peer: str, port: int) -> None:
        self.time_ns = sighting.time_ns
        self.side = sighting.side
        self.packet = sighting.data
        self.length = sighting.length
        self.peer = peer
        self.channel = sighting.channel
        self.verdict = sighting.verdict
        self._place = sighting.version, sighting.remote, sighting.remote_port
        self._headers: Headers | None = None
        if sighting.side >= UNDERLAY_IN:
            head = _outer_headers(sighting, port)
            self.packet = head + sighting.data
            self.length += len(head)

    @property
    def headers(self) -> Headers:
        """What `packet` says."""
        if self._headers is None:
            self._headers = read_headers(self.packet)
        return self._headers

    @property
    def path(self) -> str:
        """Where the member is, at the other end of the underlay; "" if nowhere."""
        return _place(*self._place)

    @property
    def is_inbound(self) -> bool:
        """Whether it was on its way to this host."""
        return self.side in (TUNNEL_IN, UNDERLAY_IN)

    @property
    def is_underlay(self) -> bool:
        """Whether it is a datagram of the tunnel, and not in it."""
        return self.side >= UNDERLAY_IN

    @property
    def is_dropped(self) -> bool:
        """Whether it went no further."""
        return is_dropped(self.verdict)


def comment(seen: Seen) -> str:
    """Return what pcapng says beside the packet: peer, path and verdict."""
    return _comment(seen.peer, seen.path, bool(seen.channel), seen.verdict, seen.side)


@lru_cache(maxsize=1024)
def _comment(peer: str, path: str, is_relayed: bool, verdict: int, side: int) -> str:
    words = [f"peer={peer}"] if peer else []
    if path:
        words.append(f"path={'relay' if is_relayed else 'direct'} {path}")
    words.append(f"verdict={verdict_text(verdict, side=side)}")
    return " ".join(words)


def describe(seen: Seen) -> dict[str, object]:
    """Return the packet as JSON has it; what it has not is left out."""
    headers = seen.headers
    found: dict[str, object] = {
        "at": seen.time_ns / 1e9,
        "side": SIDES[seen.side],
        "length": seen.length,
        "verdict": verdict_text(seen.verdict, side=seen.side),
    }
    if seen.peer:
        found["peer"] = seen.peer
    if seen.path:
        found["path"] = {
            "kind": "relay" if seen.channel else "direct",
            "endpoint": seen.path,
        }
    if headers.version:
        found["source"] = str(address_of(headers.source))
        found["destination"] = str(address_of(headers.destination))
        found["protocol"] = protocol_name(headers.protocol)
    if headers.source_port >= 0:
        found["sourcePort"] = headers.source_port
        found["destinationPort"] = headers.destination_port
    return found


def protocol_name(number: int) -> str:
    """Return the name of an IP protocol that is often met, else its number."""
    return _PROTOCOLS.get(number, str(number))


def ends_text(headers: Headers) -> str:
    """Return "source > destination", with ports where there are any."""
    if not headers.version:
        return "no IP packet"
    source = _end(headers.source, headers.source_port)
    return f"{source} > {_end(headers.destination, headers.destination_port)}"


def line(seen: Seen, clock: str) -> str:
    """Return a line for a terminal that begins with *clock*, the time in words."""
    name = protocol_name(seen.headers.protocol) if seen.headers.version else "?"
    return (
        f"{clock} {SIDES[seen.side]} {name} {ends_text(seen.headers)} "
        f"length {seen.length} {comment(seen)}"
    )


def _end(address: bytes, port: int) -> str:
    text = str(address_of(address))
    if port < 0:
        return text
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _outer_headers(sighting: Sighting, port: int) -> bytes:
    size = 16 if sighting.version == 6 else 4
    local, remote = sighting.local[:size], sighting.remote[:size]
    here, there = sighting.local_port or port, sighting.remote_port
    if sighting.side == UNDERLAY_IN:
        return udp_headers(remote, local, there, here, sighting.length)
    return udp_headers(local, remote, here, there, sighting.length)


@lru_cache(maxsize=1024)
def _place(version: int, remote: bytes, port: int) -> str:
    if not version:
        return ""
    return _end(remote[: 16 if version == 6 else 4], port)
