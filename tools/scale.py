"""Measure what gossip costs in networks of 100, 1,000 and 10,000 members.

The nodes are simulated (meshnode/simulation/gossip.py): real sets, views, neighbours
and repair, one-way delays of 10 to 100 ms, no loss. Signatures are verified once for
all nodes; sessions are there at once, and their handshakes and passive keepalives are
counted. Five members serve as rendezvous for all. Bytes are those of whole IP packets.
Beyond 1,000 members only 1,000 run a node, as thousands of complete sets do not fit
into memory; the others are stock members, which are in every set and gossip with
nobody.

    tools/scale                        the whole table, some minutes
    tools/scale --members 100,1000     smaller networks only
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from meshnode.mesh.record_set import RecordSet
from meshnode.mesh.trust import VerifiedMember
from meshnode.simulation.gossip import (
    INITIATOR_BYTES,
    KEEPALIVE_BYTES,
    GossipWorld,
    Node,
    copied,
)
from meshnode.simulation.population import EPOCH

MAX_RUNNING = 1000
SETTLE = 60.0
REST = 1800.0
IDLE = 3600.0
JOINERS = 100
APART = 600.0

HOMES = 2
"""Relays to which a member behind a NAT keeps a session alive, each 25 s."""

_DAY = 86400.0
_HOME_BYTES = KEEPALIVE_BYTES / 25.0 + (INITIATOR_BYTES + KEEPALIVE_BYTES) / 120.0

Figures = dict[str, float]

TITLES = {
    "members": "members",
    "running": "of them running a node",
    "memory_mb": "memory of a node, MB (records shared)",
    "set_mb": "bytes of all records, MB",
    "idle_messages": "idle hour: messages a node",
    "idle_bytes": "idle hour: kB a node",
    "idle_day": "idle day behind a NAT, with two homes kept: MB a node",
    "rendezvous": "idle: messages a second to a rendezvous, of 10,000 that publish",
    "change_p50": "one change: half of all know it after, s",
    "change_p999": "one change: 99.9 % know it after, s",
    "change_messages": "one change: messages a node",
    "change_bytes": "one change: kB a node",
    "joins_p50": "100 join at once: half know all of them after, s",
    "joins_p999": "100 join at once: 99.9 % know all after, s",
    "joins_new": "100 join at once: all of them know everybody after, s",
    "joins_bytes": "100 join at once: kB an old node",
    "restart_messages": "mass restart: messages a node in 30 s",
    "restart_peak": "mass restart: most messages of all in one second, a node",
    "restart_bytes": "mass restart: kB a node in 30 s",
    "restart_change_p999": "mass restart: a change then known to 99.9 % after, s",
    "heal_p50": "10 min apart, 1 % changed: half equal after, s",
    "heal_p999": "10 min apart, 1 % changed: 99.9 % equal after, s",
    "heal_bytes": "10 min apart, 1 % changed: kB a node",
    "took": "this column took, s",
}


class Stopwatch:
    """Notes when each node of some first fulfils a condition."""

    def __init__(
        self, world: GossipWorld, nodes: Iterable[Node], done: Callable[[Node], bool]
    ) -> None:
        self._world = world
        self._done = done
        self._missing = {node.key for node in nodes}
        self._began = world.now
        self.times: list[float] = []
        for node in nodes:
            self(node)

    def __call__(self, node: Node) -> None:
        """Look at a node that took a step."""
        if node.key in self._missing and self._done(node):
            self._missing.discard(node.key)
            self.times.append(self._world.now - self._began)

    def wait(self, *, within: float) -> None:
        """Let time pass until all are done."""
        self._world.on_step = self
        done = self._world.run_until(lambda: not self._missing, within=within)
        self._world.on_step = lambda node: None
        if not done:
            raise SystemExit(f"{len(self._missing)} nodes not done in {within} s")

    def share(self, part: float) -> float:
        """Return after how many seconds that part of all nodes was done."""
        times = sorted(self.times)
        return times[min(len(times) - 1, int(part * len(times)))]


def resident_mb() -> float:
    """Return the memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def sent(nodes: Iterable[Node]) -> tuple[float, float]:
    """Return messages and kB that a node sent, on average."""
    meters = [(node.meter.messages, node.meter.bytes / 1e3) for node in nodes]
    return statistics.fmean(m for m, _ in meters), statistics.fmean(
        b for _, b in meters
    )


