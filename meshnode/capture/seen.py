"""One packet of a capture, with all that is known of it."""

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
from meshnode.values import frozen

_PROTOCOLS: Final = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmp6"}


@frozen
class Seen:
    """A packet: its bytes from the IP header on, as far as they were copied.

    Attributes:
        time_ns: when, in nanoseconds since 1970.
        side: one of those of `codec.tap`.
        packet: the first bytes; of a datagram of the tunnel with headers before it.
        length: of the whole packet.
        headers: what `packet` says.
        peer: the name of the member that it came from or goes to; "" if unknown.
        path: where that member is at the other end of the underlay; "" if nowhere.
        channel: number of the relay channel, 0 for none.
        verdict: a verdict of `codec.tap`.
    """

    time_ns: int
    side: int
    packet: bytes
    length: int
    headers: Headers
    peer: str
    path: str
    channel: int
    verdict: int

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


def see(sighting: Sighting, *, peer: str, port: int) -> Seen:
    """Return what a tap noted; *port* is that of the node's own UDP sockets."""
    packet, length = sighting.data, sighting.length
    if sighting.side >= UNDERLAY_IN:
        head = _outer_headers(sighting, port)
        packet, length = head + packet, len(head) + length
    return Seen(
        sighting.time_ns,
        sighting.side,
        packet,
        length,
        read_headers(packet),
        peer,
        _place(sighting),
        sighting.channel,
        sighting.verdict,
    )


def comment(seen: Seen) -> str:
    """Return what pcapng says beside the packet: peer, path and verdict."""
    words = [f"peer={seen.peer}"] if seen.peer else []
    if seen.path:
        words.append(f"path={'relay' if seen.channel else 'direct'} {seen.path}")
    words.append(f"verdict={verdict_text(seen.verdict, side=seen.side)}")
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


def _place(sighting: Sighting) -> str:
    if not sighting.version:
        return ""
    size = 16 if sighting.version == 6 else 4
    return _end(sighting.remote[:size], sighting.remote_port)
