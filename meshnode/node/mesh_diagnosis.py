"""The verbs `why` and `netcheck` of the control socket: what stands in the way."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from meshnode.host.clock import boottime
from meshnode.manage.toml_reader import Table, text
from meshnode.mesh.describe import find_member
from meshnode.mesh.describe_paths import describe_netcheck, describe_why
from meshnode.node.mesh_admin import NoSuchMemberError
from meshnode.node.mesh_shell import MeshShell
from meshnode.wireguard.config import DeviceStatus

Answered = Mapping[str, object]
Verb = Callable[[Table], Awaitable[Answered]]


class MeshDiagnosis:
    """Answers from what is known at the moment; sends nothing.

    Args:
        shell: the mesh.
        device: gives the state of the interface.
        mappings: gives the routers that were asked for our port.
    """

    def __init__(
        self,
        shell: MeshShell,
        device: Callable[[], DeviceStatus],
        mappings: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._shell = shell
        self._device = device
        self._mappings = mappings

    def verbs(self) -> dict[str, Verb]:
        """Return the functions that answer, by verb."""
        return {"why": self._why, "netcheck": self._netcheck}

    async def _why(self, args: Table) -> Answered:
        name = args.get("peer", text, None)
        args.finish()
        node = self._shell.node
        member = find_member(node, name)
        if member is None:
            raise NoSuchMemberError(f"no member {name!r}; see: meshnode peers")
        if member.key == node.key:
            raise NoSuchMemberError(f"{name} is this node itself")
        return describe_why(
            node,
            member,
            port=self._device().listen_port,
            now=boottime(),
            wall=time.time(),
        )

    async def _netcheck(self, args: Table) -> Answered:
        args.finish()
        found = describe_netcheck(self._shell.node, port=self._device().listen_port)
        return {**found, "portMappings": self._mappings()}
