"""TCP sockets, and the local UDP sockets behind TLS."""

import errno
import socket

import pytest

from meshnode.errors import HostError
from meshnode.host.streams import (
    open_handover,
    open_listener,
    open_overlay_datagrams,
    open_overlay_listener,
    open_stream_socket,
)
from meshnode.types import Endpoint


def test_a_port_that_is_taken_is_refused() -> None:
    """Whoever has it keeps it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(HostError, match=f"{port} is taken") as caught:
            open_listener(Endpoint("127.0.0.1", port))
        assert caught.value.errno == errno.EADDRINUSE


def test_listeners_of_both_families_share_a_port() -> None:
    """IPv6's takes IPv6 only."""
    with open_listener(Endpoint("::", 0)) as one:
        port = one.getsockname()[1]
        with open_listener(Endpoint("0.0.0.0", port)) as other:
            assert other.getsockname()[1] == port


def test_sockets_do_not_wait() -> None:
    """They are for Trio."""
    for version in (4, 6):
        with open_stream_socket(version) as one:
            assert not one.getblocking()


def test_handover_speaks_to_one_port_only() -> None:
    """What others send to it is not heard."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as node:
        node.bind(("127.0.0.1", 0))
        node.settimeout(5)
        with open_handover(node.getsockname()[1]) as handover:
            handover.send(b"out")
            data, source = node.recvfrom(100)
            assert (data, source) == (b"out", handover.getsockname())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"forged", source)
            node.sendto(b"back", source)
            handover.settimeout(5)
            assert handover.recv(100) == b"back"


@pytest.mark.parametrize("host", ["10.77.99.99", "fd77::99"])
def test_an_overlay_address_need_not_be_there_yet(host: str) -> None:
    """And what comes by another interface is not heard."""
    place = Endpoint(host, 1080)
    with open_overlay_listener(place, "lo") as one:
        assert one.getsockname()[:2] == (host, 1080)
        device = one.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
        assert device.rstrip(b"\0") == b"lo"
        with pytest.raises(HostError, match="1080 is taken"):
            open_overlay_listener(place, "lo")


def test_an_interface_that_is_not_there() -> None:
    """It is an error that says so."""
    with pytest.raises(HostError, match=r"cannot listen at 10\.77\.99\.99:1080"):
        open_overlay_listener(Endpoint("10.77.99.99", 1080), "nosuch0")


@pytest.mark.parametrize("host", ["10.77.99.99", "fd77::99"])
def test_datagrams_at_an_overlay_address(host: str) -> None:
    """It need not be there yet; who has the port keeps it."""
    with open_overlay_datagrams(Endpoint(host, 0)) as one:
        port = one.getsockname()[1]
        assert one.getsockname()[0] == host
        assert not one.getblocking()
        with pytest.raises(HostError, match=f"UDP port {port} is taken") as caught:
            open_overlay_datagrams(Endpoint(host, port))
        assert caught.value.errno == errno.EADDRINUSE
