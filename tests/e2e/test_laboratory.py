"""The laboratory itself: it must leave nothing behind, and notice what does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from topology import leaks
from topology.hosts import Lab, wait_until
from topology.leaks import UAPI_SOCKETS, LeakFound
from topology.processes import CommandFailed

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]

# Tells its tag once there is everything to clean up, also a process that left our
# session.
_STORY = """
from topology.hosts import Lab
with Lab() as lab:
    a, b = lab.host("a"), lab.host("b")
    lab.connect(a, b)
    a.start("sleep 60")
    b.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 &"])
    print(lab.tag, flush=True)
    a.run("sleep 60", timeout=70)
"""


def _interrupted(number: signal.Signals) -> str:
    """Run the story, end it by a signal, and return its laboratory's tag."""
    process = subprocess.Popen(
        [sys.executable, "-c", _STORY], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        tag = process.stdout.readline().strip()
        assert leaks.find_leaks(tag)
        process.send_signal(number)
        process.wait(30)
    return tag


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_leaves_nothing_behind(number: signal.Signals) -> None:
    """Ctrl-C and the signals of a dying session end and remove everything."""
    assert leaks.find_leaks(_interrupted(number)) == []


def test_killed_laboratory_can_be_swept_up() -> None:
    """After SIGKILL the next sweep finds the dead laboratory and removes it."""
    tag = _interrupted(signal.SIGKILL)
    assert tag in leaks.abandoned_tags()
    swept = leaks.sweep(tag)
    assert {thing.split()[0] for thing in swept} == {"process", "namespace"}
    assert leaks.find_leaks(tag) == []


def test_living_laboratory_is_not_swept_up(lab: Lab) -> None:
    """A sweep leaves a laboratory alone whose process lives."""
    lab.host("a")
    assert lab.tag not in leaks.abandoned_tags()


def _leave_process(lab: Lab) -> None:
    lab.host("a").run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 &"])


def _leave_interface(lab: Lab) -> None:
    lab.host("a").ip(f"link add {lab.interface_name()} type bridge")


def _leave_socket(lab: Lab) -> None:
    UAPI_SOCKETS.mkdir(parents=True, exist_ok=True)
    (UAPI_SOCKETS / f"{lab.interface_name()}.sock").touch()


def _leave_unwilling_process(lab: Lab) -> None:
    process = lab.host("a").start(["sh", "-c", "trap '' TERM; echo; exec sleep 60"])
    wait_until(lambda: bool(process.output), "the trap is set")


@pytest.mark.parametrize(
    ("leave", "what"),
    [
        (_leave_process, "process"),
        (_leave_interface, "interface"),
        (_leave_socket, "socket"),
        (_leave_unwilling_process, "ignored SIGTERM"),
    ],
)
def test_leak_is_reported_and_removed(leave: object, what: str) -> None:
    """What a program leaves behind fails the test that ran it, and goes."""
    assert callable(leave)
    laboratory = Lab()
    with pytest.raises(LeakFound, match=what), laboratory:
        leave(laboratory)
    laboratory.assert_clean()


def test_failure_is_not_hidden_by_a_leak() -> None:
    """The block's own error is the one that is seen."""

    def fail_and_leave() -> None:
        with Lab() as laboratory:
            _leave_process(laboratory)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_and_leave()


def test_host_state_names_each_change(lab: Lab) -> None:
    """An interface, an address, a rule, a table and a process are all noticed."""
    host = lab.host("a")
    before = host.state()
    assert host.state().changes_since(before) == []
    host.add_address("lo", "192.0.2.1/32")
    host.ip("rule add fwmark 7 table 7")
    host.nft("table inet something {}")
    process = host.start("sleep 60")
    changes = "\n".join(host.state().changes_since(before))
    for thing in ("192.0.2.1", "fwmark 0x7", "something", str(process.pid)):
        assert thing in changes


def test_source_nat_rewrites_the_source(lab: Lab) -> None:
    """The outer host sees the router's address, never the inner one."""
    inner, router, outer = lab.host("a"), lab.router("r"), lab.host("b")
    _, router_inside = lab.connect(inner, router)
    router_outside, far = lab.connect(router, outer)
    inner.ip(f"route add default via {router_inside.v4}")
    with pytest.raises(CommandFailed):
        inner.run(f"ping -c 1 -W 0.3 {far.v4}")
    lab.source_nat(router_outside)
    inner.run(f"ping -c 1 -W 2 {far.v4}")


def test_the_machine_itself_is_left_alone(lab: Lab) -> None:
    """Links are made inside the namespaces: the machine's interfaces stay."""
    before = os.listdir("/sys/class/net")
    lab.connect(lab.host("a"), lab.host("b"))
    assert os.listdir("/sys/class/net") == before
