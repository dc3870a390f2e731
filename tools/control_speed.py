"""Measure the control side of meshnode beside wireguard-go, in the same run.

Commands, start-up, handshakes, the first packet to a peer, many peers, and what an
idle tunnel costs. Every round measures everything of both, one after the other, so that
a busy moment of the machine hits both; the table shows the median of all rounds with
the least and the greatest in brackets. Seconds of the processor are of all processes
of the program together.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from topology import control_speed, handshakes, measure
from topology.figures import Figures, table
from topology.hosts import Lab
from topology.processes import LabError
from topology.tunnels import UserspaceWireGuard, meshnode, wireguard_go

TOOLS = Path(__file__).parent
BIN = Path(sys.executable).parent
COMMANDS = (
    *("meshnode --help", "meshnode genkey", "meshnode key list"),
    *("meshnode status --help", "meshnode-wg --help", "wg genkey"),
)
PEERS = (10, 1000, 10_000)
STEPS = ("commands", "start", "handshakes", "first", "peers", "idle")
HANDSHAKE_SECONDS = 3
IDLE_SECONDS = 30
PINGS = 5


def main() -> int:
    """Measure, print the table, and return 1 if something could not be measured."""
    options = _options()
    programs = [meshnode("fast"), meshnode("reference"), _newest_wireguard_go()]
    figures = [Figures(program.name) for program in programs]
    commands = Figures("commands")
    print(f"before the start the machine was {measure.busy_share(2):.0%} busy")
    for number in range(options.rounds):
        print(f"round {number + 1}", file=sys.stderr)
        if "commands" in options.only:
            _commands(commands)
        for program, kept in zip(programs, figures, strict=True):
            for name, step in _STEPS.items():
                if name in options.only:
                    _try(step, program, kept)
    for group in ([commands], figures):
        if any(one.values for one in group):
            print(table(group), end="\n\n")
    if options.json is not None:
        report = {one.program: one.values for one in (commands, *figures)}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    failures = [f"{one.program}: {text}" for one in figures for text in one.failures]
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/control-speed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument(
        "--only", action="append", choices=STEPS, help="this step; may be repeated"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    options.only = options.only or STEPS
    return options


def _newest_wireguard_go() -> UserspaceWireGuard:
    found = subprocess.run(
        [TOOLS / "newest_wireguard_go"], stdout=subprocess.PIPE, text=True, check=True
    )
    return wireguard_go(found.stdout.strip())


def _try(
    step: Callable[[UserspaceWireGuard], Iterator[tuple[str, float]]],
    program: UserspaceWireGuard,
    kept: Figures,
) -> None:
    try:
        for name, value in step(program):
            kept.add(name, value)
    except LabError as error:
        kept.failures.append(str(error))


def _commands(kept: Figures) -> None:
    with tempfile.TemporaryDirectory() as keys:
        for text in COMMANDS:
            program, *words = text.split()
            path = BIN / program
            command = [str(path) if path.exists() else program, *words]
            environment = {"MESHNODE_KEY_DIR": keys}
            seconds = control_speed.command(command, environment=environment)
            kept.add(f"{text}, ms", 1e3 * seconds)


def _start(program: UserspaceWireGuard) -> Iterator[tuple[str, float]]:
    with Lab() as lab:
        seconds, processor = control_speed.start(program, lab.host("a"))
    yield "start of an interface, ms", 1e3 * seconds
    yield "start: processor time, ms", 1e3 * processor


def _handshakes(program: UserspaceWireGuard) -> Iterator[tuple[str, float]]:
    with Lab() as lab:
        ports = lab.connect(lab.host("a"), lab.host("b"))
        rate = handshakes.measure(program, *ports, seconds=HANDSHAKE_SECONDS)
    yield "handshakes answered, 1/s", rate.per_second
    yield "one handshake: processor time, ms", 1e3 * rate.processor_seconds_each


def _first_replies(program: UserspaceWireGuard) -> Iterator[tuple[str, float]]:
    with Lab() as lab:
        ports = lab.connect(lab.host("a"), lab.host("b"))
        for seconds in control_speed.first_replies(program, *ports, count=PINGS):
            yield "first reply, without a session, ms", 1e3 * seconds


def _peers(program: UserspaceWireGuard) -> Iterator[tuple[str, float]]:
    for count in PEERS:
        with Lab() as lab:
            loaded = control_speed.load_peers(program, lab.host("a"), count)
        yield f"setconf of {count} peers, ms", 1e3 * loaded.seconds
        yield (
            f"setconf of {count} peers: processor time, ms",
            1e3 * loaded.processor_seconds,
        )
        yield f"memory with {count} peers (PSS), MB", loaded.memory / 1e6


def _idle(program: UserspaceWireGuard) -> Iterator[tuple[str, float]]:
    with Lab() as lab:
        ports = lab.connect(lab.host("a"), lab.host("b"))
        used = control_speed.idle(program, *ports, seconds=IDLE_SECONDS)
    yield f"idle for {IDLE_SECONDS} s: processor time, ms", 1e3 * used.processor_seconds
    yield f"idle for {IDLE_SECONDS} s: wakeups", used.wakeups


_STEPS = {
    "start": _start,
    "handshakes": _handshakes,
    "first": _first_replies,
    "peers": _peers,
    "idle": _idle,
}


if __name__ == "__main__":
    raise SystemExit(main())
