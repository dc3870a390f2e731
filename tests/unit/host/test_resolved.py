"""What systemd-resolved is told, and what becomes of it where it is not there."""

import errno
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meshnode.errors import HostError
from meshnode.host import resolved
from meshnode.host.resolved import configure_link, is_running, revert_link
from meshnode.hostplan import Dns
from tests.unit.host.fake_bus import FakeBus

DNS = Dns(
    network="home",
    interface="mesh0",
    servers=("10.77.0.1", "fd11:2233:4455::1"),
    domains=("home.mesh", "77.10.in-addr.arpa"),
)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[FakeBus]:
    """A bus with resolved on it."""
    with FakeBus(tmp_path) as one:
        yield one


def test_link_gets_servers_and_domains(bus: FakeBus) -> None:
    """Only names of the network are asked for there."""
    assert is_running(bus=bus.path)
    configure_link(7, DNS, bus=bus.path)
    assert bus.links[7] == {
        "SetLinkDNS": [
            (socket.AF_INET, bytes([10, 77, 0, 1])),
            (socket.AF_INET6, socket.inet_pton(socket.AF_INET6, "fd11:2233:4455::1")),
        ],
        "SetLinkDomains": [("home.mesh", False), ("77.10.in-addr.arpa", True)],
        "SetLinkDefaultRoute": False,
        "SetLinkDNSSEC": "no",
        "SetLinkDNSOverTLS": "no",
        "SetLinkLLMNR": "no",
        "SetLinkMulticastDNS": "no",
    }


def test_all_names_can_go_there(bus: FakeBus) -> None:
    """The root is a domain, then; and nothing need be searched."""
    configure_link(7, replace(DNS, takes_all=True, searches=False), bus=bus.path)
    told = bus.links[7]
    assert told["SetLinkDefaultRoute"] is True
    assert told["SetLinkDomains"] == [
        ("home.mesh", True),
        ("77.10.in-addr.arpa", True),
        (".", True),
    ]


def test_link_is_forgotten(bus: FakeBus) -> None:
    """More often than needed is no error; nor is a link that it does not know."""
    configure_link(7, DNS, bus=bus.path)
    for index in (7, 7, 8):
        revert_link(index, bus=bus.path)
    assert not bus.links


def test_resolved_is_not_there(bus: FakeBus, tmp_path: Path) -> None:
    """No bus, or no resolved on it: there is nothing to take back."""
    bus.is_running = False
    for place in (bus.path, str(tmp_path / "nothing")):
        assert not is_running(bus=place)
        revert_link(7, bus=place)
        with pytest.raises(HostError) as caught:
            configure_link(7, DNS, bus=place)
        assert caught.value.errno == errno.ESRCH


def test_resolved_refuses(bus: FakeBus) -> None:
    """It says why."""
    bus.refusal = "org.freedesktop.resolve1.LinkBusy"
    for act in (
        lambda: configure_link(7, DNS, bus=bus.path),
        lambda: revert_link(7, bus=bus.path),
    ):
        with pytest.raises(HostError, match="so it is") as caught:
            act()
        assert caught.value.errno == errno.EPERM


def test_resolved_hangs(bus: FakeBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for for ever."""
    monkeypatch.setattr(resolved, "_TIMEOUT", 0.1)
    bus.is_silent = True
    with pytest.raises(HostError, match="does not answer") as caught:
        configure_link(7, DNS, bus=bus.path)
    assert caught.value.errno == errno.ETIMEDOUT
