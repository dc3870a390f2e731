"""Which routers a host has, in real namespaces."""

import select
from collections.abc import Callable
from typing import TypeVar

import pytest

from meshnode.host.gateways import (
    MAX_GATEWAYS,
    default_gateways,
    open_router_news,
    open_router_socket,
)
from meshnode.host.namespaces import run_inside
from meshnode.types import Endpoint, Path, Source
from topology.hosts import Host, Lab
from topology.leaks import NAMESPACES

pytestmark = pytest.mark.root

Result = TypeVar("Result")
PORT = 5351


def inside(host: Host, function: Callable[[], Result]) -> Result:
    """Call *function* in the host."""
    with open(NAMESPACES / host.namespace, "rb") as namespace:
        return run_inside(namespace.fileno(), function)


def gateways(host: Host, *without: str) -> list[Path]:
    """Return the routers of a host."""
    return inside(host, lambda: default_gateways(PORT, without=without, fwmark=0))


def test_routers_are_those_of_default_routes(lab: Lab) -> None:
    """With the address that faces each; a link-local one keeps its zone."""
    host, router = lab.host("a"), lab.router("r")
    port, far = lab.connect(host, router)
    assert gateways(host) == []
    host.ip(f"route add default via {far.v4}")
    index = host.ip("-j link show eth0")[0]["ifindex"]
    four = Path(Endpoint(far.v4, PORT), Source(port.v4, index))
    assert gateways(host) == [four]
    host.ip(f"route add default via fe80::1 dev {port.interface}")
    six = Path(Endpoint("fe80::1", PORT, index), Source(port.v6, index))
    assert gateways(host) == [four, six]
    assert gateways(host, "eth0") == []
    # A better route to another router comes first, and there are not too many.
    for last, metric in ((9, 0), (8, 50), (7, 60)):
        network = far.v4.rpartition(".")[0]
        host.ip(f"route replace default via {network}.{last} metric {metric}")
    found = [path.remote.host for path in gateways(host) if path.remote.version == 4]
    assert found == [f"{network}.9", f"{network}.8"]
    assert len(found) == MAX_GATEWAYS


def test_tunnel_is_no_way_to_a_router(lab: Lab) -> None:
    """Its addresses are not ours to map, whoever made it."""
    host = lab.host("a")
    host.ip("tuntap add dev vpn0 mode tun")
    lab.note_interface(host, "vpn0")
    host.ip("link set dev vpn0 up")
    host.ip("address add 10.8.0.2/24 dev vpn0")
    host.ip("route add default via 10.8.0.1")
    assert gateways(host) == []


def test_requests_leave_from_the_address_that_is_mapped(lab: Lab) -> None:
    """Else the router would answer that it is another's."""
    host, router = lab.host("a"), lab.router("r")
    port, far = lab.connect(host, router)
    path = Path(Endpoint(far.v4, PORT), Source(port.v4, 2))
    with inside(host, lambda: open_router_socket(path, fwmark=0)) as one:
        assert one.getsockname()[0] == port.v4
    lost = Path(Endpoint(far.v4, PORT), Source("192.0.2.1", 2))
    with pytest.raises(OSError, match="assign"):
        inside(host, lambda: open_router_socket(lost, fwmark=0))


@pytest.mark.parametrize("group", ["224.0.0.1", "ff02::1"])
def test_news_of_a_router_are_heard(lab: Lab, group: str) -> None:
    """By everybody who listens on the host."""
    host, router = lab.host("a"), lab.router("r")
    _, far = lab.connect(host, router)
    sockets = inside(host, lambda: [*open_router_news(5350), *open_router_news(5350)])
    kind = "UDP4" if ":" not in group else "UDP6"
    where = f"{group}:5350" if kind == "UDP4" else f"[{group}]:5350"
    more = (
        f"ip-multicast-if={far.v4}"
        if kind == "UDP4"
        else f"so-bindtodevice={far.interface}"
    )
    router.run(["socat", "-u", "-", f"{kind}-DATAGRAM:{where},{more}"], stdin="news")
    try:
        heard = 0
        while heard < 2:
            readable = select.select(sockets, [], [], 5)[0]
            assert readable
            for one in readable:
                assert one.recv(100) == b"news"
                heard += 1
    finally:
        for one in sockets:
            one.close()
