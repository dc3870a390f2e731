"""Where forwarded ports come in."""

import errno
import os
import socket
from typing import Any

import pytest

from meshnode.errors import HostError, PrivilegeError
from meshnode.node import forward_listeners as module
from meshnode.node.forward_listeners import call_in, open_forward
from meshnode.node.tasks import NO_DESCRIPTOR
from meshnode.proxy.forwards import Forward, Way


def free_port() -> int:
    """Return a TCP port of loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_hosts_end_is_opened_here(transport: str) -> None:
    """At loopback, ready for an event loop, and never twice."""
    forward = Forward.from_option(Way.INTO, f"{transport}:{free_port()}:1")
    with open_forward(forward, 7) as one:
        assert one.getsockname() == (forward.listen.host, forward.listen.port)
        assert not one.getblocking()
        with pytest.raises(HostError, match="taken: choose another") as caught:
            open_forward(forward, 7)
        assert caught.value.errno == errno.EADDRINUSE


def test_members_come_in_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """At all addresses, of both versions if there are both."""
    entered = []

    def run_inside(namespace: int, function: Any) -> Any:
        entered.append(namespace)
        return function()

    monkeypatch.setattr(module, "run_inside", run_inside)
    forward = Forward.from_option(Way.OUT_OF, f"tcp:{free_port()}:1")
    with open_forward(forward, 7) as one:
        assert one.family == socket.AF_INET6
        port = forward.listen.port
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), 10).close()
    assert entered == [7]
    assert call_in(NO_DESCRIPTOR, lambda: 5) == 5
    assert entered == [7]


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (errno.EACCES, PrivilegeError, "from 1024 on"),
        (errno.EADDRNOTAVAIL, HostError, "cannot listen on TCP port 127.0.0.1:80"),
    ],
)
def test_refusals_name_the_port(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], text: str
) -> None:
    """And what to do."""

    def fail(*_: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "_bind", fail)
    with pytest.raises(kind, match=text):
        open_forward(Forward.from_option(Way.INTO, "tcp:80:80"), NO_DESCRIPTOR)


def test_a_host_without_ipv6_is_served_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """All addresses are then those that there are."""
    places = []

    def bind(transport: object, place: Any) -> Any:
        places.append(str(place))
        if place.version == 6:
            raise OSError(errno.EAFNOSUPPORT, "")
        return "listener"

    monkeypatch.setattr(module, "_bind", bind)
    forward = Forward.from_option(Way.OUT_OF, "tcp:80:8080")
    found: Any = open_forward(forward, NO_DESCRIPTOR)
    assert found == "listener"
    assert places == ["[::]:80", "0.0.0.0:80"]
