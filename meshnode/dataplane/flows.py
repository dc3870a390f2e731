"""Which packets are one flow, and which of several owners a flow belongs to.

Theory of operation: weighted rendezvous hashing. Flow and owner together give a
number u between 0 and 1, and the owner with the greatest `weight / -ln(u)` has the
flow. So every owner gets its part of all flows, a flow stays where it is whatever
else comes or goes, and when an owner goes only its own flows move. The hash is that
of nobody's process: after a restart the flows are where they were.
"""

import math
from collections.abc import Iterable
from typing import Final

from meshnode.codec import ip
from meshnode.crypto.primitives import blake2s
from meshnode.forwarding import ShareOfPrefix

_ICMP: Final = 1
_ICMPV6: Final = 58
# TCP, UDP, DCCP, SCTP and UDP-Lite begin with both ports.
_WITH_PORTS: Final = frozenset((6, 17, 33, 132, 136))
# Echo request and reply have an identifier in bytes 4 and 5.
_ECHO: Final = {_ICMP: (8, 0), _ICMPV6: (128, 129)}
# More fragments, or the offset of a later one.
_FRAGMENT_MASK: Final = 0x3FFF
# 52 bits of the hash: with one half added they are still exact, and never 1.
_UNIT: Final = 2.0**52


def flow_of(packet: bytes) -> bytes:
    """Return what all packets of a flow share; *packet* is as `ip.true_length` took it.

    Addresses and protocol; the ports, unless it is a fragment, because only the first
    one has them; the identifier of an ICMP echo. IPv6 extension headers are not
    looked behind: a packet with one counts as of that header's protocol.
    """
    if packet[0] >> 4 == 4:
        protocol, at = packet[9], (packet[0] & 15) * 4
        addresses = packet[12:20]
        if (packet[6] << 8 | packet[7]) & _FRAGMENT_MASK or at < ip.IPV4_HEADER_SIZE:
            return addresses + packet[9:10]
    else:
        protocol, at = packet[6], ip.IPV6_HEADER_SIZE
        addresses = packet[8:40]
    flow = addresses + bytes((protocol,))
    if protocol in _WITH_PORTS:
        return flow + packet[at : at + 4]
    if protocol in _ECHO and at < len(packet) and packet[at] in _ECHO[protocol]:
        return flow + packet[at + 4 : at + 6]
    return flow


def choose_owner(flow: bytes, owners: Iterable[ShareOfPrefix]) -> int:
    """Return the slot that *flow* belongs to; there is one owner at least."""
    return max(owners, key=lambda share: _score(flow, share)).slot


def _score(flow: bytes, share: ShareOfPrefix) -> tuple[float, int]:
    digest = blake2s(share.slot.to_bytes(4, "little") + flow)
    number = int.from_bytes(digest[:8], "little") >> 12
    # The slot breaks the tie that will never be.
    return share.weight / -math.log((number + 0.5) / _UNIT), share.slot
