"""The process that speaks TLS, run in a thread: what control says is done."""

import socket

import trio

from meshnode.codec.tls_link import (
    MAX_MESSAGE_BYTES,
    Attempt,
    Connected,
    Dial,
    HangUp,
    Lost,
    Setup,
    Started,
    TlsMessage,
    decode_from_tls,
    encode,
)
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair
from meshnode.host.streams import open_stream_socket
from meshnode.node.tls_process import TlsProcess, make_context
from meshnode.types import Endpoint
from tests.unit.node.tls_parts import KEY, LOCAL, echoing_node, serving


async def hear(link: socket.socket) -> TlsMessage:
    """Return the process's next message."""
    with trio.fail_after(10):
        while True:
            await trio.lowlevel.wait_readable(link)
            received = recv_with_fds(link, max_bytes=MAX_MESSAGE_BYTES)
            if received is not None:
                return decode_from_tls(received[0])


def say_dial(link: socket.socket, place: Endpoint) -> None:
    """Ask for a connection to the server at *place*."""
    with open_stream_socket(4) as one:
        dial = Dial(KEY, "", "", "", (Attempt(place, place),))
        assert send_with_fds(link, encode(dial), [one.fileno()])


async def test_dial_use_and_hang_up() -> None:
    """A datagram goes out and back; what was said before its beginning is forgotten."""
    ours, theirs = seqpacket_pair(buffer_bytes=2**16)
    context, certificate_hash = make_context()
    with ours, theirs, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as node:
        node.bind((LOCAL, 0))
        say_dial(ours, Endpoint(LOCAL, 1))
        process = TlsProcess(theirs, [], context, certificate_hash)
        async with (
            echoing_node() as port,
            serving(port) as place,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(process.run)
            assert await hear(ours) == Started()
            send_with_fds(ours, encode(Setup(node.getsockname()[1])))
            say_dial(ours, Endpoint(LOCAL, 1))
            lost = await hear(ours)
            assert isinstance(lost, Lost)
            assert not lost.is_impostor
            say_dial(ours, place)
            connected = await hear(ours)
            assert isinstance(connected, Connected)
            node.sendto(b"there and back", (LOCAL, connected.port))
            with trio.fail_after(10):
                await trio.lowlevel.wait_readable(node)
            assert node.recv(100) == b"there and back"
            send_with_fds(ours, encode(HangUp(KEY)))
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert not process._scopes
            nursery.cancel_scope.cancel()
