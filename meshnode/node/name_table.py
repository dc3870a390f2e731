"""The table of the network's names, made anew when the membership is another."""

import ipaddress
from collections.abc import Callable

from meshnode.mesh.events import MemberChanged, MemberGone, MemberJoined, MeshEvent
from meshnode.mesh.identifiers import overlay_ipv6, ula_prefix
from meshnode.mesh.node import MeshNode
from meshnode.names.table import Member, NameTable
from meshnode.node.mesh_shell import MeshShell

_CHANGES = (MemberJoined, MemberChanged, MemberGone)


class NameBook:
    """Knows the table as it is now; *shell* tells it when that is another.

    `on_change` is called then, once until the table is looked at again: whoever gives
    it to another process may let some changes come together before.
    """

    def __init__(self, shell: MeshShell) -> None:
        self._node = shell.node
        self._table: NameTable | None = None
        self.on_change: Callable[[], None] = lambda: None
        shell.watch(self._follow)

    @property
    def table(self) -> NameTable:
        """The table; ten thousand members take some hundredths of a second."""
        if self._table is None:
            self._table = name_table(self._node)
        return self._table

    def _follow(self, event: MeshEvent) -> None:
        if isinstance(event, _CHANGES) and self._table is not None:
            self._table = None
            self.on_change()


def name_table(node: MeshNode) -> NameTable:
    """Return the names of the members that count, and our own."""
    charter = node.trust.charter
    ours = node.own.certificate
    members = [
        Member(
            member.certificate.name,
            *(_packed(prefix.network, prefix.version) for prefix in member.addresses),
        )
        for member in node.membership
    ]
    if node.membership.by_key(node.key) is None:
        # Not a member any more, or not yet: those here find themselves all the same.
        v6 = overlay_ipv6(charter.network_id, node.key)
        members.append(Member(ours.name, ours.ipv4, v6))
    return NameTable(
        charter.name,
        ours.name,
        cidr=charter.cidr,
        ula=ula_prefix(charter.network_id),
        members=members,
    )


def own_addresses(node: MeshNode) -> tuple[str, str]:
    """Return our overlay addresses, IPv4 first."""
    v6 = overlay_ipv6(node.trust.network_id, node.key)
    v4 = ipaddress.IPv4Address(node.own.certificate.ipv4)
    return str(v4), str(ipaddress.IPv6Address(v6))


def _packed(address: int, version: int) -> bytes:
    return address.to_bytes(4 if version == 4 else 16, "big")
