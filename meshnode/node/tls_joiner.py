"""The way by TLS for who joins: in a thread of its own, for joining waits in `poll`.

No process, no privilege and no mark: there is no route of ours yet.
"""

import os
import threading
from typing import Final

import trio

from meshnode.errors import CodecError, ConfigError, HostError
from meshnode.host.streams import open_handover, open_stream_socket
from meshnode.manage.config_values import TlsSettings
from meshnode.node.tls_bridge import IDLE_TIMEOUT, Bridge
from meshnode.node.tls_proxy import find_way
from meshnode.node.tls_streams import NoConnectionError, attempts_for, connect
from meshnode.types import Endpoint

_AGAIN: Final = 2.0
"""Seconds between two attempts."""

_END_WITHIN: Final = 5.0


class TlsJoiner:
    """Reaches the issuer by TLS once it is started, until it is closed.

    `endpoint` is where the issuer is then, for our UDP port; `problem` why not.

    Args:
        key: the issuer's WireGuard key.
        hosts: its numeric addresses, at most 8.
        settings: the port of its server, and the proxy.
        port: our UDP port.
    """

    def __init__(
        self, key: bytes, hosts: tuple[str, ...], settings: TlsSettings, port: int
    ) -> None:
        self.endpoint: Endpoint | None = None
        self.problem = ""
        self._key = key
        self._hosts = hosts
        self._settings = settings
        self._port = port
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(
            target=trio.run, args=(self._run,), name="tls", daemon=True
        )

    @property
    def has_started(self) -> bool:
        """Whether `start` was called."""
        return self._thread.ident is not None

    def start(self) -> None:
        """Begin, and go on trying."""
        self._thread.start()

    def close(self) -> None:
        """End the connection."""
        if not self.has_started:
            return
        if self._token is None:
            self._scope.cancel()
        else:
            try:
                self._token.run_sync_soon(self._scope.cancel)
            except trio.RunFinishedError:
                return
        self._thread.join(_END_WITHIN)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            while True:
                try:
                    await self._keep()
                except (NoConnectionError, ConfigError, HostError, CodecError) as error:
                    self.problem = str(error)
                self.endpoint = None
                await trio.sleep(_AGAIN)

    async def _keep(self) -> None:
        way = await trio.to_thread.run_sync(find_way, self._settings)
        attempts = []
        for one in attempts_for(self._hosts, self._settings.port, way.endpoints):
            try:
                opened = open_stream_socket(one.through.version)
            except HostError as error:
                self.problem = str(error)
                continue
            attempts.append((trio.socket.from_stdlib_socket(opened), one))
        connection = await connect(
            self._key,
            attempts,
            scheme=way.scheme,
            credentials=way.credentials,
            entropy=os.urandom,
        )
        bridge = Bridge(connection, open_handover(self._port), patience=IDLE_TIMEOUT)
        self.endpoint, self.problem = Endpoint("127.0.0.1", bridge.port), ""
        await bridge.run()
        self.problem = "the connection ended"
