"""TLS connections between two nodes, and the proof of who the server is.

TLS 1.3, ALPN `meshnode/1`. The certificate is checked by nobody but `mesh.tls_proof`:
the first frame of the client is its challenge, the first of the server the proof, and
all after them are datagrams.
"""

import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import trio

from meshnode.codec.proxies import Credentials, open_dialogue
from meshnode.codec.tls_frames import FrameReader, encode_frame
from meshnode.codec.tls_link import Attempt
from meshnode.errors import AuthenticationError, CodecError
from meshnode.host.ancillary import sockaddr_of
from meshnode.mesh.tls_proof import CHALLENGE_BYTES, Challenge, hash_of
from meshnode.ports import Entropy
from meshnode.types import Endpoint, Target

ALPN: Final = "meshnode/1"
CONNECT_TIMEOUT: Final = 8.0
"""Seconds until a server must have proven who it is."""

STAGGER: Final = 0.25
"""Seconds from one attempt to the next (RFC 8305), as long as none has succeeded."""

READ_BYTES: Final = 65_536

TlsStream = trio.SSLStream[trio.SocketStream]
Prove = Callable[[bytes], Awaitable[bytes]]
"""Answers a challenge; b"" if it was not for us."""


class NoConnectionError(Exception):
    """No connection could be had; the text says why, in one line."""


class ImpostorError(NoConnectionError):
    """Somebody else than the server answered."""


def client_context() -> ssl.SSLContext:
    """Return the settings of a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The server proves itself, by what a web's authority knows nothing of.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    return context


def server_context(pem_path: str) -> ssl.SSLContext:
    """Return the settings of a server with the certificate and key in that file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.load_cert_chain(pem_path)
    context.set_alpn_protocols([ALPN])
    return context


class Connection:
    """An open connection: the stream, and what is left in it of the first frames."""

    def __init__(self, stream: TlsStream, reader: FrameReader) -> None:
        self.stream = stream
        self._reader = reader
        self._early: list[bytes] = []

    async def receive(self) -> list[bytes]:
        """Return the datagrams that came; [] at the end of the stream.

        Raises:
            CodecError: if what came are no frames.
            trio.BrokenResourceError: if the connection broke.
        """
        while True:
            if self._early:
                datagrams, self._early = self._early, []
                return datagrams
            data = await self.stream.receive_some(READ_BYTES)
            if not data:
                return []
            self._early = self._reader.receive(bytes(data))

    async def receive_first(self) -> bytes:
        """Return the first frame; raises as `receive`, and `CodecError` at the end."""
        first, *self._early = await self.receive() or [b""]
        if not first:
            raise CodecError("the connection ended")
        return first

    async def send(self, data: bytes) -> None:
        """Send frames, encoded already."""
        await self.stream.send_all(data)

    async def close(self) -> None:
        """Close it, without waiting for the other side."""
        await trio.aclose_forcefully(self.stream)


async def connect(
    key: bytes,
    attempts: Sequence[tuple[trio.socket.SocketType, Attempt]],
    *,
    scheme: str,
    credentials: Credentials,
    entropy: Entropy,
) -> Connection:
    """Return a connection to the server with the WireGuard key *key*.

    All attempts are made, each a moment after the one before; the first that ends
    with the proof wins. Their sockets are closed, but that of the winner.

    Raises:
        ImpostorError: if only others answered.
        NoConnectionError: if nobody did in time.
    """
    found: list[Connection] = []
    reasons: list[str] = []
    impostors: list[str] = []
    context = client_context()

    async def attempt(
        one: trio.socket.SocketType, to: Attempt, is_over: trio.Event
    ) -> None:
        try:
            stream = await _open_stream(one, to, scheme, credentials)
            won = await _greet(stream, key, context, entropy)
        except ImpostorError as error:
            impostors.append(f"{to.target}: {error}")
        except (OSError, CodecError, trio.BrokenResourceError, ssl.SSLError) as error:
            reasons.append(f"{to.target}: {_reason_of(error)}")
        else:
            if found:
                await won.close()
            else:
                found.append(won)
                nursery.cancel_scope.cancel()
        finally:
            is_over.set()

    try:
        with trio.move_on_after(CONNECT_TIMEOUT):
            async with trio.open_nursery() as nursery:
                for one, to in attempts:
                    is_over = trio.Event()
                    nursery.start_soon(attempt, one, to, is_over)
                    with trio.move_on_after(STAGGER):
                        await is_over.wait()
    finally:
        winners = [won.stream.transport_stream.socket for won in found]
        for one, _ in attempts:
            if one not in winners:
                one.close()
    if found:
        return found[0]
    if impostors:
        raise ImpostorError("; ".join(impostors))
    raise NoConnectionError("; ".join(reasons) or "no answer")


