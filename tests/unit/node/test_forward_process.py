"""Which network each forwarded port leads into."""

import socket
from typing import Any

import pytest

from meshnode.node import forward_process as module
from meshnode.node.forward_process import open_outside, run_forwards
from meshnode.proxy.forwards import Forward, Transport, Way


def test_sockets_are_opened_where_the_target_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Into the mesh by the thread inside, out of it by ourselves."""
    served: list[Any] = []

    async def serve(*arguments: Any) -> None:
        served.append(arguments)

    class Inside:
        """Opens nothing."""

        def open_socket(self, family: Any, kind: Any) -> Any:
            """Stand for a socket of the mesh's network."""

    monkeypatch.setattr(module, "serve_forward", serve)
    into = Forward.from_option(Way.INTO, "tcp:8080:10.77.0.1:80")
    out_of = Forward.from_option(Way.OUT_OF, "udp:53:5353")
    inside: Any = Inside()
    listeners: Any = ["first", "second"]
    assert run_forwards((into, out_of), listeners, inside) == 0
    assert sorted(served, key=lambda one: str(one[1])) == [
        (Transport.TCP, "first", into.target, inside.open_socket),
        (Transport.UDP, "second", out_of.target, open_outside),
    ]


def test_sockets_outside_are_ready_for_an_event_loop() -> None:
    """Non-blocking, of the family that was asked for."""
    with open_outside(socket.AF_INET, socket.SOCK_DGRAM) as one:
        assert not one.getblocking()
