"""Tell what happened in a world, for whoever must understand a failure.

The packets are a sequence diagram: a column for each host, time running down. Where
hosts are many, each line says who sent what to whom instead.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from meshnode.simulation.trace import LOSSES, Mark, Row

if TYPE_CHECKING:
    from meshnode.simulation.world import World

_COLUMN: Final = 26
_TIME: Final = 12
_MOST_COLUMNS: Final = 8


def tell(world: "World", *, last: int = 60) -> str:
    """Return seed, virtual time, the hosts with what they wait for, and the packets.

    *last* is how many rows of the trace are shown.
    """
    lines = [f"seed {world.seed}, virtual time {world.now:.6f} s", ""]
    lines += [f"{host.name}: {host.outlook()}" for host in world.hosts.values()]
    rows = list(world.trace.rows)[-last:]
    lines += ["", *diagram(list(world.hosts), rows)]
    return "\n".join(lines)


def diagram(hosts: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Return the rows as a sequence diagram with a column for each of *hosts*."""
    if len(hosts) > _MOST_COLUMNS:
        return ["time (s)", *map(_sentence, rows)]
    senders = {row.sender for row in rows if row.receiver}
    columns = ["*", *hosts] if "*" in senders else list(hosts)
    heading = "".join(name.ljust(_COLUMN) for name in columns).rstrip()
    return ["time (s)".ljust(_TIME) + heading, *(_line(columns, row) for row in rows)]


def _sentence(row: Row) -> str:
    time = f"{row.at:.4f}".ljust(_TIME)
    remark = f"  ({row.mark.value})" if row.mark is not Mark.NONE else ""
    if not row.receiver:
        return f"{time}{row.sender}: * {row.label}"
    delay = f"  +{(row.at - row.sent_at) * 1000:.0f} ms"
    return f"{time}{row.sender} -> {row.receiver}: {row.label}{remark}{delay}"


def _line(columns: list[str], row: Row) -> str:
    time = f"{row.at:.4f}".ljust(_TIME)
    if row.sender not in columns:
        return f"{time}{row.sender}: {row.label}"
    start = columns.index(row.sender)
    if row.receiver not in columns:
        return time + _note(columns, start, row)
    return time + _arrow(columns, start, columns.index(row.receiver), row)


def _note(columns: list[str], position: int, row: Row) -> str:
    bars = _bars(len(columns))
    offset = position * _COLUMN
    text = f"* {row.label}"
    if row.mark is not Mark.NONE:
        text += f" ({row.mark.value})"
    return (bars[:offset] + text + bars[offset + len(text) :]).rstrip()


def _arrow(columns: list[str], start: int, end: int, row: Row) -> str:
    """Draw one datagram: `|-- initiation ---->|`, with its mark behind."""
    bars = _bars(len(columns))
    left, right = min(start, end) * _COLUMN, max(start, end) * _COLUMN
    width = right - left - 1
    if width <= 0:
        return (bars + f"  {row.label} to itself").rstrip()
    tip = "x" if row.mark in LOSSES else ">" if start < end else "<"
    shaft = f" {row.label} ".center(width - 1, "-")[: width - 1]
    body = shaft + tip if start < end else tip + shaft
    remark = f"  ({row.mark.value})" if row.mark is not Mark.NONE else ""
    delay = f"  +{(row.at - row.sent_at) * 1000:.0f} ms"
    return bars[: left + 1] + body + bars[right:] + remark + delay


def _bars(count: int) -> str:
    return "".join("|".ljust(_COLUMN) for _ in range(count))
