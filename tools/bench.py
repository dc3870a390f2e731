"""Measure meshnode beside other tunnels, in the same run on the same machine.

Two hosts in network namespaces, one veth link, nothing else. Every round measures every
row, so that a busy moment of the machine hits all of them; the table shows the median
of all rounds with the least and the greatest in brackets, and each row's share of
wireguard-go's and tinc's median.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from topology import handshakes, measure
from topology.hosts import Lab, Port
from topology.processes import LabError
from topology.tunnels import (
    Joined,
    Tinc,
    Tunnel,
    UserspaceWireGuard,
    Veth,
    meshnode,
    wireguard_go,
)

TOOLS = Path(__file__).parent
ROWS = ("fast", "reference", "veth", "wireguard-go", "tinc")
BASELINES = ("wireguard-go", "tinc")


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of the table: its key in the JSON, its heading and its unit."""

    key: str
    title: str
    unit: str
    more_is_better: bool = True


COLUMNS = (
    Column("tcp_1", "TCP, one stream", "Mbit/s"),
    Column("tcp_4", "TCP, four streams", "Mbit/s"),
    Column("tcp_reverse", "TCP, one stream, reverse", "Mbit/s"),
    Column("udp_goodput", "UDP 1200 B, goodput at overload", "Mbit/s"),
    Column("udp_loss", "UDP 1200 B, lost at overload", "%", more_is_better=False),
    Column("rtt_p50", "round trip idle, p50", "ms", more_is_better=False),
    Column("rtt_p99", "round trip idle, p99", "ms", more_is_better=False),
    Column("rtt_load_p50", "round trip under load, p50", "ms", more_is_better=False),
    Column("rtt_load_p99", "round trip under load, p99", "ms", more_is_better=False),
    Column("cpu", "processor per Gbit (TCP 1)", "s", more_is_better=False),
    Column("handshakes", "handshakes answered", "1/s"),
)

Figures = dict[str, float]


@dataclass(slots=True)
class Row:
    """One tunnel, set up in its own laboratory, and what was measured of it."""

    tunnel: Tunnel
    ports: tuple[Port, Port]
    joined: Joined
    rounds: list[Figures] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def values(self, key: str) -> list[float]:
        """Return the column's figures of all rounds that have it."""
        return [figures[key] for figures in self.rounds if key in figures]


