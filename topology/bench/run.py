"""Let every row pass every section, round after round.

All rows take turns in every round, so that a busy moment of the machine hits all.
"""

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from topology import measure
from topology.bench import rows
from topology.bench.plan import Plan
from topology.bench.results import Machine, Report, Round, Row
from topology.bench.sections import JOINED, LONE, Contender
from topology.hosts import Lab
from topology.leaks import LeakFound
from topology.processes import LabError
from topology.tunnels import Tunnel, UserspaceWireGuard

Say = Callable[[str], None]
"""Is told of each step, a line at a time."""

Keep = Callable[[Report], None]
"""Is given the report after each round: whoever interrupts the next keeps it."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tunnel of the benchmark: its name on the command line, and its results."""

    name: str
    tunnel: Tunnel
    row: Row


@dataclass(frozen=True, slots=True)
class _Turn:
    """One row's part of a section, to be measured once a round."""

    row: Row
    section: str
    measure: Callable[[], Round]


def run(plan: Plan, say: Say, keep: Keep) -> Report:
    """Measure everything; a failure is noted in the report, and the rest goes on."""
    report = Report(describe_machine(), plan.settings.seconds)
    say(f"before the start the machine was {report.machine.busy_before:.0%} busy")
    entries = list(_entries(plan, report))
    report.rows = [entry.row for entry in entries]
    with _noting(report, "the end"), ExitStack() as stack:
        turns = list(_joined_turns(plan, entries, stack, report, say))
        _play(plan.rounds, turns, report, say, keep)
    # Now that nothing else is up: what shared pages or took processor time is gone.
    _play(plan.rounds, list(_lone_turns(plan, entries)), report, say, keep)
    return report


def _entries(plan: Plan, report: Report) -> Iterator[_Entry]:
    for name in plan.rows_of_any(plan.sections):
        with _noting(report, name):
            tunnel = rows.tunnel(name)
            rounds = [Round() for _ in range(plan.rounds)]
            yield _Entry(name, tunnel, Row(tunnel.name, tunnel.version(), rounds))


def _joined_turns(
    plan: Plan, entries: Iterable[_Entry], stack: ExitStack, report: Report, say: Say
) -> Iterator[_Turn]:
    for entry in entries:
        sections = [name for name in plan.joined if entry.name in plan.rows_of(name)]
        if not sections:
            continue
        say(f"setting up: {entry.row.name}")
        with _noting(report, entry.row.name):
            contender = _join(stack, entry.tunnel)
            for name in sections:
                measure_row = partial(JOINED[name].measure, contender, plan.settings)
                yield _Turn(entry.row, name, measure_row)


def _lone_turns(plan: Plan, entries: Iterable[_Entry]) -> Iterator[_Turn]:
    for entry in entries:
        for name in plan.lone:
            tunnel = entry.tunnel
            if entry.name in plan.rows_of(name) and isinstance(
                tunnel, UserspaceWireGuard
            ):
                measure_row = partial(LONE[name].measure, tunnel, plan.settings)
                yield _Turn(entry.row, name, measure_row)


def _play(
    rounds: int, turns: list[_Turn], report: Report, say: Say, keep: Keep
) -> None:
    for number in range(rounds):
        for turn in turns:
            say(f"round {number + 1} of {rounds}: {turn.row.name}: {turn.section}")
            with _noting(report, f"{turn.row.name}: {turn.section}"):
                turn.row.rounds[number].add(turn.measure())
        keep(report)


def _join(stack: ExitStack, tunnel: Tunnel) -> Contender:
    lab = stack.enter_context(Lab())
    joined = tunnel.join(*lab.connect(lab.host("a"), lab.host("b")))
    # tinc finds the path's packet size first; all get the same warm-up.
    measure.tcp(joined, seconds=2)
    return Contender(joined)


@contextmanager
def _noting(report: Report, what: str) -> Iterator[None]:
    """Let a failure of the block be one of the report's."""
    try:
        yield
    except (LabError, LeakFound) as error:
        report.note_failure(f"{what}: {error}")


def describe_machine() -> Machine:
    """Return where and when we are; it takes two seconds."""
    return Machine(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        kernel=platform.release(),
        processor=_processor(),
        processors=os.cpu_count() or 1,
        python=platform.python_version(),
        busy_before=round(measure.busy_share(2), 3),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
