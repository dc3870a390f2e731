"""A thread in another network namespace, for a process that is not there itself.

A socket belongs for ever to the namespace where it was made, whoever uses it. So one
thread inside is all that a process needs to speak in both networks: it makes sockets
and changes addresses and routes there, and the event loop carries on outside.
"""

import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from meshnode.errors import HostError
from meshnode.host.namespaces import enter_namespace

Result = TypeVar("Result")


class Inside:
    """The thread, until it is closed.

    Made before the process gives up its privileges: entering needs CAP_SYS_ADMIN over
    the namespace. The thread then gives up its own, by *drop*.

    Args:
        namespace: a descriptor of the network namespace; stays the caller's.
        drop: called in the thread when it is inside.

    Raises:
        HostError: if it cannot enter, or what *drop* raises.
    """

    def __init__(self, namespace: int, drop: Callable[[], None]) -> None:
        self._thread = ThreadPoolExecutor(1, "inside")

        def enter() -> str:
            enter_namespace(namespace)
            drop()
            return f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"

        try:
            self.path = self._thread.submit(enter).result()
        except BaseException:
            self._thread.shutdown()
            raise

    @property
    def namespaces(self) -> tuple[str, str]:
        """Where the user namespace and the network namespace can be opened."""
        return f"/proc/{os.getpid()}/ns/user", self.path

    def call(self, function: Callable[[], Result]) -> Result:
        """Call *function* inside and wait for it; what it raises is raised here."""
        return self._thread.submit(function).result()

    def open_socket(
        self, family: socket.AddressFamily, kind: socket.SocketKind
    ) -> socket.socket:
        """Return a new, non-blocking socket of the inner network.

        It takes some tens of microseconds, and may be called from an event loop.

        Raises:
            HostError: if there is no such family, or no descriptor left.
        """

        def make() -> socket.socket:
            one = socket.socket(family, kind)
            one.setblocking(False)
            return one

        try:
            return self.call(make)
        except OSError as error:
            raise HostError(
                f"cannot open a socket in the mesh's network: {error.strerror}",
                errno=error.errno or 5,
            ) from error

    def close(self) -> None:
        """End the thread, after what it was asked for before."""
        self._thread.shutdown()
