"""Forwarding: what is set, and in which order."""

import socket

import pytest

from meshnode.host import ipforward, netlink, sysctl
from meshnode.host.changes import RestoreSysctl
from meshnode.host.netlink import HostRoute
from meshnode.types import Prefix

V4, V6 = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The kernel variables, to be filled; loopback has a route from a router."""
    values = {V4: "0", V6: "0"}
    monkeypatch.setattr(sysctl, "read", values.get)
    routes = [
        HostRoute(Prefix.parse("::/0"), socket.if_nametoindex("lo"), ("fe80::1",), 9),
        HostRoute(Prefix.parse("::/0"), 4242, ("fe80::1",), 9),
    ]
    monkeypatch.setattr(netlink, "routes_of", lambda table: routes)
    return values


def test_both_versions_are_turned_on(variables: dict[str, str]) -> None:
    """A host that forwards nothing needs both."""
    assert not ipforward.host_forwards()
    assert ipforward.forwarding_changes() == [
        RestoreSysctl(V4, "0", "1"),
        RestoreSysctl(V6, "0", "1"),
    ]


def test_router_is_left_as_it_is(variables: dict[str, str]) -> None:
    """Nothing to set, nothing to take back; IPv6 has other values than 0 and 1."""
    variables.update({V4: "1", V6: "2"})
    assert ipforward.host_forwards()
    assert ipforward.forwarding_changes() == []


def test_host_without_ipv6_forwards_ipv4(variables: dict[str, str]) -> None:
    """A variable that is missing is not set."""
    del variables[V6]
    assert ipforward.forwarding_changes() == [RestoreSysctl(V4, "0", "1")]


def test_advertised_default_route_is_kept(variables: dict[str, str]) -> None:
    """Who lives by router advertisements is told to go on, before forwarding begins."""
    key = "net/ipv6/conf/lo/accept_ra"
    variables[key] = "1"
    changes = ipforward.forwarding_changes()
    assert changes[1:] == [RestoreSysctl(key, "1", "2"), RestoreSysctl(V6, "0", "1")]
    variables[key] = "0"
    assert RestoreSysctl(key, "1", "2") not in ipforward.forwarding_changes()