async def accept(
    transport: trio.SocketStream, context: ssl.SSLContext, prove: Prove
) -> Connection:
    """Return the connection with a client that knows who we are.

    Raises:
        CodecError: if it does not, or speaks something else.
        ssl.SSLError, trio.BrokenResourceError: if it speaks no TLS as we do.
    """
    stream = trio.SSLStream(transport, context, server_side=True, https_compatible=True)
    await stream.do_handshake()
    _require_alpn(stream)
    connection = Connection(stream, FrameReader())
    challenge = await connection.receive_first()
    proof = await prove(challenge) if len(challenge) == CHALLENGE_BYTES else b""
    if not proof:
        raise CodecError("a stranger")
    await connection.send(encode_frame(proof))
    return connection


async def _open_stream(
    one: trio.socket.SocketType, to: Attempt, scheme: str, credentials: Credentials
) -> trio.SocketStream:
    await one.connect(sockaddr_of(to.through))
    stream = trio.SocketStream(one)
    if not scheme:
        return stream
    target = Target(to.target.host, to.target.port)
    dialogue = open_dialogue(scheme, target, credentials)
    while True:
        data = dialogue.data_to_send()
        if data:
            await stream.send_all(data)
        if dialogue.is_open:
            return stream
        heard = await stream.receive_some(READ_BYTES)
        if not heard:
            raise CodecError("the proxy ended the connection")
        dialogue.receive(bytes(heard))


async def _greet(
    transport: trio.SocketStream,
    key: bytes,
    context: ssl.SSLContext,
    entropy: Entropy,
) -> Connection:
    stream = trio.SSLStream(transport, context, https_compatible=True)
    await stream.do_handshake()
    try:
        _require_alpn(stream)
        challenge = Challenge(key, entropy)
        connection = Connection(stream, FrameReader())
        await connection.send(encode_frame(challenge.sealed))
        proof = await connection.receive_first()
        certificate = stream.getpeercert(binary_form=True)
        challenge.check(hash_of(certificate or b""), proof)
    except (AuthenticationError, CodecError, trio.BrokenResourceError) as error:
        raise ImpostorError(
            "it does not prove to be that member: somebody in the middle intercepts "
            "TLS, or another server has this address"
        ) from error
    return connection


def _require_alpn(stream: TlsStream) -> None:
    if stream.selected_alpn_protocol() != ALPN:
        raise CodecError("another protocol")


def _reason_of(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else None
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return " ".join(str(cause or error).split()) or type(error).__name__


def attempts_for(
    hosts: Sequence[str], port: int, proxy: Sequence[Endpoint]
) -> tuple[Attempt, ...]:
    """Return the attempts to reach one server at *hosts*, one for each.

    With a *proxy*, through the first of its addresses for the first host and so on.
    """
    targets = [Endpoint(host, port) for host in hosts]
    if not proxy:
        return tuple([Attempt(target, target) for target in targets])
    return tuple(
        [
            Attempt(proxy[number % len(proxy)], target)
            for number, target in enumerate(targets)
        ]
    )


async def close_quietly(connection: Connection) -> None:
    """Close a connection, whatever is wrong with it."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await connection.close()
