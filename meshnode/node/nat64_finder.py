"""Learns the prefix of the network's NAT64, on a host that has no IPv4 (RFC 7050)."""

import logging
import socket
from collections.abc import Callable

import trio

from meshnode.mesh.nat64 import NAME, prefix_of

_log = logging.getLogger("meshnode.node")


class Nat64Finder:
    """Asks the network's name server when the host's addresses change.

    Args:
        versions: gives the versions of IP, 4 and 6, that the host has addresses of.
        on_prefix: is told the prefix, or None where there is no NAT64 or no need.
    """

    def __init__(
        self,
        versions: Callable[[], set[int]],
        on_prefix: Callable[[bytes | None], None],
    ) -> None:
        self._versions = versions
        self._on_prefix = on_prefix
        self._moved = trio.Event()
        self._moved.set()

    def follow(self) -> None:
        """The host has other addresses than before."""
        self._moved.set()

    async def run(self) -> None:
        """Ask after each move."""
        while True:
            await self._moved.wait()
            self._moved = trio.Event()
            needs_it = self._versions() == {6}
            self._on_prefix(await _look_up() if needs_it else None)


async def _look_up() -> bytes | None:
    try:
        answers = await trio.socket.getaddrinfo(NAME, None, family=socket.AF_INET6)
    except OSError as error:
        _log.debug("no NAT64: %s", error)
        return None
    return prefix_of(str(address[0]) for *_, address in answers)
