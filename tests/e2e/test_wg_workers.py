"""Two nodes with several workers for each direction."""

import os
import signal
import sys

import pytest

from tests.e2e.test_wg_lifecycle import COMMAND, refusal
from tests.e2e.test_wg_restarts import await_answer, children_of, kill
from tests.interop import scenarios
from tests.interop.scenarios import LEFT_V4, RIGHT_V4, RIGHT_V6, Pair, answers, pair
from topology.hosts import Host, Lab, wait_until
from topology.tunnels import LISTEN_PORT, meshnode

pytestmark = pytest.mark.root

WORKERS = ("egress", "egress-1", "ingress", "ingress-1")
STREAMS = 4


@pytest.fixture
def two(lab: Lab) -> Pair:
    """Two nodes of two workers for each direction that know each other."""
    node = meshnode("fast", "--workers", "2")
    return pair(lab, (node, node))


def stream(sender: Host, receiver: Host, address: str, *, amount: str) -> None:
    """Send that much over each of `STREAMS` connections; all of it must arrive."""
    server = receiver.start(f"iperf3 -s -1 -B {address}")
    try:
        wait_until(
            lambda: bool(receiver.run("ss -Hltn sport = 5201").stdout), "iperf3 listens"
        )
        sender.run(f"iperf3 -c {address} -P {STREAMS} -n {amount}", timeout=60)
    finally:
        server.stop()


def all_flows_pass(sender: Host, receiver: Host, address: str) -> bool:
    """Say whether connections of many ports, so of all workers, are answered."""
    program = (
        "import socket, sys\n"
        "for _ in range(24):\n"
        "    socket.create_connection((sys.argv[1], 7777), timeout=1).close()\n"
    )
    server = receiver.start(
        [
            *(sys.executable, "-c"),
            "import socket, sys\n"
            "listener = socket.create_server((sys.argv[1], 7777), backlog=99)\n"
            "while True: listener.accept()[0].close()\n",
            address,
        ]
    )
    try:
        wait_until(
            lambda: bool(receiver.run("ss -Hltn sport = 7777").stdout), "it listens"
        )
        done = sender.run([sys.executable, "-c", program, address], check=False)
    finally:
        server.stop()
    return done.returncode == 0


def test_every_worker_is_a_process(two: Pair) -> None:
    """A supervisor, control, and two workers for each direction, each by its name."""
    for device in (two.left, two.right):
        assert children_of(device).keys() == {"control", *WORKERS}
        assert len(device.host.processes()) == 6


def test_packets_pass_both_ways(two: Pair) -> None:
    """Pings and streams of both IP versions."""
    scenarios.traffic(two)


def test_several_streams_pass_both_ways(two: Pair) -> None:
    """Two workers seal under one key, and every packet is taken once."""
    left, right = two.left.inside, two.right.inside
    stream(left, right, RIGHT_V4, amount="8M")
    stream(right, left, LEFT_V4, amount="8M")
    stream(left, right, RIGHT_V6, amount="8M")
    assert two.left.handshake_at(two.right.public_key) > 0


def test_a_session_costs_what_it_costs_with_one_worker(two: Pair) -> None:
    """Keepalives and handshakes go out once, whoever could send them."""
    scenarios.exact_bytes(two)


@pytest.mark.parametrize("role", WORKERS)
def test_traffic_returns_after_any_worker_was_killed(two: Pair, role: str) -> None:
    """Flows of all workers pass again, and the other processes are the same."""
    left, right = two.left, two.right
    assert answers(left.inside, RIGHT_V4)
    before = children_of(left)
    pings = left.inside.start(f"ping -q -i 0.05 -c 100 -W 2 {RIGHT_V4}")
    kill(left, role)
    await_answer(left.inside, RIGHT_V4)
    await_answer(left.inside, RIGHT_V6)
    wait_until(
        lambda: all_flows_pass(left.inside, right.inside, RIGHT_V4), "all flows pass"
    )
    wait_until(lambda: all_flows_pass(right.inside, left.inside, LEFT_V4), "and back")
    pings.wait(20)
    after = children_of(left)
    assert {name for name in after if after[name] != before[name]} == {role}
    left.stop()
    assert left.process.wait() == 0
    assert left.host.processes() == []


