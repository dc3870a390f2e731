"""A comparison as text for the terminal, and as Markdown for a document."""

from topology.bench import text
from topology.compare.run import Comparison


def table(found: Comparison) -> str:
    """Return everything, a block for each figure."""
    lines = [text.table(found.report), "", "What passes:"]
    lines += [f"  {way.name:<20}{_passing(found, way.name)}" for way in found.ways]
    lines += ["", "What an application is told:"]
    lines += [f"  {way.name:<20}{way.told}" for way in found.ways]
    return "\n".join(lines)


def markdown(found: Comparison) -> str:
    """Return one table: a line for each figure, and the ways beside each other."""
    measured = text.markdown(found.report).splitlines()
    # Behind the figures, before the note below the table.
    end = max(number for number, line in enumerate(measured) if line.startswith("|"))
    names = [row.name for row in found.report.rows]
    ways = {way.name: way for way in found.ways}
    passes = " | ".join(_passing(found, name) for name in names)
    told = " | ".join(ways[name].told for name in names)
    more = [f"| passes | {passes} |", f"| an application is told | {told} |"]
    return "\n".join([*measured[: end + 1], *more, *measured[end + 1 :]])


def _passing(found: Comparison, name: str) -> str:
    passed = [what for what, did in found.passes.get(name, {}).items() if did]
    return ", ".join(passed) or "nothing"
