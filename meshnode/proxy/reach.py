"""Where an exit lets members go: out into the world, and not to what is its own."""

from collections.abc import Container, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
)


def members_may_reach(
    address: IPv4Address | IPv6Address,
    *,
    own: Container[IPv4Address | IPv6Address],
    closed: Sequence[IPv4Network | IPv6Network] = (),
) -> bool:
    """Return whether members may have connections to *address*.

    Never to the exit itself, that is to loopback, to the address that stands for it
    (0.0.0.0 and ::) or to one of its *own*; nor to addresses of the link, of groups or
    for all; nor to a *closed* prefix. Those of the mesh should be closed: other members
    would take the exit for who calls.
    """
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified or address.is_link_local:
        return False
    if address.is_multicast or address in own:
        return False
    if isinstance(address, IPv4Address) and (
        # "This network" (RFC 6890) and the reserved block with the address for all.
        address.is_reserved or address.packed[0] == 0
    ):
        return False
    return not any(address in network for network in closed)