def main() -> int:
    """Run the rounds, print the table and write the JSON file.

    Returns 1 if any row failed.
    """
    options = _options()
    failed: dict[str, str] = {}
    busy = measure.busy_share(2)
    print(f"before the start the machine was {busy:.0%} busy", file=sys.stderr)
    with ExitStack() as stack:
        rows = []
        for name in options.only:
            try:
                rows.append(_set_up(stack, _tunnel(name)))
            except LabError as error:
                failed[name] = str(error)
                print(f"{name}: cannot be set up: {error}", file=sys.stderr)
        for number in range(options.rounds):
            for row in rows:
                print(f"round {number + 1}: {row.tunnel.name}", file=sys.stderr)
                _measure_round(row, options.seconds)
    print(_table(rows))
    path = _write(options.json, rows, failed, busy, options)
    print(f"\nwritten to {path}")
    for row in rows:
        for failure in dict.fromkeys(row.failures):
            print(f"{row.tunnel.name}: {failure}", file=sys.stderr)
    return 1 if failed or any(row.failures for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument(
        "--seconds", type=int, default=5, help="of each measurement; default: 5"
    )
    parser.add_argument("--quick", action="store_true", help="one round of 1 second")
    parser.add_argument(
        "--only", action="append", choices=ROWS, help="this row; may be repeated"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    options.only = options.only or list(ROWS)
    return options


def _tunnel(name: str) -> Tunnel:
    factories: Mapping[str, Callable[[], Tunnel]] = {
        "fast": lambda: meshnode("fast"),
        "reference": lambda: meshnode("reference"),
        "veth": Veth,
        "wireguard-go": _newest_wireguard_go,
        "tinc": Tinc,
    }
    return factories[name]()


def _newest_wireguard_go() -> UserspaceWireGuard:
    found = subprocess.run(
        [TOOLS / "newest_wireguard_go"], stdout=subprocess.PIPE, text=True, check=True
    )
    return wireguard_go(found.stdout.strip())


def _set_up(stack: ExitStack, tunnel: Tunnel) -> Row:
    lab = stack.enter_context(Lab())
    ports = lab.connect(lab.host("a"), lab.host("b"))
    joined = tunnel.join(*ports)
    # tinc finds the path's packet size first; all get the same warm-up.
    measure.tcp(joined, seconds=2)
    return Row(tunnel, ports, joined)


def _measure_round(row: Row, seconds: int) -> None:
    figures: Figures = {}
    row.rounds.append(figures)
    for step in (_throughput, _datagrams, _round_trips, _handshakes):
        try:
            figures |= step(row, seconds)
        except LabError as error:
            row.failures.append(f"{step.__name__.strip('_')}: {error}")


def _throughput(row: Row, seconds: int) -> Figures:
    one = measure.tcp(row.joined, seconds=seconds)
    four = measure.tcp(row.joined, seconds=seconds, streams=4)
    reverse = measure.tcp(row.joined, seconds=seconds, reverse=True)
    return {
        "tcp_1": one.bits_per_second / 1e6,
        "tcp_4": four.bits_per_second / 1e6,
        "tcp_reverse": reverse.bits_per_second / 1e6,
        "cpu": one.processor_seconds_per_gigabit,
    }


def _datagrams(row: Row, seconds: int) -> Figures:
    result = measure.udp(row.joined, seconds=seconds)
    return {
        "udp_goodput": result.bits_per_second / 1e6,
        "udp_loss": result.loss * 100,
    }


def _round_trips(row: Row, seconds: int) -> Figures:
    idle = measure.round_trips(row.joined, seconds=seconds)
    loaded = measure.round_trips_under_load(row.joined, seconds=seconds)
    return {
        "rtt_p50": idle.p50_ms,
        "rtt_p99": idle.p99_ms,
        "rtt_load_p50": loaded.p50_ms,
        "rtt_load_p99": loaded.p99_ms,
    }


def _handshakes(row: Row, seconds: int) -> Figures:
    if not isinstance(row.tunnel, UserspaceWireGuard):
        return {}
    with Lab() as lab:
        ports = lab.connect(lab.host("a"), lab.host("b"))
        rate = handshakes.measure(row.tunnel, *ports, seconds=min(seconds, 3))
    return {"handshakes": rate.per_second}


def _table(rows: Sequence[Row]) -> str:
    lines = ["", *(f"{row.tunnel.name}: {row.tunnel.version()}" for row in rows)]
    for column in COLUMNS:
        direction = "more" if column.more_is_better else "less"
        lines += ["", f"{column.title} ({column.unit}; {direction} is better)"]
        for row in rows:
            lines.append(f"  {row.tunnel.name:<20}{_cell(row, column, rows)}")
    lines += [
        "",
        "Processor time is the busy time of all processors of the whole machine during"
        " the run,\niperf3's own and that of anything else running included.",
    ]
    return "\n".join(lines)


def _cell(row: Row, column: Column, rows: Sequence[Row]) -> str:
    values = row.values(column.key)
    if not values:
        return "–"
    median = statistics.median(values)
    span = f"({_number(min(values))}-{_number(max(values))})"
    text = f"{_number(median):>8} {span}".ljust(30)
    for base in rows:
        others = base.values(column.key)
        if base is not row and base.tunnel.name in BASELINES and others:
            other = statistics.median(others)
            if other:
                text += f"  {median / other:.2f} x {base.tunnel.name}"
    return text


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _write(
    path: Path | None,
    rows: Sequence[Row],
    failed: Mapping[str, str],
    busy: float,
    options: argparse.Namespace,
) -> Path:
    now = datetime.now(UTC)
    if path is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        path = Path(home, "meshnode", f"bench-{now:%Y%m%d-%H%M%S}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "date": now.isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "busy_before": busy,
        "python": platform.python_version(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "columns": {column.key: column.unit for column in COLUMNS},
        "rows": {
            row.tunnel.name: {
                "version": row.tunnel.version(),
                "rounds": row.rounds,
                "failures": row.failures,
            }
            for row in rows
        },
        "not_set_up": failed,
    }
    path.write_text(json.dumps(report, indent=2) + "\n")
    return path


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


if __name__ == "__main__":
    raise SystemExit(main())