def test_traffic_goes_on_while_control_is_killed(two: Pair) -> None:
    """The next control adopts the sessions, and makes others at other places."""
    left, right = two.left, two.right
    assert answers(left.inside, RIGHT_V4)
    pings = left.inside.start(f"ping -q -i 0.02 -c 100 -W 2 {RIGHT_V4}")
    kill(left, "control")
    handshake = left.handshake_at(right.public_key)  # waits until it serves
    pings.wait(15)
    assert " 0% packet loss" in pings.output
    assert handshake == left.handshake_at(right.public_key) > 0
    kill(left, "ingress-1")
    await_answer(left.inside, RIGHT_V4)
    assert all_flows_pass(left.inside, right.inside, RIGHT_V4)


def test_a_worker_and_control_die_together(two: Pair) -> None:
    """The next control sees that one of the workers lacks the keys of the others."""
    left = two.left
    assert answers(left.inside, RIGHT_V4)
    children = children_of(left)
    os.kill(children["control"], signal.SIGKILL)
    os.kill(children["egress-1"], signal.SIGKILL)
    await_answer(left.inside, RIGHT_V4)
    wait_until(
        lambda: all_flows_pass(left.inside, two.right.inside, RIGHT_V4),
        "all flows pass",
    )


def test_a_live_change_of_port_is_followed(two: Pair) -> None:
    """All workers speak by the new port; the peer roams after it."""
    left, right = two.left, two.right
    assert answers(left.inside, RIGHT_V4, within=5)
    assert sockets_on(left.host, LISTEN_PORT) == 4
    left.set("listen-port 12345")
    await_answer(left.inside, RIGHT_V4)
    assert right.endpoint(left.public_key) == f"{two.left_port.v4}:12345"
    assert sockets_on(left.host, LISTEN_PORT) == 0
    assert sockets_on(left.host, 12345) == 4
    assert all_flows_pass(left.inside, right.inside, RIGHT_V4)
    assert all_flows_pass(right.inside, left.inside, LEFT_V4)


def sockets_on(host: Host, port: int) -> int:
    """Return how many UDP sockets of a host have that port."""
    return len(host.run(f"ss -Hulan sport = {port}").stdout.splitlines())


def test_a_mark_is_on_what_every_worker_sends(two: Pair) -> None:
    """A firewall that lets nothing else out lets the whole tunnel through."""
    left = two.left
    left.host.nft(
        "add table inet test\n"
        "add chain inet test out { type filter hook output priority 0; }\n"
        f"add rule inet test out udp sport {LISTEN_PORT} meta mark != 7 drop\n"
    )
    assert not answers(left.inside, RIGHT_V4, within=1)
    left.set("fwmark 7")
    await_answer(left.inside, RIGHT_V4)
    assert all_flows_pass(left.inside, two.right.inside, RIGHT_V4)


def test_roaming_is_followed_at_once(two: Pair) -> None:
    """A new address, port and IP version: every egress worker hears of it."""
    scenarios.roaming(two)


def test_a_port_in_use_is_refused(two: Pair) -> None:
    """A port is shared among the workers of one node only."""
    left = two.left
    left.host.start(
        [
            *(sys.executable, "-c"),
            "import socket, time\n"
            "one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
            "one.bind(('', 4711))\n"
            "time.sleep(60)\n",
        ]
    )
    wait_until(lambda: sockets_on(left.host, 4711) == 1, "the port is taken")
    command = f"wg set {left.interface} listen-port 4711"
    refused = left.host.run(command, check=False)
    assert "Address already in use" in refused.stderr
    assert sockets_on(left.host, 4711) == 1
    assert sockets_on(left.host, LISTEN_PORT) == 4
    assert answers(left.inside, RIGHT_V4, within=5)


def test_the_reference_engine_has_one_worker_a_direction(lab: Lab) -> None:
    """More are refused in one line, before anything is made."""
    host = lab.host("a")
    before = host.state()
    command = (COMMAND, "--engine", "reference", "--workers", "2")
    code, line = refusal(host, lab.interface_name(), before=before, command=command)
    assert code == 1
    assert "workers = 2 needs engine = fast" in line
