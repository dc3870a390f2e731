"""A TLS server over loopback, and a node behind it that echoes what it hears."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from meshnode.codec.proxies import Credentials
from meshnode.codec.tls_link import Attempt
from meshnode.crypto.keys import PrivateKey
from meshnode.errors import AuthenticationError
from meshnode.host.streams import open_listener, open_stream_socket
from meshnode.mesh.tls_proof import prove
from meshnode.node.tls_process import make_context
from meshnode.node.tls_server import TlsServer
from meshnode.node.tls_streams import Connection, connect
from meshnode.types import Endpoint

LOCAL = "127.0.0.1"
SERVER = PrivateKey(bytes(range(32)))
KEY = SERVER.public_key().raw


@asynccontextmanager
async def echoing_node() -> AsyncIterator[int]:
    """Give the UDP port of a node that sends back what it hears."""
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as node:
        await node.bind((LOCAL, 0))

        async def echo() -> None:
            while True:
                data, source = await node.recvfrom(70_000)
                await node.sendto(data, source)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            yield int(node.getsockname()[1])
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(port: int, *, key: PrivateKey = SERVER) -> AsyncIterator[Endpoint]:
    """Give where a server for the node at UDP *port* listens."""
    context, certificate_hash = make_context()

    async def answer(sealed: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            return prove(key, sealed, certificate_hash)
        except AuthenticationError:
            return b""

    with open_listener(Endpoint(LOCAL, 0)) as listener:
        server = TlsServer([listener], context, port=partial(int, port), prove=answer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            yield Endpoint(LOCAL, listener.getsockname()[1])
            nursery.cancel_scope.cancel()


async def dial(*places: Endpoint, key: bytes = KEY) -> Connection:
    """Return a connection to the server at one of *places*."""
    attempts = [
        (
            trio.socket.from_stdlib_socket(open_stream_socket(place.version)),
            Attempt(place, place),
        )
        for place in places
    ]
    return await connect(
        key, attempts, scheme="", credentials=Credentials(), entropy=os.urandom
    )