def has_root(root: tuple[bytes, int]) -> Callable[[Node], bool]:
    """Return the condition that a node's set has these digests."""
    return lambda node: node.records.tree.root == root


def change(world: GossipWorld, node: Node) -> None:
    """Let a node say something new about itself."""
    node.publish(world.population.word(world.people[node.key]))


def build(members: int, seed: int) -> tuple[GossipWorld, Figures]:
    """Return a network at rest, with what it takes to hold it."""
    world = GossipWorld(seed)
    running = min(members, MAX_RUNNING)
    before = resident_mb()
    alone = GossipWorld(seed)
    alone.populate(1, stock=members - 1)
    shared = resident_mb() - before
    nodes = world.populate(running, stock=members - running)
    grown = resident_mb() - before - 2 * shared
    del alone
    size = sum(len(record.data) for record in nodes[0].records) / 1e6
    world.run(SETTLE)
    return world, {
        "members": members,
        "running": running,
        "memory_mb": grown / (running - 1),
        "set_mb": size,
    }


def measure_idle(world: GossipWorld, nodes: list[Node]) -> Figures:
    """Measure an hour in which nothing happens, after half an hour of that."""
    world.run(REST)
    servers = [world.nodes[key].meter for key in world.rendezvous]
    members = [node for node in nodes if node.key not in world.rendezvous]
    messages, kilobytes = sent(members)
    received = sum(meter.received for meter in servers)
    world.run(IDLE)
    more_messages, more_kilobytes = sent(members)
    load = (sum(meter.received for meter in servers) - received) / IDLE / len(servers)
    idle_kilobytes = 3600.0 / IDLE * (more_kilobytes - kilobytes)
    return {
        "idle_messages": 3600.0 / IDLE * (more_messages - messages),
        "idle_bytes": idle_kilobytes,
        "idle_day": (24 * idle_kilobytes + HOMES * _HOME_BYTES * _DAY / 1e3) / 1e3,
        "rendezvous": load * 10_000 / len(nodes),
    }


