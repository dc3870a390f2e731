"""The host's own addresses, and that their changes are heard of."""

import ipaddress
import select

import pytest

from meshnode.host.addresses import (
    AddressWatch,
    every_address,
    lan_links,
    local_addresses,
)
from meshnode.host.namespaces import run_inside
from meshnode.types import Source
from topology.hosts import Lab
from topology.leaks import NAMESPACES


class Message(dict[str, int]):
    """A netlink message as the library gives it."""

    def __init__(self, attributes: dict[str, object], **fields: int) -> None:
        super().__init__(fields)
        self._attributes = attributes

    def get_attr(self, name: str) -> object:
        """Return an attribute, or None."""
        return self._attributes.get(name)


class Netlink:
    """A host with these links and addresses."""

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_links(self) -> list[Message]:
        """Return the links."""
        # Name, driver, ARPHRD type, and flags: up, and some with multicast.
        rows = [
            (1, "lo", "", 772, 0x1),
            (2, "eth0", "", 1, 0x1001),
            (3, "mesh0", "tun", 65534, 0x1001),
            (4, "vpn0", "tun", 65534, 0x1001),
            (5, "wg0", "wireguard", 65534, 0x1),
            (6, "tap0", "tun", 1, 0x1001),
            (7, "ppp0", "ppp", 512, 0x1),
            (8, "eth1", "", 1, 0x1000),
        ]
        return [
            Message(
                {
                    "IFLA_IFNAME": name,
                    "IFLA_LINKINFO": Message({"IFLA_INFO_KIND": kind}),
                },
                index=i,
                ifi_type=link_type,
                flags=flags,
            )
            for i, name, kind, link_type, flags in rows
        ]

    def get_addr(self) -> list[Message]:
        """Return the addresses."""
        rows = [
            (1, "127.0.0.1", 0x80),
            (2, "198.51.100.7", 0x80),
            (2, "2001:db8::7", 0x80),
            (2, "fe80::1", 0x80),
            (2, "2001:db8::aaaa", 0x01),  # temporary
            (2, "2001:db8::bbbb", 0x20),  # deprecated
            (2, "2001:db8::cccc", 0x40),  # not checked for duplicates yet
            (2, "2001:db8::dddd", 0x08),  # somebody else has it
            (3, "10.77.0.1", 0x80),
            (4, "10.8.0.2", 0x80),
            (5, "10.9.0.2", 0x80),
            (6, "192.168.122.1", 0x80),
            (6, "fe80::6", 0x80),
            (7, "203.0.113.7", 0x80),
            (8, "192.0.2.8", 0x80),
            (2, "192.0.2.3", 0x80),
        ]
        return [
            Message({"IFA_ADDRESS": text, "IFA_FLAGS": flags}, index=i, flags=flags)
            for i, text, flags in rows
        ]


def test_only_usable_addresses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of overlay and tunnels, nor loopback, link-local, temporary or tentative."""
    monkeypatch.setattr("pyroute2.IPRoute", Netlink)
    found = local_addresses(without=("mesh0",))
    assert found == [
        *("192.0.2.3", "192.0.2.8", "192.168.122.1"),
        *("198.51.100.7", "203.0.113.7", "2001:db8::7"),
    ]


def test_links_are_those_with_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up and with multicast; IPv6 by the link-local address, which needs no router."""
    monkeypatch.setattr("pyroute2.IPRoute", Netlink)
    assert lan_links(without=("mesh0",)) == [
        Source("192.0.2.3", 2),
        Source("198.51.100.7", 2),
        Source("fe80::1", 2),
        Source("192.168.122.1", 6),
        Source("fe80::6", 6),
    ]


def test_addresses_of_this_host_are_canonical() -> None:
    """Whatever it has."""
    for text in local_addresses(without=()):
        assert str(ipaddress.ip_address(text)) == text


@pytest.mark.root
def test_every_address_is_every_one() -> None:
    """Loopback's too, each once, in its usual form."""
    found = every_address()
    assert "127.0.0.1" in found
    assert found == [str(ipaddress.ip_address(one)) for one in found]
    assert len(set(found)) == len(found)
    assert set(local_addresses(without=())) <= set(found)


def test_a_change_is_heard(lab: Lab) -> None:
    """An address that comes makes the descriptor readable, once cleared no more."""
    host = lab.host("a")

    def watch_and_change() -> tuple[bool, bool]:
        watch = AddressWatch()
        try:
            host.ip("address add 192.0.2.9/32 dev lo")
            heard = bool(select.select([watch], [], [], 5)[0])
            watch.clear()
            return heard, bool(select.select([watch], [], [], 0)[0])
        finally:
            watch.close()
            watch.close()

    with open(NAMESPACES / host.namespace, "rb") as namespace:
        heard = run_inside(namespace.fileno(), watch_and_change)
    assert heard == (True, False)
