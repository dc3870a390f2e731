"""Relay channels as endpoints: where a peer is that a relay forwards to.

A channel number is 32 bits, not 0, and given by who receives under it: a type 5
datagram says it before the WireGuard datagram that it carries. To everything that
holds endpoints, a peer behind a relay is at an address of the discard prefix
(RFC 6666), which no router forwards, with our number of the channel in it. Only who
sends and who receives on the UDP port translates.
"""

import functools
import ipaddress
from typing import Final

from meshnode.types import Endpoint

_PREFIX: Final = "100::"
_NETWORK: Final = int(ipaddress.IPv6Address(_PREFIX))
_DISCARD_PORT: Final = 9


@functools.lru_cache(maxsize=4096)
def endpoint_of(channel: int) -> Endpoint:
    """Return the endpoint that stands for our *channel*, 1 to 2**32 - 1."""
    address = ipaddress.IPv6Address(_NETWORK | channel)
    return Endpoint(str(address), _DISCARD_PORT)


def is_channel_host(host: str) -> bool:
    """Whether *host*, canonical text, is an address that channels have.

    Nothing real is there: a datagram that claims to come from it was forged.
    """
    return host.startswith(_PREFIX)


@functools.lru_cache(maxsize=4096)
def channel_of(endpoint: Endpoint) -> int:
    """Return the channel that *endpoint* stands for, 0 if it is an address."""
    if not is_channel_host(endpoint.host):
        return 0
    number = int(ipaddress.IPv6Address(endpoint.host)) - _NETWORK
    return number if number < 2**32 else 0
