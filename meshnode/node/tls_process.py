"""The process that speaks TLS for one node: it serves clients and dials servers.

It has no privilege and no key but that of its own certificate. Control says whom to
dial and hands over the sockets, which bear the node's mark; it answers challenges, and
decides everything. To the node the others are ports of 127.0.0.1.
"""

import logging
import os
import signal
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from meshnode.codec.proxies import Credentials
from meshnode.codec.tls_link import (
    MAX_ATTEMPTS,
    MAX_MESSAGE_BYTES,
    MAX_REASON_BYTES,
    Connected,
    Dial,
    HangUp,
    Lost,
    Proof,
    Prove,
    Setup,
    Started,
    TlsMessage,
    decode_from_control,
    encode,
)
from meshnode.errors import HostError
from meshnode.host.channels import (
    discard_messages,
    recv_with_fds,
    send_with_fds,
)
from meshnode.host.streams import open_handover
from meshnode.mesh.tls_leaf import create_leaf
from meshnode.mesh.tls_proof import hash_of
from meshnode.node.tls_bridge import IDLE_TIMEOUT, Bridge
from meshnode.node.tls_server import TlsServer
from meshnode.node.tls_streams import (
    ImpostorError,
    NoConnectionError,
    connect,
    server_context,
)

PROOF_TIMEOUT: Final = 3.0
MAX_PROOFS: Final = 64
"""Challenges that wait for control at once; more are refused."""

_log = logging.getLogger("meshnode.node")


def make_context() -> tuple[ssl.SSLContext, bytes]:
    """Return the server's settings with a fresh certificate, and its hash.

    Call it while the process may still open its own descriptors by their names.
    """
    certificate, pem = create_leaf(os.urandom(32), os.urandom(16))
    descriptor = os.memfd_create("meshnode-tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem.encode("ascii"))
        context = server_context(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context, hash_of(certificate)


def run_tls(
    link: socket.socket,
    listeners: Sequence[socket.socket],
    context: ssl.SSLContext,
    certificate_hash: bytes,
) -> int:
    """Be the process until SIGTERM; return an exit code.

    Args:
        link: to control.
        listeners: where clients come, if we serve any.
        context: the server's settings.
        certificate_hash: what the certificate is proven by.
    """
    process = TlsProcess(link, listeners, context, certificate_hash)
    with suppress(KeyboardInterrupt):
        trio.run(process.run)
    return 0


class TlsProcess:
    """Everything of the process; arguments are those of `run_tls`."""

    def __init__(
        self,
        link: socket.socket,
        listeners: Sequence[socket.socket],
        context: ssl.SSLContext,
        certificate_hash: bytes,
    ) -> None:
        self._link = link
        self._listeners = listeners
        self._context = context
        self._hash = certificate_hash
        self._port = 0
        self._scopes: dict[bytes, trio.CancelScope] = {}
        self._number = 0
        self._proofs: dict[int, trio.MemorySendChannel[bytes]] = {}
        self._has_port = trio.Event()

    async def run(self) -> None:
        """Serve and dial until SIGTERM."""
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve)
                # What was meant for the process before us is said anew.
                discard_messages(
                    self._link, max_bytes=MAX_MESSAGE_BYTES, max_fds=MAX_ATTEMPTS
                )
                self._tell(Started())
                nursery.start_soon(self._hear, nursery)
                await anext(signals)
                nursery.cancel_scope.cancel()

    async def _serve(self) -> None:
        await self._has_port.wait()
        server = TlsServer(
            self._listeners,
            self._context,
            port=partial(getattr, self, "_port"),
            prove=self._prove,
        )
        await server.run()

    async def _hear(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._link)
            received = recv_with_fds(
                self._link, max_bytes=MAX_MESSAGE_BYTES, max_fds=MAX_ATTEMPTS
            )
            if received is None:
                continue
            data, descriptors = received
            sockets = [socket.socket(fileno=number) for number in descriptors]
            match decode_from_control(data):
                case Setup(port):
                    for scope in self._scopes.values():
                        scope.cancel()
                    self._port = port
                    self._has_port.set()
                case Dial() as dial:
                    nursery.start_soon(self._dial, dial, sockets)
                    sockets = []
                case HangUp(key):
                    if key in self._scopes:
                        self._scopes[key].cancel()
                case Proof(number, proof):
                    waiting = self._proofs.get(number)
                    if waiting is not None:
                        waiting.send_nowait(proof)
            for one in sockets:
                one.close()

    async def _dial(self, dial: Dial, sockets: list[socket.socket]) -> None:
        before = self._scopes.get(dial.key)
        if before is not None:
            before.cancel()
        scope = self._scopes[dial.key] = trio.CancelScope()
        lost = Lost(dial.key, "", is_impostor=False)
        try:
            with scope:
                lost = await self._keep(dial, sockets)
        finally:
            for one in sockets:
                one.close()
            if self._scopes.get(dial.key) is scope:
                del self._scopes[dial.key]
        if not scope.cancelled_caught:
            self._tell(lost)

    async def _keep(self, dial: Dial, sockets: list[socket.socket]) -> Lost:
        """Keep one connection until it ends; return why it did."""
        attempts = [
            (trio.socket.from_stdlib_socket(one), attempt)
            for one, attempt in zip(sockets, dial.attempts, strict=False)
        ]
        try:
            connection = await connect(
                dial.key,
                attempts,
                scheme=dial.scheme,
                credentials=Credentials(dial.user, dial.password),
                entropy=os.urandom,
            )
        except NoConnectionError as error:
            reason = str(error)[: MAX_REASON_BYTES // 4]
            is_impostor = isinstance(error, ImpostorError)
            return Lost(dial.key, reason, is_impostor)
        bridge = Bridge(connection, open_handover(self._port), patience=IDLE_TIMEOUT)
        self._tell(Connected(dial.key, bridge.port))
        await bridge.run()
        return Lost(dial.key, "the connection ended", is_impostor=False)

    async def _prove(self, challenge: bytes) -> bytes:
        """Let control answer a challenge."""
        if len(self._proofs) >= MAX_PROOFS:
            return b""
        self._number = (self._number + 1) % 2**32
        number = self._number
        sending, receiving = trio.open_memory_channel[bytes](1)
        self._proofs[number] = sending
        try:
            self._tell(Prove(number, challenge, self._hash))
            with trio.move_on_after(PROOF_TIMEOUT):
                return await receiving.receive()
            return b""
        finally:
            del self._proofs[number]

    def _tell(self, message: TlsMessage) -> None:
        try:
            if not send_with_fds(self._link, encode(message)):
                _log.debug("control does not listen: a message is lost")
        except HostError as error:
            _log.debug("control is gone: %s", error)
