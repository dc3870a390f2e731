"""Which endpoints that others tell of may be dialled at all.

A signed record proves who claims an endpoint, not that the claim is harmless: it could
make us send into our own tunnel, to ourselves or to everybody on the link.
"""

import enum
import ipaddress
from collections.abc import Iterable
from typing import Final

from meshnode.channels import channel_of
from meshnode.codec.records import MAX_CANDIDATES
from meshnode.mesh.prefixes import contains, host_prefix
from meshnode.types import Endpoint, Prefix
from meshnode.values import frozen

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_THIS_HOST: Final = Prefix.parse("0.0.0.0/8")
_MULTICAST_AND_RESERVED: Final = Prefix.parse("224.0.0.0/3")
# Global unicast, unique local, and IPv4 behind a NAT64.
_UNDERLAY_IPV6: Final = (
    Prefix.parse("2000::/3"),
    Prefix.parse("fc00::/7"),
    Prefix.parse("64:ff9b::/96"),
)


class CandidateKind(enum.Enum):
    """How an endpoint came to be known: ours in the first four, a member's in others.

    Nobody else is told it, nor would be believed.
    """

    CONFIGURED = "configured"
    MAPPED = "mapped"
    LOCAL = "local"
    SEEN = "seen"
    TLS = "tls"
    LAN = "lan"
    LAST = "last"
    PUBLISHED = "published"


@frozen
class CandidateFilter:
    """Lets pass what can be the underlay address of another host.

    `overlay` are the prefixes of the network itself, IPv4 and IPv6; `local_hosts` the
    numeric underlay addresses of this host. Loopback passes only if this host has
    nothing else, as in a laboratory on one machine.

    Refused as well: port 0, the unspecified, multicast, broadcast and reserved
    addresses, IPv6 link-local ones (the zone of another host means nothing here) and
    those that hide IPv4 in IPv6.
    """

    overlay: tuple[Prefix, ...]
    local_hosts: tuple[str, ...] = ()

    def usable(self, candidates: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Return those that may be dialled, in order, each once, at most 8."""
        kept: dict[Endpoint, None] = {}
        for candidate in candidates:
            if self._may_dial(candidate):
                kept[candidate] = None
        return tuple(kept)[:MAX_CANDIDATES]

    def outside(self, candidates: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Return those that do not lie in the overlay: all we ask of our own user's."""
        return tuple(
            [
                candidate
                for candidate in candidates
                if not self._is_inside(ipaddress.ip_address(candidate.host))
            ]
        )

    def is_detour(self, endpoint: Endpoint) -> bool:
        """Whether it stands for a host behind TLS: it is local, and others are not."""
        address = ipaddress.ip_address(endpoint.host)
        return address.is_loopback and not self._has_only_loopback()

    def _may_dial(self, candidate: Endpoint) -> bool:
        if not 1 <= candidate.port <= 65535 or candidate.scope_id:
            return False
        try:
            address = ipaddress.ip_address(candidate.host)
        except ValueError:
            return False
        if str(address) != candidate.host:
            return False
        if address.is_loopback:
            return self._has_only_loopback()
        if address.version == 6:
            possible = any(_contains(prefix, address) for prefix in _UNDERLAY_IPV6)
        else:
            possible = not _contains(_THIS_HOST, address)
            possible = possible and not _contains(_MULTICAST_AND_RESERVED, address)
        return possible and not self._is_inside(address)

    def _is_inside(self, address: _Address) -> bool:
        return any(_contains(prefix, address) for prefix in self.overlay)

    def _has_only_loopback(self) -> bool:
        hosts = [ipaddress.ip_address(host) for host in self.local_hosts]
        return bool(hosts) and all(host.is_loopback for host in hosts)


def tellable(path: Endpoint | None) -> Endpoint | None:
    """Return *path* if others can do anything with it: no zone, no channel of ours."""
    if path is None or path.scope_id or channel_of(path):
        return None
    return path


def _contains(prefix: Prefix, address: _Address) -> bool:
    return contains(prefix, host_prefix(address.packed))
