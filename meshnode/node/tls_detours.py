"""Control's end of TLS: tells the process whom to dial, and the node what came of it.

The process is asked for when there is something to say to it. Whenever another one
begins, or we do, all is said anew.
"""

import logging
import socket
from collections.abc import Callable
from typing import Final

import trio

from meshnode.codec.tls_link import (
    MAX_ATTEMPTS,
    MAX_MESSAGE_BYTES,
    Connected,
    ControlMessage,
    Dial,
    HangUp,
    Lost,
    Proof,
    Prove,
    Setup,
    Started,
    TlsMessage,
    decode_from_tls,
    encode,
)
from meshnode.errors import (
    AuthenticationError,
    CodecError,
    ConfigError,
    HostError,
)
from meshnode.host.channels import (
    discard_messages,
    recv_with_fds,
    send_with_fds,
)
from meshnode.host.clock import boottime
from meshnode.host.streams import open_stream_socket
from meshnode.manage.config_values import TlsSettings
from meshnode.mesh.describe import name_of
from meshnode.mesh.tls_proof import prove
from meshnode.node.mesh_shell import MeshShell
from meshnode.node.tls_proxy import Way, find_way
from meshnode.node.tls_streams import attempts_for
from meshnode.types import Endpoint

_SUBJECT: Final = "TLS detour"
_log = logging.getLogger("meshnode.node")


class TlsDetours:
    """Keeps the TLS connections that the node of *shell* wants.

    Args:
        shell: the mesh.
        link: to the process that speaks TLS; ours.
        settings: the table `[tls]`.
        port: our UDP port.
        fwmark: of what we send.
        want_process: lets the process be started.
    """

    def __init__(
        self,
        shell: MeshShell,
        link: socket.socket,
        settings: TlsSettings,
        *,
        port: int,
        fwmark: int,
        want_process: Callable[[], None],
    ) -> None:
        self._shell = shell
        self._link = link
        self._settings = settings
        self._port = port
        self._fwmark = fwmark
        self._want_process = want_process
        self._dialled: tuple[bytes, ...] = ()
        self._has_changed = trio.Event()

    async def run(self) -> None:
        """Follow the node and the process until cancelled."""
        self._shell.call_when_settled(self._look)
        with self._link:
            # What was meant for the control process before us.
            discard_messages(self._link, max_bytes=MAX_MESSAGE_BYTES)
            self._say(Setup(self._port))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear)
                nursery.start_soon(self._follow)

    def _look(self) -> None:
        if self._shell.node.detours.watch.wanted != self._dialled:
            self._has_changed.set()

    async def _follow(self) -> None:
        while True:
            await self._has_changed.wait()
            self._has_changed = trio.Event()
            wanted = self._shell.node.detours.wanted(now=boottime())
            before, self._dialled = self._dialled, tuple(wanted)
            for key in before:
                if key not in wanted:
                    self._say(HangUp(key))
                    self._shell.follow_detour(key, None)
            if not wanted:
                self._shell.complain(_SUBJECT, "")
            for key in wanted:
                if key not in before:
                    await self._dial(key, wanted[key])

    async def _dial(self, key: bytes, hosts: tuple[str, ...]) -> None:
        self._want_process()
        try:
            way = await trio.to_thread.run_sync(find_way, self._settings)
            problem = self._begin(key, hosts, way)
        except (ConfigError, HostError, CodecError) as error:
            problem = str(error)
            self._shell.complain(_SUBJECT, problem)
        if problem:
            self._lose(key, problem)

    def _begin(self, key: bytes, hosts: tuple[str, ...], way: Way) -> str:
        """Hand over the sockets for one server; return why that is not possible."""
        attempts, sockets = [], []
        problem = "no address of it is known"
        try:
            for one in attempts_for(hosts, self._settings.port, way.endpoints):
                try:
                    opened = open_stream_socket(
                        one.through.version, fwmark=self._fwmark
                    )
                except HostError as error:
                    problem = str(error)
                    continue
                sockets.append(opened)
                attempts.append(one)
            if not attempts:
                return problem
            credentials = way.credentials
            dial = Dial(
                key,
                way.scheme,
                credentials.user,
                credentials.password,
                tuple(attempts[:MAX_ATTEMPTS]),
            )
            name = name_of(self._shell.node, key)
            _log.info("UDP gets no answer: dialling %s by TLS", name)
            self._say(dial, sockets)
        finally:
            for opened in sockets:
                opened.close()
        return ""

    async def _hear(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._link)
            received = recv_with_fds(
                self._link, max_bytes=MAX_MESSAGE_BYTES, max_fds=MAX_ATTEMPTS
            )
            if received is None:
                continue
            try:
                self._take(decode_from_tls(received[0]))
            except CodecError as error:
                _log.error("the process that speaks TLS sent nonsense: %s", error)

    def _take(self, message: TlsMessage) -> None:
        match message:
            case Started():
                # Whom the one before it reached is soon reached again.
                self._say(Setup(self._port))
                self._dialled = ()
                self._has_changed.set()
            case Connected(key, port) if key in self._dialled:
                name = name_of(self._shell.node, key)
                _log.info("%s is reached by TLS", name)
                self._shell.complain(_SUBJECT, "")
                self._shell.follow_detour(key, Endpoint("127.0.0.1", port))
            case Lost(key, reason, is_impostor) if key in self._dialled:
                if is_impostor:
                    name = name_of(self._shell.node, key)
                    self._shell.complain(_SUBJECT, f"{name} by TLS: {reason}")
                self._lose(key, reason)
            case Prove(number, sealed, certificate_hash):
                private_key = self._shell.node.identity.private_key
                try:
                    proof = prove(private_key, sealed, certificate_hash)
                except AuthenticationError:
                    proof = b""  # a stranger
                self._say(Proof(number, proof))

    def _lose(self, key: bytes, reason: str) -> None:
        name = name_of(self._shell.node, key)
        _log.info("%s is not reached by TLS: %s", name, reason)
        self._dialled = tuple([one for one in self._dialled if one != key])
        self._shell.follow_detour(key, None)

    def _say(
        self, message: ControlMessage, sockets: list[socket.socket] | None = None
    ) -> None:
        descriptors = [one.fileno() for one in sockets or ()]
        if not send_with_fds(self._link, encode(message), descriptors):
            _log.warning("the process that speaks TLS does not listen")
