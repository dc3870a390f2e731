"""The device as the userspace API manages it: the engine, and its sockets."""

import errno

from meshnode.errors import ConfigError, HostError
from meshnode.node.control_lifeline import ControlLifeline
from meshnode.node.driver import Driver
from meshnode.node.fleet import Fleet
from meshnode.node.outlet import Outlet
from meshnode.wireguard.config import DeviceChange, DeviceStatus


class MeshDevice:
    """Answers `get`, and refuses `set`: who is a peer is the mesh's to say."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def get(self) -> DeviceStatus:
        """Return a status of the caller's own."""
        return self._driver.status()

    async def set(self, change: DeviceChange) -> None:
        """Refuse *change*; raises `ConfigError`."""
        raise ConfigError(
            "a mesh's interface is configured by meshnode", errno=errno.EPERM
        )


class ManagedDevice:
    """Answers `get` and `set`; a `manage.uapi_server.Device`.

    What can be refused by others than the engine, the port and the mark, is done
    first and taken back if the engine refuses too.
    """

    def __init__(
        self,
        driver: Driver,
        outlet: Outlet,
        lifeline: ControlLifeline,
        fleet: Fleet,
    ) -> None:
        self._driver = driver
        self._outlet = outlet
        self._lifeline = lifeline
        self._fleet = fleet

    async def get(self) -> DeviceStatus:
        """Return a status of the caller's own."""
        return self._driver.status()

    async def set(self, change: DeviceChange) -> None:
        """Apply *change* whole; raises `ConfigError` or `HostError` and does not."""
        before = self._driver.status()
        fwmark = before.fwmark if change.fwmark is None else change.fwmark
        if change.listen_port not in (None, before.listen_port):
            await self._rebind(change.listen_port or 0, fwmark)
        elif fwmark != before.fwmark:
            self._outlet.mark(fwmark)
        try:
            self._driver.configure(change)
        except ConfigError:
            await self._restore(before)
            raise

    async def _rebind(self, port: int, fwmark: int) -> None:
        pairs = await self._lifeline.rebind(port, fwmark)
        self._outlet.replace(pairs)
        self._fleet.use_sockets(pairs)

    async def _restore(self, before: DeviceStatus) -> None:
        try:
            if self._outlet.pair.port != before.listen_port:
                await self._rebind(before.listen_port, before.fwmark)
            else:
                self._outlet.mark(before.fwmark)
        except HostError as error:
            # Somebody took the port within a moment: we stay on the new one.
            self._driver.adopt_port()
            raise HostError(
                f"the old port cannot be had again: {error}", errno=error.errno
            ) from error
