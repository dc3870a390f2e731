"""Sockets for traffic of others; that they serve it is tested as root."""

import errno
import socket
from typing import Any

import pytest

from meshnode.errors import HostError
from meshnode.host import transparent
from meshnode.host.transparent import (
    open_answering,
    open_transparent_listener,
    open_transparent_receiver,
)


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Let the kernel forget what needs a privilege; return which options were set."""
    asked: list[tuple[int, int]] = []

    class Socket(socket.socket):
        def setsockopt(self, level: int, option: int, *value: Any) -> None:
            asked.append((level, option))
            if option not in (19, 75):
                super().setsockopt(level, option, *value)

    monkeypatch.setattr(transparent.socket, "socket", Socket)
    return asked


def test_sockets_are_of_localhost(ordinary: list[tuple[int, int]]) -> None:
    """Transparent, and datagrams with where they were going."""
    for version, host in ((4, "127.0.0.1"), (6, "::1")):
        listener = open_transparent_listener(version)
        receiver = open_transparent_receiver(version)
        assert listener is not None
        assert receiver is not None
        with listener, receiver:
            for one in (listener, receiver):
                assert one.getsockname()[0] == host
                assert one.getsockname()[1] > 0
                assert not one.getblocking()
    assert ordinary.count((0, 19)) == ordinary.count((41, 75)) == 2
    assert ordinary.count((0, 20)) == ordinary.count((41, 74)) == 1
    with open_answering(4) as one:
        assert one.getsockname() == ("0.0.0.0", 0)


def test_hosts_without_ipv6_have_no_such_socket(
    ordinary: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPv4 must be there."""

    def refuse(*_: Any) -> Any:
        raise OSError(errno.EAFNOSUPPORT, "no")

    monkeypatch.setattr(transparent.socket, "socket", refuse)
    assert open_transparent_listener(6) is None
    assert open_transparent_receiver(6) is None
    with pytest.raises(HostError, match="cannot open a socket"):
        open_transparent_listener(4)


def test_a_missing_privilege_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is closed again."""

    class Socket(socket.socket):
        def setsockopt(self, level: int, option: int, *value: Any) -> None:
            if option == 19:
                raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(transparent.socket, "socket", Socket)
    with pytest.raises(HostError, match="make a socket transparent") as caught:
        open_answering(4)
    assert caught.value.errno == errno.EPERM
