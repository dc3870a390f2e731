"""The process that carries forwarded ports of a rootless node.

It is in the network of the host, with one thread in that of the mesh, and has no
privilege in either.
"""

import socket
from collections.abc import Sequence

import trio

from meshnode.host.inside import Inside
from meshnode.proxy.forward_server import serve_forward
from meshnode.proxy.forwards import Forward, Way


def run_forwards(
    forwards: Sequence[Forward], listeners: Sequence[socket.socket], inside: Inside
) -> int:
    """Serve until killed.

    Args:
        forwards: what goes where.
        listeners: theirs, in the same order; become ours.
        inside: where those `INTO` the mesh open their sockets.
    """
    trio.run(_serve, forwards, listeners, inside)
    return 0


async def _serve(
    forwards: Sequence[Forward], listeners: Sequence[socket.socket], inside: Inside
) -> None:
    async with trio.open_nursery() as nursery:
        for one, listener in zip(forwards, listeners, strict=True):
            is_into = one.way is Way.INTO
            open_socket = inside.open_socket if is_into else open_outside
            nursery.start_soon(
                serve_forward, one.transport, listener, one.target, open_socket
            )


def open_outside(
    family: socket.AddressFamily, kind: socket.SocketKind
) -> socket.socket:
    """Return a non-blocking socket of this process's network; raises `OSError`."""
    one = socket.socket(family, kind)
    one.setblocking(False)
    return one
