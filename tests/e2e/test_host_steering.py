"""Steering on a real host: the kernel's choice is the model's, and nothing is left."""

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.host import steering
from meshnode.host.cgroups import find_group, find_root
from meshnode.host.journal import Journal, cleanup, open_journal
from meshnode.host.namespaces import run_inside
from meshnode.host.transparent import open_answering, open_transparent_listener
from meshnode.hostplan import Service, Transport
from meshnode.steering import (
    Door,
    SteeredFlow,
    SteerPlan,
    SteerRule,
    SteerStep,
    ViaDirect,
    ViaMesh,
    ViaNowhere,
    first_match,
)
from meshnode.types import Prefix
from topology.hosts import Host, HostState, Lab
from topology.leaks import NAMESPACES

pytestmark = pytest.mark.root

Result = TypeVar("Result")
P = Prefix.parse
LIBC = ctypes.CDLL(None, use_errno=True)

ADDRESSES = [
    *("192.0.2.1", "192.0.2.2", "192.0.2.200", "198.51.100.1", "198.18.1.2"),
    *("2001:db8:9::1", "2001:db8:9:8::1", "2001:db8:7::1"),
]
PREFIXES = [
    *("192.0.2.0/24", "192.0.2.0/30", "192.0.2.2/32", "192.0.2.128/25", "0.0.0.0/0"),
    *("198.0.0.0/8", "2001:db8:9::/48", "2001:db8:9:8::/64", "::/0", "2001:db8::/33"),
]
USERS = ["0", "1000", "1001"]

