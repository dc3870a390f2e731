"""What a node asks of its surroundings: ports of routers, and members on its links."""

import os
from typing import Any

import trio

from meshnode.manage.config_values import NetworkConfig
from meshnode.mesh.lan_discovery import LanDiscovery
from meshnode.node.lan_finder import LanFinder
from meshnode.node.mesh_shell import MeshShell
from meshnode.node.port_mapper import PortMapper


class Surroundings:
    """Port mappings and LAN discovery, as far as *config* wants them.

    Args:
        shell: told what was found.
        config: of the network.
        interface: the overlay's.
        port: our UDP port.
        fwmark: of what we send.
    """

    def __init__(
        self,
        shell: MeshShell,
        config: NetworkConfig,
        *,
        interface: str,
        port: int,
        fwmark: int,
    ) -> None:
        node = shell.node
        self._mapper: PortMapper | None = None
        self._finder: LanFinder | None = None
        if config.port_mapping:
            self._mapper = PortMapper(
                port=port,
                private_key=node.identity.private_key,
                interface=interface,
                fwmark=fwmark,
                entropy=os.urandom,
                on_change=shell.follow_mapped,
            )
        if config.lan_discovery:
            discovery = LanDiscovery(
                network_id=node.identity.network_id,
                key=node.key,
                port=port,
                is_member=lambda key: node.membership.by_key(key) is not None,
                entropy=os.urandom,
            )
            self._finder = LanFinder(
                discovery,
                interface=interface,
                fwmark=fwmark,
                on_found=shell.follow_near,
            )

    async def run(self) -> None:
        """Ask and listen until cancelled; then give back what is not ours."""
        async with trio.open_nursery() as nursery:
            if self._mapper is not None:
                nursery.start_soon(self._mapper.run)
            if self._finder is not None:
                nursery.start_soon(self._finder.run)

    def follow(self) -> None:
        """The host's links, addresses or routes changed."""
        if self._mapper is not None:
            self._mapper.follow()
        if self._finder is not None:
            self._finder.follow()

    def mappings(self) -> list[dict[str, Any]]:
        """Return the routers that were asked, and what came of it."""
        return [] if self._mapper is None else self._mapper.describe()
