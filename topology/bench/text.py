"""A report as text for the terminal, and as Markdown for a document."""

from collections.abc import Sequence

from topology.bench.columns import Column, measured
from topology.bench.results import Report, Row
from topology.bench.rows import BASELINES

NOTE = (
    "Processor time is the busy time of all processors of the whole machine during the"
    " run,\niperf3's own and that of anything else running included; with a relay"
    " it is\nthat of the processes of these hosts."
)


def table(report: Report) -> str:
    """Return every column with a line for each row.

    A line has the median of all rounds, the least and the greatest in brackets, and
    how many times that of each other tunnel it is.
    """
    lines = [
        headline(report),
        "",
        *(f"{row.name}: {row.version}" for row in report.rows),
    ]
    for column in measured(report):
        lines += ["", column.heading]
        lines += [
            f"  {row.name:<20}{_line(row, column, report.rows)}"
            for row in report.rows
            if column.values(row)
        ]
    return "\n".join([*lines, "", NOTE])


def markdown(report: Report) -> str:
    """Return one table: a line for each column, and the rows beside each other."""
    names = [f"{row.name} {row.version}" for row in report.rows]
    lines = [
        headline(report),
        "",
        f"| | {' | '.join(names)} |",
        f"|{' --- |' * (len(names) + 1)}",
    ]
    for column in measured(report):
        cells = [_cell(row, column) for row in report.rows]
        lines.append(f"| {column.title}, {column.unit} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Median (least–greatest). {NOTE}"])


def headline(report: Report) -> str:
    """Return in one line when and where it was measured, and how often."""
    machine = report.machine
    rounds = max((_rounds(row) for row in report.rows), default=0)
    return (
        f"{machine.date[:10]}, Linux {machine.kernel}, {machine.processors} × "
        f"{machine.processor}; median of {rounds} × {report.seconds} s"
    )


def number(value: float) -> str:
    """Return a figure with three digits that count, or as a whole number."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratio(column: Column, row: Row, base: Row) -> float | None:
    """Return how many times the base's value a row has; None if that means nothing."""
    mine, other = column.value(row), column.value(base)
    if column.more_is_better is None or mine is None or not other:
        return None
    return mine / other


def _rounds(row: Row) -> int:
    # An interrupted benchmark has rounds without anything.
    return sum(bool(each.figures or each.samples) for each in row.rounds)


def _line(row: Row, column: Column, rows: Sequence[Row]) -> str:
    text = f"{_median(row, column):>8} {_span(row, column)}".ljust(30)
    for base in rows:
        if base is not row and base.name in BASELINES:
            times = ratio(column, row, base)
            text += f"  {times:.2f} x {base.name}" if times is not None else ""
    return text


def _cell(row: Row, column: Column) -> str:
    if not column.values(row):
        return "–"
    return f"{_median(row, column)} {_span(row, column)}"


def _median(row: Row, column: Column) -> str:
    value = column.value(row)
    return "–" if value is None else number(value)


def _span(row: Row, column: Column) -> str:
    values = column.values(row)
    return f"({number(min(values))}–{number(max(values))})"