def measure_change(world: GossipWorld, nodes: list[Node], idle: Figures) -> Figures:
    """Measure five changes of one member each, a minute apart."""
    times: list[float] = []
    messages, kilobytes = sent(nodes)
    began = world.now
    for step in range(5):
        origin = nodes[step * 7 % len(nodes)]
        change(world, origin)
        target = origin.records.tree.root
        watch = Stopwatch(world, nodes, has_root(target))
        watch.wait(within=60.0)
        times += watch.times
        world.run(60.0)
    times.sort()
    more_messages, more_kilobytes = sent(nodes)
    hours = (world.now - began) / 3600.0
    return {
        "change_p50": times[len(times) // 2],
        "change_p999": times[min(len(times) - 1, int(0.999 * len(times)))],
        "change_messages": (more_messages - messages - hours * idle["idle_messages"])
        / 5,
        "change_bytes": (more_kilobytes - kilobytes - hours * idle["idle_bytes"]) / 5,
    }


def measure_heal(world: GossipWorld, nodes: list[Node]) -> Figures:
    """Measure how two halves become one after ten minutes."""
    half = frozenset(node.key for node in nodes[: len(nodes) // 2])
    world.partition(half)
    world.run(APART)
    merged: RecordSet = copied(nodes[0].records)
    for node in nodes[:: 100 if len(nodes) >= 200 else len(nodes) // 2]:
        change(world, node)
        for record in node.records.members_of(node.key):
            merged.offer(record, wall=EPOCH)
    world.run(SETTLE)
    _, kilobytes = sent(nodes)
    world.heal()
    target = merged.tree.root
    watch = Stopwatch(world, nodes, has_root(target))
    watch.wait(within=300.0)
    return {
        "heal_p50": watch.share(0.5),
        "heal_p999": watch.share(0.999),
        "heal_bytes": sent(nodes)[1] - kilobytes,
    }


def measure_restart(world: GossipWorld, nodes: list[Node]) -> Figures:
    """Measure a restart of all nodes at one instant, with a change just then."""
    messages, kilobytes = sent(nodes)
    for node in nodes:
        node.restart(EPOCH + world.now)
        world.arm(node)
    change(world, nodes[0])
    target = nodes[0].records.tree.root
    watch = Stopwatch(world, nodes, has_root(target))
    world.on_step = watch
    peak, last = 0.0, messages
    for _ in range(30):
        world.run(1.0)
        now = sent(nodes)[0]
        peak, last = max(peak, now - last), now
    watch.wait(within=60.0)
    return {
        "restart_messages": last - messages,
        "restart_peak": peak,
        "restart_bytes": sent(nodes)[1] - kilobytes,
        "restart_change_p999": watch.share(0.999),
    }


def measure_joins(world: GossipWorld, nodes: list[Node]) -> Figures:
    """Measure a hundred that join at once, by ten members that introduce them."""
    _, kilobytes = sent(nodes)
    joiners = []
    for number in range(JOINERS):
        person = world.population.add()
        introducer = nodes[number % 10 * (len(nodes) // 10)]
        joiner = world.add_node(person.key)
        joiners.append(joiner)
        word = world.population.word(person)
        for one in (joiner, introducer):
            one.publish(word)
        ours: tuple[VerifiedMember, ...] = introducer.records.members_of(introducer.key)
        joiner.publish(ours[0].data)
    size = max(len(node.records) for node in nodes)
    size += JOINERS - JOINERS // 10
    old = Stopwatch(world, nodes, lambda node: len(node.records) == size)
    new = Stopwatch(world, joiners, lambda node: len(node.records) == size)

    def look(node: Node) -> None:
        old(node)
        new(node)

    world.on_step = look
    world.run_until(
        lambda: len(old.times) + len(new.times) == len(nodes) + JOINERS, within=300.0
    )
    old.wait(within=1.0)
    new.wait(within=1.0)
    return {
        "joins_p50": old.share(0.5),
        "joins_p999": old.share(0.999),
        "joins_new": new.share(1.0),
        "joins_bytes": sent(nodes)[1] - kilobytes,
    }


def measure(members: int, seed: int) -> Figures:
    """Measure everything in one network."""
    began = time.monotonic()
    world, figures = build(members, seed)
    nodes = list(world.nodes.values())
    figures |= measure_idle(world, nodes)
    figures |= measure_change(world, nodes, figures)
    figures |= measure_restart(world, nodes)
    figures |= measure_heal(world, nodes)
    figures |= measure_joins(world, nodes)
    return figures | {"took": time.monotonic() - began}


def table(columns: list[Figures]) -> str:
    """Return the figures with their titles, a column for each network."""
    width = max(map(len, TITLES.values()))
    lines = []
    for key, title in TITLES.items():
        values = [column[key] for column in columns]
        texts = [f"{v:,.0f}" if v >= 100 or v == int(v) else f"{v:.2f}" for v in values]
        lines.append(f"{title:<{width}}" + "".join(f"{text:>10}" for text in texts))
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--members", default="100,1000,10000", help="sizes (100,1000,10000)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    parser.add_argument("--json", action="store_true", help="one object a network")
    arguments = parser.parse_args()
    try:
        arguments.sizes = [int(size) for size in arguments.members.split(",")]
    except ValueError:
        parser.error("--members takes numbers with commas between")
    if min(arguments.sizes) < 20:
        parser.error("--members: a network to measure has 20 members or more")
    return arguments


def main() -> int:
    """Measure and print; return the exit status."""
    arguments = parse_arguments()
    columns = []
    for members in arguments.sizes:
        print(f"{members} members ...", file=sys.stderr, flush=True)
        columns.append(measure(members, arguments.seed))
        if arguments.json:
            print(json.dumps(columns[-1]), flush=True)
    if not arguments.json:
        print(table(columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
