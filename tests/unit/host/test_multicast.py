"""Speaking to a group on a link, and hearing it there, between real namespaces."""

import select
import socket
from collections.abc import Callable
from typing import TypeVar

import pytest

from meshnode.host.multicast import GroupSockets, receive_from_group
from meshnode.host.namespaces import run_inside
from meshnode.types import Datagram, Endpoint, Path, Source
from topology.hosts import Host, Lab
from topology.leaks import NAMESPACES

pytestmark = pytest.mark.root

Result = TypeVar("Result")
GROUP4 = Endpoint("239.255.1.2", 61198)
GROUP6 = Endpoint("ff12::1:2", 61198)


def inside(host: Host, function: Callable[[], Result]) -> Result:
    """Call *function* in the host."""
    with open(NAMESPACES / host.namespace, "rb") as namespace:
        return run_inside(namespace.fileno(), function)


def link_of(host: Host, version: int) -> Source:
    """Return the host's address and interface on eth0."""
    (link,) = host.ip("-j address show dev eth0")
    family, scope = ("inet", "global") if version == 4 else ("inet6", "link")
    (local,) = [
        one["local"]
        for one in link["addr_info"]
        if (one["family"], one["scope"]) == (family, scope)
    ]
    return Source(local, link["ifindex"])


def receive(one: socket.socket) -> Datagram:
    """Return the next datagram."""
    assert select.select([one], [], [], 5)[0]
    return receive_from_group(one)


@pytest.mark.parametrize("group", [GROUP4, GROUP6])
def test_who_speaks_is_heard_and_answered(lab: Lab, group: Endpoint) -> None:
    """By all who joined on the link; the answer comes to the asker alone."""
    a, b = lab.host("a"), lab.host("b")
    lab.connect(a, b)
    links = [link_of(host, group.version) for host in (a, b)]
    asker, *others = [
        inside(host, lambda: GroupSockets(group, fwmark=0)) for host in (a, b, b)
    ]
    for sockets, link in zip(
        (asker, *others), (links[0], links[1], links[1]), strict=True
    ):
        sockets.set_links((link, Source("198.18.77.1", 4242)))
        sockets.set_links((link,))
    asker.send(Datagram(b"who is there", Path(group, links[0])))
    for other in others:
        heard = receive(other.listener)
        assert heard.data == b"who is there"
        assert heard.path.remote.host == links[0].host
        other.send(Datagram(b"we are", Path(heard.path.remote, links[1])))
        answer = receive(asker.speaker)
        assert (answer.data, answer.path.remote.host) == (b"we are", links[1].host)
        index = heard.path.source.interface if heard.path.source else None
        assert (index or heard.path.remote.scope_id) == links[1].interface
    # It hears itself; whoever left hears nothing.
    assert receive(asker.listener).data == b"who is there"
    others[0].set_links(())
    others[1].set_links(())
    asker.send(Datagram(b"anybody", Path(group, links[0])))
    assert receive(asker.listener).data == b"anybody"
    assert not select.select([other.listener for other in others], [], [], 0.2)[0]
    for sockets in (asker, *others):
        sockets.close()


def test_group_that_cannot_be_heard_is_refused(lab: Lab) -> None:
    """The caller goes on with the one of the other version."""
    host = lab.host("a")

    def refuse() -> None:
        with pytest.raises(OSError, match="assign"):
            GroupSockets(Endpoint("192.0.2.1", 61198), fwmark=0)

    inside(host, refuse)
