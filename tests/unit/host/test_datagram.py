"""Sockets for what is not of the mesh's wire."""

import socket

import pytest

from meshnode.host.datagram import open_datagram_socket


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mark", [0, 1, 0xFFFFFFFF])
def test_socket_has_its_version_and_mark(version: int, mark: int) -> None:
    """And does not block."""
    with open_datagram_socket(version, mark) as one:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        assert one.family == family
        assert not one.getblocking()
        found = one.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)
        assert found & 0xFFFFFFFF == mark
