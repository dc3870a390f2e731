"""IPv4 endpoints from a network that has only IPv6 (RFC 6052, RFC 7050).

The network's NAT64 has a prefix; it is learnt by asking for the IPv6 addresses of
`NAME`, which has IPv4 addresses only: what comes is made of the prefix and those.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from meshnode.types import Endpoint

NAME: Final = "ipv4only.arpa"

_KNOWN: Final = (bytes((192, 0, 0, 170)), bytes((192, 0, 0, 171)))
_PREFIX_BYTES: Final = 12


def prefix_of(answers: Iterable[str]) -> bytes | None:
    """Return the prefix (96 bits) in the IPv6 addresses of `NAME`, None without NAT64.

    Shorter prefixes, which put the IPv4 address elsewhere, are not used.
    """
    for text in answers:
        packed = ipaddress.IPv6Address(text).packed
        if packed[_PREFIX_BYTES:] in _KNOWN:
            return packed[:_PREFIX_BYTES]
    return None


def behind_nat64(prefix: bytes, endpoint: Endpoint) -> Endpoint:
    """Return where an IPv4 endpoint is reached behind the NAT64 with *prefix*."""
    packed = prefix + ipaddress.IPv4Address(endpoint.host).packed
    return Endpoint(str(ipaddress.IPv6Address(packed)), endpoint.port)
