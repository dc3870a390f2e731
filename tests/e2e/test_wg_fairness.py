"""One flow that takes all it can get leaves the others theirs."""

import json
import sys
from dataclasses import dataclass

import pytest

from tests.e2e.test_wg_restarts import kill
from tests.interop.scenarios import answers
from topology.hosts import Host, Lab, wait_until
from topology.processes import Process
from topology.traffic import await_listener
from topology.tunnels import LISTEN_PORT, WireGuardDevice, meshnode

pytestmark = pytest.mark.root

HUB, LOUD, QUIET = "10.9.0.1", "10.9.0.2", "10.9.0.3"
PORT = 7007
FLOWS = 16
QUESTIONS = 40

# Answers every datagram of the length of a question; anything else is let in and lost.
ECHO = f"""
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", {PORT}))
while True:
    data, sender = sock.recvfrom(2048)
    if len(data) == 64:
        sock.sendto(data, sender)
"""

# Prints how many answers each of several flows gets to its questions.
ASK = f"""
import json, select, socket, sys, time
flows = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range({FLOWS})]
for flow in flows:
    flow.connect((sys.argv[1], {PORT}))
    flow.setblocking(False)
counts = dict.fromkeys(flows, 0)

def hear(seconds):
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for flow in select.select(flows, [], [], left)[0]:
            counts[flow] += len(flow.recv(100)) == 64

for _ in range({QUESTIONS}):
    for flow in flows:
        flow.send(bytes(64))
    hear(0.05)
hear(1.0)
print(json.dumps(list(counts.values())))
"""

# Sends as fast as it can for so many seconds.
FLOOD = f"""
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], {PORT}))
until, data = time.monotonic() + float(sys.argv[2]), bytes(1200)
while time.monotonic() < until:
    for _ in range(64):
        try:
            sock.send(data)
        except OSError:
            pass
"""


@dataclass(slots=True)
class Star:
    """A hub with two peers, each with an echo server; sessions are made.

    `leaf` is the node of the quiet one.
    """

    hub: Host
    loud: Host
    quiet: Host
    leaf: WireGuardDevice


@pytest.fixture(params=["reference", "fast"])
def star(lab: Lab, request: pytest.FixtureRequest) -> Star:
    """A star of one engine."""
    hub, *others = [lab.host(name) for name in ("hub", "loud", "quiet")]
    node = meshnode(request.param)
    center = node.start(hub)
    for other, address in zip(others, (LOUD, QUIET), strict=True):
        near, far = lab.connect(hub, other)
        leaf = node.start(other)
        center.set(
            f"peer {leaf.public_key} allowed-ips {address}/32 "
            f"endpoint {far.v4}:{LISTEN_PORT}"
        )
        leaf.set(
            f"peer {center.public_key} allowed-ips {HUB}/32 "
            f"endpoint {near.v4}:{LISTEN_PORT}"
        )
        leaf.bring_up(f"{address}/24")
    center.bring_up(f"{HUB}/24")
    for host, address in ((hub, HUB), *zip(others, (LOUD, QUIET), strict=True)):
        host.start([sys.executable, "-c", ECHO])
        await_listener(host, PORT)
        assert address == HUB or answers(hub, address, within=5)
    return Star(hub, *others, leaf)


def flood(sender: Host, address: str, *, seconds: float) -> Process:
    """Send datagrams to *address* as fast as possible, for so long and no longer."""
    return sender.start([sys.executable, "-c", FLOOD, address, str(seconds)])


def ask(sender: Host, address: str) -> list[int]:
    """Return how many of `QUESTIONS` each of `FLOWS` flows had answered."""
    done = sender.run([sys.executable, "-c", ASK, address], timeout=30)
    counts: list[int] = json.loads(done.stdout)
    return counts


def test_a_flood_out_costs_few_flows_anything(star: Star) -> None:
    """Those that share its queue, about one in eight; more than six never do.

    In one queue for all, each of them would lose about half.
    """
    load = flood(star.hub, LOUD, seconds=5)
    counts = ask(star.hub, QUIET)
    assert load.is_running, "the flood lasted as long as the questions"
    unharmed = [count for count in counts if count >= 0.9 * QUESTIONS]
    assert len(unharmed) >= FLOWS - 6, counts
    load.wait(10)


def test_a_flood_in_leaves_others_their_answers(star: Star) -> None:
    """What is too much is dropped by the socket, and most of what is asked is not."""
    load = flood(star.loud, HUB, seconds=5)
    counts = ask(star.quiet, HUB)
    assert load.is_running, "the flood lasted as long as the questions"
    assert sum(counts) >= 0.5 * FLOWS * QUESTIONS, counts
    load.wait(10)


def test_a_handshake_passes_a_flood(star: Star) -> None:
    """A peer whose keys are lost is answered anew by the hub that floods another."""
    load = flood(star.hub, LOUD, seconds=8)
    kill(star.leaf, "ingress")
    wait_until(lambda: answers(star.quiet, HUB, within=1), "the hub answers anew")
    assert load.is_running, "it did while the flood lasted"
    load.wait(15)
