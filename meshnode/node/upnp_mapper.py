"""UPnP as the last resort: a thread that asks, and a task that knows when.

It is asked where PCP and NAT-PMP got no IPv4 port within 20 s, and again every ten
minutes, which renews the mapping too. Without the library nothing is done.
"""

from collections.abc import Callable
from typing import Final

import trio

from meshnode.errors import HostError
from meshnode.host.upnp import UpnpMapping, has_upnp
from meshnode.mesh.port_mapping import LIFETIME
from meshnode.types import Endpoint

FIRST_AFTER: Final = 20.0
REPEAT_AFTER: Final = 600.0
ANSWER_WITHIN: Final = 15.0


class UpnpMapper:
    """Has our UDP *port* forwarded by UPnP.

    Args:
        port: the port.
        needed_for: gives our address that has no mapping, "" if none is needed.
        on_change: called when `external` may have changed.
    """

    def __init__(
        self,
        port: int,
        *,
        needed_for: Callable[[], str],
        on_change: Callable[[], None],
    ) -> None:
        self.client = ""
        self.external: Endpoint | None = None
        self.problem = ""
        self._port = port
        self._needed_for = needed_for
        self._on_change = on_change
        self._mapping: UpnpMapping | None = None
        self._moved = trio.Event()

    def network_changed(self) -> None:
        """Look again soon: there may be another router."""
        self._moved.set()

    async def run(self) -> None:
        """Keep the mapping until cancelled; returns at once without the library."""
        if not has_upnp():
            return
        wait = FIRST_AFTER
        while True:
            self._moved = trio.Event()
            with trio.move_on_after(wait) as rest:
                await self._moved.wait()
            wait = FIRST_AFTER
            if rest.cancelled_caught:
                await self._look()
                wait = REPEAT_AFTER

    async def end(self) -> None:
        """Give the port back, if there is one."""
        if self._mapping is not None:
            await _in_thread(self._mapping.end)

    async def _look(self) -> None:
        client = self._needed_for()
        if client != self.client:
            await self.end()
            self.client, self.external, self.problem = client, None, ""
            self._mapping = UpnpMapping(client, self._port) if client else None
        mapping = self._mapping
        if mapping is not None:
            found: list[Endpoint] = []
            self.problem = await _in_thread(
                lambda: found.append(mapping.renew(LIFETIME))
            )
            self.external = found[0] if found else None
        self._on_change()


async def _in_thread(work: Callable[[], object]) -> str:
    """Do what blocks, for 15 s at most; return what went wrong."""
    with trio.move_on_after(ANSWER_WITHIN):
        try:
            await trio.to_thread.run_sync(work, abandon_on_cancel=True)
        except HostError as error:
            return str(error)
        return ""
    return "UPnP: the router takes too long"
