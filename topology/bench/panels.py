"""The panels of the picture. A row has the same colour in all of them."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from topology.bench.columns import (
    COLUMNS,
    LOADS,
    SHARES,
    Column,
    column,
    magnitude,
    steps,
)
from topology.bench.results import Report, Row
from topology.bench.text import number

_COLOURS = {
    "meshnode fast": "#1b6ca8",
    "meshnode mesh": "#5fb0e6",
    "meshnode reference": "#7b5ea7",
    "wireguard-go": "#c8452f",
    "tinc": "#8a8a3a",
    "nebula": "#e0a030",
    "veth": "#9a9a9a",
    "TUN": "#1b6ca8",
    "SOCKS": "#5fb0e6",
    "HTTP": "#7b5ea7",
    "microsocks": "#c8452f",
    "dante": "#e0a030",
    "tinyproxy": "#8a8a3a",
}
_OTHER = "#444444"
_BARE = "veth"
"""No tunnel: ten times the others, it would flatten their bars."""

_Points = tuple[list[float], list[float], list[float], list[float]]
"""Of a line: x, y, and how far down and up the least and the greatest are from y."""


def throughput(part: SubFigure, report: Report) -> None:
    """TCP and UDP as bars, the processor time a Gbit costs, and handshakes."""
    left, middle, right = part.subplots(1, 3, width_ratios=(4, 1.5, 0.9))
    rows = [row for row in report.rows if row.name != _BARE]
    speeds = [column(key) for key in ("tcp.one", "tcp.four", "tcp.reverse")]
    speeds.append(column("udp.goodput"))
    _bars(left, rows, speeds, "Mbit/s")
    left.set_title(_bare_text(report, speeds), size="small", loc="right")
    _legend(left, 3)
    _bars(middle, rows, [column("tcp.cpu")], "processor seconds")
    _bars(right, rows, [column("handshakes.rate")], "handshakes/s")


def ways(part: SubFigure, report: Report) -> None:
    """One download and its price, requests a second, and datagrams a second."""
    parts = part.subplots(1, 4, width_ratios=(1, 1, 1.6, 1))
    shown = (
        (("ways.bulk",), "Mbit/s"),
        (("ways.cpu",), "processor seconds"),
        (("ways.requests", "ways.connections"), "requests/s"),
        (("ways.udp",), "round trips/s"),
    )
    for axis, (keys, unit) in zip(parts, shown, strict=True):
        _bars(axis, report.rows, [column(key) for key in keys], unit)
    _legend(parts[0], 2)


def latency(part: SubFigure, report: Report) -> None:
    """Percentiles of round trips, a panel for each load."""
    axes = part.subplots(1, len(LOADS), sharey=True, squeeze=False)[0]
    for axis, (load, what) in zip(axes, LOADS.items(), strict=True):
        columns = [each for each in COLUMNS if each.key == f"latency.{load}"]
        for row in report.rows:
            values = [each.value(row) for each in columns]
            known = [value for value in values if value is not None]
            if known:
                axis.plot(
                    list(SHARES), known, marker="o", color=_colour(row), label=row.name
                )
        axis.set_title(what, size="medium")
        _log(axis, y=True)
    axes[-1].set_xlabel(_lost_text(report), size="x-small")
    axes[0].set_ylabel("ms")
    _legend(axes[0], 2)


def datagrams(part: SubFigure, report: Report) -> None:
    """What is received by packet size, and against what is offered."""
    left, middle, right = part.subplots(1, 3)
    for axis, key, unit in (
        (left, "sizes.rate", "datagrams/s received"),
        (middle, "sizes.goodput", "Mbit/s of payload received"),
    ):
        _series(axis, report, key, "bytes of inner packet, at overload", unit)
    _overload(right, report)


def hub(part: SubFigure, report: Report) -> None:
    """Memory, time to configure, throughput and round trip by number of peers."""
    shown = {
        "hub.memory": "MB of all processes",
        "hub.configure": "seconds to configure",
        "hub.tcp": "Mbit/s, TCP to one peer",
        "hub.rtt": "ms, round trip p50",
    }
    for axis, (key, unit) in zip(part.subplots(1, 4), shown.items(), strict=True):
        _series(axis, report, key, "peers", unit)
        if key != "hub.configure":
            axis.set_yscale("linear")
            axis.set_ylim(bottom=0)


def _bars(
    axis: Axes, rows: Sequence[Row], columns: Sequence[Column], unit: str
) -> None:
    columns = [each for each in columns if any(map(each.values, rows))]
    rows = [row for row in rows if any(each.values(row) for each in columns)]
    if not rows:
        axis.set_visible(False)
        return
    width = 0.84 / len(rows)
    for place, row in enumerate(rows):
        points = [
            (at, value, each.values(row))
            for at, each in enumerate(columns)
            if (value := each.value(row)) is not None
        ]
        bars = axis.bar(
            [at + (place - (len(rows) - 1) / 2) * width for at, _, _ in points],
            [value for _, value, _ in points],
            width * 0.92,
            yerr=(
                [value - min(values) for _, value, values in points],
                [max(values) - value for _, value, values in points],
            ),
            capsize=2,
            error_kw={"linewidth": 0.8},
            color=_colour(row),
            label=row.name,
        )
        axis.bar_label(
            bars,
            [number(value) for _, value, _ in points],
            padding=2,
            size="xx-small",
        )
    axis.set_xticks(range(len(columns)), [_short(each.title) for each in columns])
    axis.set_ylabel(unit)
    axis.margins(y=0.15)
    _plain(axis)


def _series(axis: Axes, report: Report, key: str, x: str, y: str) -> None:
    for row in report.rows:
        xs, ys, down, up = _points(report, row, key)
        if xs:
            axis.errorbar(
                xs,
                ys,
                (down, up),
                marker="o",
                capsize=2,
                color=_colour(row),
                label=row.name,
            )
    ticks = [magnitude(each) for each in steps(report, key)]
    if not ticks:
        axis.set_visible(False)
        return
    _log(axis, x=True, y=True)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    _legend(axis, 1)
    axis.set_xlabel(x)
    axis.set_ylabel(y)


def _points(report: Report, row: Row, key: str) -> _Points:
    points: _Points = ([], [], [], [])
    for x in steps(report, key):
        each = Column(f"{key}.{x}", "", "")
        value, values = each.value(row), each.values(row)
        if value is not None:
            entry = (magnitude(x), value, value - min(values), max(values) - value)
            for numbers, figure in zip(points, entry, strict=True):
                numbers.append(figure)
    return points


def _overload(axis: Axes, report: Report) -> None:
    ends = []
    for row in report.rows:
        # By what was really sent: no sender keeps up with every rate it is told.
        offered = _points(report, row, "overload.offered")[1]
        _, received, down, up = _points(report, row, "overload.received")
        if not offered:
            continue
        axis.errorbar(
            offered,
            received,
            (down, up),
            marker="o",
            capsize=2,
            color=_colour(row),
            label=row.name,
        )
        axis.annotate(
            "unlimited",
            (offered[-1], received[-1]),
            xytext=(0, -13),
            textcoords="offset points",
            size="x-small",
            ha="center",
        )
        ends += [min(received), max(received)]
    if not ends:
        axis.set_visible(False)
        return
    span = [min(ends), max(ends)]
    axis.plot(span, span, ":", color=_OTHER, label="nothing lost")
    axis.set_xlabel("datagrams/s offered (1200 B)")
    axis.set_ylabel("datagrams/s received")
    _legend(axis, 1)
    _log(axis, x=True, y=True)


def _bare_text(report: Report, columns: Sequence[Column]) -> str:
    """Say what the link itself carries, which has no bars."""
    for row in report.rows:
        if row.name == _BARE:
            figures = [number(each.value(row) or 0) for each in columns]
            return f"bare veth, not drawn: {' / '.join(figures)} Mbit/s"
    return ""


def _lost_text(report: Report) -> str:
    """Say how many of the pings under UDP overload had no answer."""
    lost = column("latency.lost")
    texts = [
        f"{row.name} {number(value)} %"
        for row in report.rows
        if (value := lost.value(row)) is not None
    ]
    lines = [", ".join(texts[at : at + 3]) for at in range(0, len(texts), 3)]
    return "\n".join(["without an answer:", *lines]) if texts else ""


def _short(title: str) -> str:
    return title.replace(", ", "\n", 1)


def _legend(axis: Axes, columns: int) -> None:
    # Without anything drawn, a legend is a warning.
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize="x-small", ncols=columns)


def _tick(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _colour(row: Row) -> str:
    return _COLOURS.get(row.name, _OTHER)


def _log(axis: Axes, *, x: bool = False, y: bool = False) -> None:
    for wanted, each, scale in (
        (x, axis.xaxis, axis.set_xscale),
        (y, axis.yaxis, axis.set_yscale),
    ):
        if wanted:
            scale("log")
            each.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            each.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
            each.set_minor_locator(NullLocator())
    _plain(axis)


def _plain(axis: Axes) -> None:
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
