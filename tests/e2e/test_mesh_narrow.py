"""Paths that begin to swallow what is large, under traffic, and do not say so."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.mesh_parts import MeshHost, Site, await_acquainted, until
from topology import blackholes
from topology.hosts import Lab
from topology.processes import Process

pytestmark = pytest.mark.root

BASE = 1420
SURVIVED = 5.0
"""Seconds in which traffic must go on."""

RECEIVE = """
import socket, sys, time
server = socket.create_server(("", 7777), family=socket.AF_INET6, dualstack_ipv6=True)
print("up", flush=True)
flow, _ = server.accept()
count = shown = 0
while data := flow.recv(1 << 18):
    count += len(data)
    if count - shown > 100_000:
        shown = count
        print(f"got {count} at {time.monotonic()}", flush=True)
"""

SEND = """
import socket, sys, time
flow = socket.create_connection((sys.argv[1], 7777), 20)
flow.settimeout(None)
while True:
    flow.sendall(bytes(20_000))
    time.sleep(0.02)
"""
SETTLED = 10.0


class NarrowSite(Site):
    """A segment whose ports may swallow what is larger than they carry."""

    def pair(self, *, v6: bool = False) -> tuple[MeshHost, MeshHost]:
        """Return two members: one with the reference engine, one with the fast one."""
        anna, bert = (self.host(name, v6=v6) for name in ("anna", "bert"))
        for host in (anna, bert):
            blackholes.send_singly(host.host, "lan")
        anna.found()
        anna.configure(engine="reference")
        anna.up()
        bert.run("join", "-", "--name", "bert", "--no-up", stdin=anna.invite())
        bert.configure(engine="fast")
        bert.up()
        await_acquainted([anna, bert])
        anna.pings(bert)
        return anna, bert


def swallow(outer: int, *hosts: MeshHost) -> None:
    """Let the way to each host, and so both ways, carry no more than *outer* bytes."""
    for host in hosts:
        blackholes.swallow(host.host, "lan", outer)


@contextmanager
def stream(one: MeshHost, other: MeshHost, address: str) -> Iterator[Process]:
    """Let one send the other a megabyte a second by TCP; yield who receives it."""
    server = other.host.start(["python3", "-c", RECEIVE])
    until(lambda: "up" in server.output, "it listens")
    sender = one.host.start(["python3", "-c", SEND, address])
    until(lambda: "got" in server.output, "it receives")
    yield server
    sender.stop()
    server.stop()


def goes_on(receiver: Process, since: float) -> float:
    """Return how long after *since* the stream passed again; it stood for a moment."""

    def arrivals() -> list[float]:
        found = re.findall(r"at ([0-9.]+)", receiver.output)
        # What was on its way before is no sign.
        return [at for at in map(float, found) if at > since + 0.3]

    until(lambda: len(arrivals()) > 2, "the stream goes on")
    return arrivals()[0] - since


def size(one: MeshHost, other: MeshHost) -> int:
    """Return how large packets from one to the other may be, as the node says."""
    return int(one.peers()[other.name]["mtu"])


def route(one: MeshHost, other: MeshHost) -> str:
    """Return what the kernel does with a packet from one to the other."""
    return one.host.run(f"ip route get {other.address}").stdout


@pytest.mark.parametrize("outer", [1280, 1300, 1360, 1492])
def test_a_stream_survives_a_black_hole(lab: Lab, outer: int) -> None:
    """It goes on in five seconds, in packets that fit, and these grow afterwards."""
    site = NarrowSite(lab)
    anna, bert = site.pair()
    fitting = min(BASE, (outer - 60) // 16 * 16)
    with stream(anna, bert, bert.address) as receiver:
        began = time.monotonic()
        swallow(outer, anna, bert)
        assert goes_on(receiver, began) < SURVIVED
        until(lambda: size(anna, bert) == fitting, f"packets of {fitting} bytes")
        swallow(0, anna, bert)
        until(lambda: size(anna, bert) == BASE, "the base again")
    until(lambda: "mtu" not in route(anna, bert), "the route is gone")


def test_large_pings_and_ipv6_survive_a_black_hole(lab: Lab) -> None:
    """In both directions: 1,280 outer bytes are less than IPv6 inside would need."""
    site = NarrowSite(lab)
    anna, bert = site.pair()
    flows = [
        one.host.start(f"ping -n -D -i 0.2 -s 1300 {address}")
        for one, address in ((anna, bert.address), (bert, anna.address6))
    ]
    until(lambda: all("icmp_seq" in flow.output for flow in flows), "pings pass")
    with stream(bert, anna, anna.address6) as receiver:
        began, wall = time.monotonic(), time.time()
        swallow(1280, anna, bert)
        assert goes_on(receiver, began) < SURVIVED
        for flow in flows:

            def answers(flow: Process = flow) -> list[float]:
                found = re.findall(r"\[([0-9.]+)\].*icmp_seq", flow.output)
                return [at - wall for at in map(float, found) if at > wall + 0.3]

            until(lambda: bool(answers()), "a large ping is answered")
            assert answers()[0] < SURVIVED
    for flow in flows:
        flow.stop()
    assert size(anna, bert) == size(bert, anna) == 1216


def test_a_path_over_ipv6_is_narrower(lab: Lab) -> None:
    """By the twenty bytes that its header has more."""
    site = NarrowSite(lab)
    anna, bert = site.pair(v6=True)
    swallow(1492, anna, bert)
    with stream(anna, bert, bert.address) as receiver:
        assert goes_on(receiver, time.monotonic()) < SURVIVED
        is_v6 = "[" in anna.peers()["bert"]["endpoint"]
        expected = 1408 if is_v6 else BASE
        until(lambda: size(anna, bert) == expected, "packets fit")


def test_an_idle_pair_is_asked_nothing(lab: Lab) -> None:
    """However narrow the path has become: nobody needs to know."""
    site = NarrowSite(lab)
    anna, bert = site.pair()
    # What members tell each other at first may fill a packet.
    time.sleep(SETTLED)
    swallow(1280, anna, bert)
    for _ in range(20):
        assert anna.answers(bert.address)
        time.sleep(0.2)
    assert size(anna, bert) == size(bert, anna) == BASE
