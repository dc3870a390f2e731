"""Let this host's programs find the network's names, and say how that is.

Names are a convenience: where the host cannot be told of them the node goes on, and
says in `status` what can be done. It is a complaint only if the configuration asked
for a way that there is not.
"""

from functools import partial
from typing import Any

import trio

from meshnode.host.dns import DnsPlanner
from meshnode.hostplan import Dns, DnsManager, DnsState
from meshnode.manage.config_values import DnsSettings
from meshnode.names.reverse import reverse_zones
from meshnode.node.mesh_shell import MeshShell
from meshnode.node.name_table import NameBook, own_addresses

_ASKED_FOR = (DnsManager.RESOLVED, DnsManager.RESOLV_CONF)


class HostNames:
    """Carries out what is wanted, one after the other, from the first `follow` on.

    Args:
        shell: the mesh.
        book: its names.
        planner: acts on the host.
        settings: the table `[dns]`.
        interface: the overlay's.
    """

    def __init__(
        self,
        shell: MeshShell,
        book: NameBook,
        planner: DnsPlanner,
        settings: DnsSettings,
        *,
        interface: str,
    ) -> None:
        self._shell = shell
        self._book = book
        self._planner = planner
        self._settings = settings
        self._interface = interface
        self._takes_all = False
        self._state = DnsState()
        self._is_running = False
        self._waits = trio.Event()
        self._done = trio.Event()

    def configure(self, settings: DnsSettings) -> None:
        """Follow another configuration."""
        self._settings = settings
        self.follow()

    def take_all(self, wanted: bool) -> None:
        """Let all names be asked for at our resolver, as when an exit has them."""
        if wanted != self._takes_all:
            self._takes_all = wanted
            self.follow()

    def follow(self) -> None:
        """Carry out what is wanted now; call it when the interface has its address."""
        self._done = trio.Event()
        self._waits.set()

    async def settled(self) -> None:
        """Wait until what was wanted last is carried out, if anybody does so."""
        if self._is_running:
            await self._done.wait()

    async def run(self) -> None:
        """Act whenever that is asked for, until cancelled."""
        self._is_running = True
        while True:
            await self._waits.wait()
            self._waits = trio.Event()
            plan = self.plan()
            # A bus that hangs shall not keep the node from ending.
            self._state = await trio.to_thread.run_sync(
                partial(self._planner.apply, plan), abandon_on_cancel=True
            )
            problem = self._state.problem if plan.manager in _ASKED_FOR else ""
            text = f"names of {self._book.table.domain}: {problem}"
            self._shell.complain("names", text if problem else "")
            if not self._waits.is_set():
                self._done.set()

    def plan(self) -> Dns:
        """Return what the host should ask, and whom."""
        table = self._book.table
        settings = self._settings
        return Dns(
            network=table.network,
            interface=self._interface,
            servers=own_addresses(self._shell.node),
            domains=(
                table.domain,
                *reverse_zones(table.cidr),
                *reverse_zones(table.ula),
            ),
            manager=settings.manager if settings.resolver else DnsManager.OFF,
            searches=settings.search,
            takes_all=self._takes_all,
        )

    def describe(self) -> dict[str, Any]:
        """Return what `meshnode status` and `meshnode dns status` tell."""
        plan = self.plan()
        state = self._planner.look(self._state)
        return {
            "domain": plan.domains[0],
            "resolver": self._settings.resolver,
            "servers": list(plan.servers),
            "upstream": [str(one) for one in self._settings.upstream],
            "manage": plan.manager.value,
            "by": state.by or None,
            "takesAll": plan.takes_all,
            "problem": state.problem or None,
        }
