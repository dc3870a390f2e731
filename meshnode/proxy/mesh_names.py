"""Which targets are members of the mesh, and what their names stand for; pure.

A member is `NAME`, or `NAME.NETWORK.mesh`, in whatever case.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from meshnode.types import Prefix, Target

ZONE: Final = "mesh"


class MeshNames:
    """The names and addresses of one network.

    Args:
        network: its name.
        overlay: its prefixes.
        members: their overlay addresses in text form, by name.
    """

    def __init__(
        self,
        network: str,
        overlay: Iterable[Prefix],
        members: Mapping[str, Sequence[str]],
    ) -> None:
        self._suffix = f".{network}.{ZONE}".lower()
        self._overlay = tuple(ipaddress.ip_network(str(one)) for one in overlay)
        self._members = {name.lower(): tuple(of) for name, of in members.items()}

    def resolve(self, name: str) -> tuple[str, ...]:
        """Return the addresses of the member that *name* means, () if it is none."""
        label = name.lower().removesuffix(".").removesuffix(self._suffix)
        return self._members.get(label, ())

    def has(self, target: Target) -> bool:
        """Whether *target* is in the mesh; a name of its zone is, member or not."""
        address = target.address
        if address is None:
            name = target.host.lower().removesuffix(".")
            return name.endswith(self._suffix) or bool(self.resolve(name))
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        return any(address in network for network in self._overlay)
