"""Routers with a NAT, in namespaces."""

from collections.abc import Sequence
from ipaddress import IPv4Network

from topology.description import NatPlace
from topology.hosts import Port
from topology.nat_rules import rules, variables


class NatRouter:
    """A router whose NAT hides the LANs *inside* from the one that *outside* is in."""

    def __init__(
        self, outside: Port, place: NatPlace, inside: Sequence[tuple[str, IPv4Network]]
    ) -> None:
        self.host = outside.host
        self.outside = outside.v4
        for key, value in variables(place).items():
            self.host.sysctl(key, value)
        self._rules = rules(place, outside.interface, outside.v4, inside)
        self.host.nft(self._rules)

    def rebind(self) -> None:
        """Forget all mappings, as a router that starts anew does."""
        self.host.nft(self._rules)
        self.host.run("conntrack -F")