services = st.builds(
    lambda kind, ends: Service(kind, min(ends), max(ends)),
    st.sampled_from([Transport.TCP, Transport.UDP]),
    st.tuples(st.integers(75, 85), st.integers(75, 85)),
)
rules = st.lists(
    st.builds(
        SteerRule,
        st.just(ViaNowhere()),
        to=st.lists(st.sampled_from(PREFIXES).map(P), max_size=3).map(tuple),
        domains=st.sampled_from([(), ("example.org",)]),
        ports=st.lists(services, max_size=3).map(tuple),
        users=st.lists(st.sampled_from(USERS), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=6,
)
flows = st.lists(
    st.builds(
        lambda address, kind, port, user: SteeredFlow(
            P(address), Service(kind, port, port), frozenset((user,))
        ),
        st.sampled_from(ADDRESSES),
        st.sampled_from([Transport.TCP, Transport.UDP]),
        st.integers(75, 85),
        st.sampled_from(USERS),
    ),
    min_size=1,
    max_size=12,
)


def inside(host: Host, function: Callable[[], Result]) -> Result:
    """Call *function* in the host's network namespace."""
    namespace = os.open(NAMESPACES / host.namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return run_inside(namespace, function)
    finally:
        os.close(namespace)


@dataclass
class Site:
    """A host between a tunnel and the world, both of which swallow everything."""

    node: Host
    tunnel: str
    journal: Journal
    before: HostState

    def plan(self, *steps: SteerStep) -> SteerPlan:
        """Return a plan of these steps."""
        overlay = (P("10.99.0.0/24"), P("fd99::/48"))
        return SteerPlan(
            *("office", self.tunnel, 0x6D6E, 0x6D730100, 11010, 11011, 4711),
            overlay,
            steps,
        )


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Iterator[Site]:
    """One host with two links and default routes."""
    node = lab.host("node")
    tunnel, _ = lab.connect(node, lab.host("member"))
    world, beyond = lab.connect(node, lab.host("world"))
    node.ip(f"route add default via {beyond.v4}")
    node.ip(f"-6 route add default via {beyond.v6}")
    # Nobody is there to be asked who has an address.
    for address in (beyond.v4, beyond.v6):
        lladdr = "lladdr 02:00:00:00:00:01 nud permanent"
        node.ip(f"neigh replace {address} dev {world.interface} {lladdr}")
    journal = open_journal("office", tmp_path / "run")
    yield Site(node, tunnel.interface, journal, node.state())
    journal.close()


def begin(flow: SteeredFlow) -> None:
    """Send the first packet of a flow, as its user; nobody waits for an answer."""
    (user,) = flow.users
    address = str(flow.destination).partition("/")[0]
    family = socket.AF_INET if flow.destination.version == 4 else socket.AF_INET6
    is_tcp = flow.service.transport is Transport.TCP
    kind = socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM
    # Of this thread alone, unlike setuid.
    LIBC.setfsuid(int(user))
    try:
        one = socket.socket(family, kind)
    finally:
        LIBC.setfsuid(0)
    with one, suppress(OSError):
        one.setblocking(False)
        one.connect((address, flow.service.first))
        one.send(b"x")


def test_the_kernel_chooses_as_the_model(site: Site) -> None:
    """Any rules, any packets: each counter is what `first_match` says."""
    known = {"192.0.2.1": 60, "2001:db8:7::1": 60}

    @settings(max_examples=25)
    @given(rules, flows)
    def agree(chosen: list[SteerRule], packets: list[SteeredFlow]) -> None:
        steps = [
            SteerStep(
                ViaNowhere(),
                rule.to,
                "".join(rule.domains[:1]),
                rule.ports,
                tuple(map(int, rule.users)) or None,
            )
            for rule in chosen
        ]
        learners = [index for index, rule in enumerate(chosen) if rule.domains]
        learnt = {(i, a): life for i in learners for a, life in known.items()}
        plan = site.plan(*steps)

        def play() -> list[steering.Counted]:
            steering.Steerer(site.journal).apply(plan, learnt)
            for packet in packets:
                begin(packet)
            return steering.read_counters(plan)

        expected: Counter[int | None] = Counter()
        for packet in packets:
            address = str(packet.destination).partition("/")[0]
            knows = frozenset(learners) if address in known else frozenset[int]()
            expected[first_match(chosen, replace(packet, learnt=knows))] += 1
        found = inside(site.node, play)
        assert [one.packets for one in found] == [
            expected[index] for index in range(len(chosen))
        ]

    agree()


EVERYTHING = (
    SteerStep(ViaNowhere(), to=(P("203.0.113.0/24"),)),
    SteerStep(Door(1, 1001, 1002, 1003, 1004), learns="example.org", uids=(0, 7)),
    SteerStep(ViaMesh(), to=(P("2001:db8::/32"), P("10.0.0.0/8"))),
    SteerStep(ViaDirect(), services=(Service(Transport.UDP, 1, 9),)),
)


def listed() -> bytes:
    """Return all rules of nftables."""
    words = ["nft", "list", "ruleset"]
    return subprocess.run(words, capture_output=True, check=True).stdout


def lasting(listing: bytes) -> list[bytes]:
    """Return the lines that do not change with time."""
    return [line for line in listing.splitlines() if b"expires" not in line]


def test_a_plan_applied_twice_changes_nothing(site: Site) -> None:
    """Another one replaces it, and withdrawing leaves what was before."""
    plan = site.plan(*EVERYTHING)

    def play() -> None:
        steerer = steering.Steerer(site.journal)
        assert steerer.apply(plan, {(1, "192.0.2.1"): 60})
        before = listed()
        assert b"192.0.2.1 timeout 1m" in before
        assert not steerer.apply(plan, {})
        assert lasting(listed()) == lasting(before)
        steering.learn("office", {(1, "192.0.2.1"): 600, (1, "2001:db8::1"): 60})
        assert b"192.0.2.1 timeout 10m" in listed()
        assert steering.check(plan) == []
        # Another process takes over, as when control was killed.
        assert steering.Steerer(site.journal).apply(site.plan(*EVERYTHING[2:]), {})

    inside(site.node, play)
    after = site.node.state()
    assert sum("fwmark 0x6d730100" in rule for rule in after.rules) == 2
    assert sum("0x6d730180/0xffffff80" in rule for rule in after.rules) == 2
    assert [change for change in after.changes_since(site.before) if "tables" in change]
    inside(site.node, lambda: steering.Steerer(site.journal).withdraw())
    assert site.node.state().changes_since(site.before) == []


def test_a_killed_process_is_cleaned_up_after(site: Site, tmp_path: Path) -> None:
    """All that it changed is in the journal before it is done."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from meshnode.host.journal import open_journal\n"
        "from meshnode.host.steering import Steerer\n"
        "from meshnode.steering import *\n"
        "steps = SteerStep(ViaMesh()), SteerStep(Door(1, 5, 6, 7, 8))\n"
        "numbers = 1, 0x6d730000, 11000, 11001, 9\n"
        "plan = SteerPlan('x', sys.argv[2], *numbers, (), steps)\n"
        "Steerer(open_journal('x', Path(sys.argv[1]))).apply(plan, {})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = tmp_path / "other"
    words = [sys.executable, "-c", program, str(run), site.tunnel]
    killed = site.node.run(words, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert site.node.state() != site.before
    assert inside(site.node, lambda: cleanup(run)) == [
        "stopped steering by the table meshnode_x_steer"
    ]
    assert site.node.state().changes_since(site.before) == []


CONNECT = """
import socket, sys
one = socket.socket()
one.settimeout(0.2)
sys.exit(one.connect_ex(("192.0.2.1", 80)))
"""


def test_a_control_group_is_known(site: Site) -> None:
    """Those in it are refused, others wait for an answer that never comes."""
    root = find_root(Path("/proc/self/mountinfo").read_text())
    assert root is not None, "no control groups of version 2 are mounted here"
    name = site.node.namespace
    group = Path(root) / name
    group.mkdir()
    try:
        found = find_group(f"/{name}")
        assert found is not None
        plan = site.plan(SteerStep(ViaNowhere(), groups=(found,)))
        inside(site.node, lambda: steering.Steerer(site.journal).apply(plan, {}))

        def refused(*words: str) -> bool:
            command = [*words, sys.executable, "-c", CONNECT]
            done = inside(
                site.node,
                lambda: subprocess.run(command, capture_output=True, check=False),
            )
            return done.returncode == errno.ECONNREFUSED

        enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        assert refused("sh", "-c", enter, "sh")
        assert not refused()
    finally:
        group.rmdir()


def test_sockets_may_have_addresses_of_others(site: Site) -> None:
    """One that listens takes connections to anywhere; one that answers is anybody."""

    def play() -> None:
        for version, address in ((4, "192.0.2.1"), (6, "2001:db8:9::1")):
            listener = open_transparent_listener(version)
            assert listener is not None
            with listener, open_answering(version) as one:
                one.bind((address, 53))
                assert one.getsockname()[:2] == (address, 53)

    inside(site.node, play)
