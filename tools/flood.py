"""Flood a node with forged handshakes and see what its established session keeps.

Three hosts in network namespaces: two share a tunnel, the third attacks the one that
receives, at ten times the rate of handshakes that it can answer. The same flood
against a closed port is measured too: what it takes from the tunnel is the price of
the attacker and of the kernel on the same machine, not of the node.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from topology import handshakes, measure
from topology.hosts import Host, Lab
from topology.processes import Process
from topology.tunnels import LISTEN_PORT, Joined, UserspaceWireGuard, meshnode

CLOSED_PORT = 9
SOURCES = "10.66.0.0/16"
KINDS = ("bad-mac1", "valid-mac1")


@dataclass(frozen=True, slots=True)
class Attack:
    """One flood: what was sent and answered, and the tunnel's Mbit/s meanwhile."""

    kind: str
    target: str
    sent: int
    sent_bytes: int
    replies: int
    reply_bytes: int
    throughput: float


def main() -> int:
    """Measure, print the table, and return 1 if the session kept less than 80 %."""
    parser = argparse.ArgumentParser(prog="tools/flood", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="default: 20")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--factor", type=float, default=10.0, help="default: 10")
    parser.add_argument("--engine", help="meshnode's data-plane engine")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    tunnel = meshnode(options.engine)
    capacity = _capacity(tunnel)
    rate = options.factor * capacity
    print(f"handshakes answered: {capacity:.0f}/s; flood: {rate:.0f}/s")
    quiet, attacks = _run(tunnel, rate, options.seconds, options.rounds)
    kept = _report(quiet, attacks)
    if options.json is not None:
        figures = {"capacity": capacity, "quiet": quiet}
        attacked = [asdict(attack) for attack in attacks]
        options.json.write_text(json.dumps({**figures, "attacks": attacked}, indent=2))
    return 0 if min(kept.values()) >= 0.8 else 1


def _capacity(tunnel: UserspaceWireGuard) -> float:
    with Lab() as lab:
        ports = lab.connect(lab.host("a"), lab.host("b"))
        rates = [handshakes.measure(tunnel, *ports, seconds=3) for _ in range(3)]
    return statistics.median(rate.per_second for rate in rates)


def _run(
    tunnel: UserspaceWireGuard, rate: float, seconds: int, rounds: int
) -> tuple[list[float], list[Attack]]:
    with Lab() as lab:
        left, right, attacker = (lab.host(name) for name in ("a", "b", "c"))
        ports = lab.connect(left, right)
        ours, theirs = lab.connect(attacker, right)
        attacker.ip(f"route add local {SOURCES} dev lo")
        right.ip(f"route add {SOURCES} via {ours.v4}")
        joined = tunnel.join(*ports)
        key = right.run("wg show all public-key").stdout.split()
        public_key = dict(zip(key[::2], key[1::2], strict=True))
        victim = next(public_key[name] for name in public_key if _is_in(right, name))

        def flood(kind: str, port: int) -> Process:
            words = [theirs.v4, port, victim, kind, rate, seconds + 2, SOURCES]
            return attacker.start(
                [sys.executable, "-m", "topology.flood", *map(str, words)],
                environment={"PYTHONPATH": str(Path(__file__).parents[1])},
            )

        measure.tcp(joined, seconds=2)
        quiet, attacks = [], []
        for _ in range(rounds):
            quiet.append(measure.tcp(joined, seconds=seconds).bits_per_second / 1e6)
            for kind in KINDS:
                for target, port in (("closed", CLOSED_PORT), ("node", LISTEN_PORT)):
                    process = flood(kind, port)
                    attacks.append(_attack(joined, process, kind, target, seconds))
    return quiet, attacks


def _is_in(host: Host, interface: str) -> bool:
    return interface in host.interfaces()


def _attack(
    joined: Joined, process: Process, kind: str, target: str, seconds: int
) -> Attack:
    joined.left.run("sleep 1")
    throughput = measure.tcp(joined, seconds=seconds).bits_per_second / 1e6
    process.wait(seconds + 30)
    return Attack(kind, target, throughput=throughput, **json.loads(process.output))


def _report(quiet: list[float], attacks: list[Attack]) -> Mapping[str, float]:
    calm = statistics.median(quiet)
    print(f"\nTCP, one stream, no flood: {calm:.0f} Mbit/s")
    kept = {}
    for kind in KINDS:
        closed = statistics.median(a.throughput for a in _of(attacks, kind, "closed"))
        at_node = _of(attacks, kind, "node")
        node = statistics.median(a.throughput for a in at_node)
        answered = sum(a.reply_bytes for a in at_node)
        sent = sum(a.sent_bytes for a in at_node)
        kept[kind] = node / closed
        print(
            f"{kind:<11} at a closed port: {closed:.0f} Mbit/s; at the node: "
            f"{node:.0f} Mbit/s = {node / closed:.0%} of it, {node / calm:.0%} of "
            f"calm; bytes answered per byte sent: {answered / sent:.3f}"
        )
    return kept


def _of(attacks: list[Attack], kind: str, target: str) -> list[Attack]:
    return [a for a in attacks if (a.kind, a.target) == (kind, target)]


if __name__ == "__main__":
    raise SystemExit(main())
