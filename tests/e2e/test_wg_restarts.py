"""Processes of a node are killed under traffic: the others keep their promises."""

import os
import signal
from pathlib import Path

import pytest

from tests.interop.scenarios import LEFT_V4, RIGHT_V4, RIGHT_V6, Pair, answers
from topology.hosts import Host, Lab, wait_until
from topology.tunnels import WireGuardDevice

pytestmark = pytest.mark.root


def children_of(device: WireGuardDevice) -> dict[str, int]:
    """Return the process ids of a node's children by their role."""
    pid = device.process.pid
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {role: int(child) for child in listed if (role := role_of(child))}


def role_of(child: str) -> str:
    """Return the role of the node's child with this process id, "" for none.

    A process has none before its program runs, nor when it has ended: a killed one
    may be collected at any time after it was listed.
    """
    try:
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):  # on open, and on read
        return ""
    if b"meshnode.node.child" not in words:
        return ""
    return words[words.index(b"meshnode.node.child") + 1].decode()


def kill(device: WireGuardDevice, role: str) -> None:
    """Kill one child and wait until another one has its role."""
    before = children_of(device)[role]
    os.kill(before, signal.SIGKILL)
    wait_until(
        lambda: children_of(device).get(role, before) != before, f"{role} is back"
    )


def await_answer(host: Host, address: str) -> None:
    """Ping until an answer comes: what was under way during a crash may be lost."""
    wait_until(lambda: answers(host, address, within=1), f"{address} answers")


@pytest.mark.parametrize("role", ["egress", "ingress"])
def test_traffic_returns_after_a_worker_was_killed(two_nodes: Pair, role: str) -> None:
    """A new worker gets the table, and sessions are made anew at once."""
    host = two_nodes.left.inside
    assert answers(host, RIGHT_V4)
    kill(two_nodes.left, role)
    await_answer(host, RIGHT_V4)
    await_answer(host, RIGHT_V6)


@pytest.mark.parametrize("role", ["egress", "ingress"])
def test_traffic_returns_when_only_the_other_side_speaks(
    two_nodes: Pair, role: str
) -> None:
    """The node whose worker died calls its peer, which need not find out itself."""
    assert answers(two_nodes.left.inside, RIGHT_V4)
    kill(two_nodes.right, role)
    await_answer(two_nodes.left.inside, RIGHT_V4)


def test_traffic_never_stops_while_control_is_killed(two_nodes: Pair) -> None:
    """Established sessions outlive control; the next one adopts them as they are."""
    left, right = two_nodes.left, two_nodes.right
    assert answers(left.inside, RIGHT_V4)
    sent = left.transfer(right.public_key).sent
    pings = left.inside.start(f"ping -q -i 0.02 -c 100 -W 2 {RIGHT_V4}")
    kill(left, "control")
    handshake = left.handshake_at(right.public_key)  # waits until it serves
    pings.wait(15)
    assert " 0% packet loss" in pings.output
    assert handshake == left.handshake_at(right.public_key) > 0
    # 100 pings of 128 bytes, and no handshake message of 148 or 92 among them.
    assert left.transfer(right.public_key).sent - sent in (12800, 12800 + 32)


def test_configuration_outlives_control(two_nodes: Pair) -> None:
    """What `wg` shows is the same under the next control process."""
    left, right = two_nodes.left, two_nodes.right
    left.set("fwmark 0x2a")
    left.set(f"peer {right.public_key} persistent-keepalive 25")
    left.set(f"peer {right.public_key} preshared-key @", secret=left.keys.private)
    before = left.host.run(f"wg showconf {left.interface}").stdout
    kill(left, "control")
    assert left.host.run(f"wg showconf {left.interface}").stdout == before
    assert "FwMark = 0x2a" in before
    assert "PresharedKey" in before


def test_a_new_session_is_made_after_all_were_killed(two_nodes: Pair) -> None:
    """All three children die together; nothing is lost but a moment."""
    left = two_nodes.left
    assert answers(left.inside, RIGHT_V4)
    for pid in children_of(left).values():
        os.kill(pid, signal.SIGKILL)
    await_answer(left.inside, RIGHT_V4)
    await_answer(two_nodes.right.inside, LEFT_V4)


def test_a_worker_and_control_die_together(two_nodes: Pair) -> None:
    """The next control sees that one worker lacks the keys the other one has."""
    left = two_nodes.left
    assert answers(left.inside, RIGHT_V4)
    children = children_of(left)
    os.kill(children["control"], signal.SIGKILL)
    os.kill(children["ingress"], signal.SIGKILL)
    await_answer(left.inside, RIGHT_V4)


def test_every_crash_is_one_line_with_its_reason(two_nodes: Pair) -> None:
    """The log tells which process ended and how."""
    left = two_nodes.left
    for _ in range(2):
        kill(left, "egress")
    lines = left.process.output.splitlines()
    crashes = [line for line in lines if "egress ended: signal SIGKILL" in line]
    assert len(crashes) == 2


def test_nothing_is_left_after_restarts(lab: Lab, two_nodes: Pair) -> None:
    """A node whose children were replaced still ends as cleanly as any other."""
    left = two_nodes.left
    for role in ("egress", "control", "ingress"):
        kill(left, role)
    left.stop()
    assert left.process.wait() == 0
    assert lab.directory.joinpath("meshnode_run_dir").is_dir()
    assert not list(lab.directory.joinpath("meshnode_run_dir").glob(left.interface))
    assert left.host.processes() == []
