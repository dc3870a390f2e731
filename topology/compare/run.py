"""Let all ways take turns at all work, round after round, and report it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from topology.bench.results import Report, Round, Row
from topology.bench.run import describe_machine
from topology.compare.passes import tried
from topology.compare.server import serve
from topology.compare.ways import Way, open_way
from topology.compare.work import do_all
from topology.hosts import Lab
from topology.members import Members
from topology.processes import LabError

Say = Callable[[str], None]


@dataclass(slots=True)
class Comparison:
    """What was measured, and which protocols passed, by the names of the ways."""

    report: Report
    ways: Sequence[Way]
    passes: dict[str, dict[str, bool]] = field(default_factory=dict)


def compare(ways: Sequence[Way], *, rounds: int, seconds: int, say: Say) -> Comparison:
    """Measure *ways* between two members of a mesh, in namespaces of their own.

    A failure is noted in the report, and the rest goes on.

    Raises:
        LabError: if the mesh itself cannot be had.
    """
    report = Report(describe_machine(), seconds)
    found = Comparison(report, ways)
    with Lab() as lab:
        say("two hosts become members of a mesh")
        joined = Members("fast").join(*lab.connect(lab.host("a"), lab.host("b")))
        serve(joined)
        rows = {}
        for way in ways:
            try:
                open_way(way, joined.left)
                found.passes[way.name] = tried(way, joined)
            except LabError as error:
                report.note_failure(f"{way.name}: {error}")
                continue
            rows[way.name] = Row(way.name, way.version)
        report.rows = list(rows.values())
        for number in range(rounds):
            for way in ways:
                if way.name not in rows:
                    continue
                say(f"round {number + 1} of {rounds}: {way.name}")
                row = rows[way.name]
                row.rounds.append(Round())
                try:
                    row.rounds[-1].add(do_all(way, joined, seconds))
                except LabError as error:
                    report.note_failure(f"{way.name}: {error}")
    return found
