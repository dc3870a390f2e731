"""A report as a picture: a band of panels for each section that was measured."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure, SubFigure

from topology.bench import panels
from topology.bench.columns import measured
from topology.bench.results import Report
from topology.bench.text import headline

_WIDTH = 16.0
_HEAD = 1.3
"""Inches: of the picture, and of its title."""

_DPI = 110


@dataclass(frozen=True, slots=True)
class _Band:
    """Panels beside each other, and the prefixes of the keys they show."""

    title: str
    prefixes: tuple[str, ...]
    height: float
    draw: Callable[[SubFigure, Report], None]


_BANDS: Sequence[_Band] = (
    _Band(
        "Throughput, its price, and handshakes",
        ("tcp.", "udp.", "handshakes."),
        4.2,
        panels.throughput,
    ),
    _Band(
        "Round trips, ms: idle and while the tunnel is full",
        ("latency.",),
        4.2,
        panels.latency,
    ),
    _Band(
        "UDP: by packet size, and as more is offered than gets through",
        ("sizes.", "overload."),
        4.4,
        panels.datagrams,
    ),
    _Band("Three ways in, and proxies beside them", ("ways.",), 4.2, panels.ways),
    _Band("A hub, as its peers grow", ("hub.",), 3.8, panels.hub),
)


def draw(report: Report) -> bytes:
    """Return a PNG with what the report has figures of."""
    keys = [column.key for column in measured(report)]
    bands = [band for band in _BANDS if any(map(_starts(band), keys))]
    heights = [_HEAD, *(band.height for band in bands)]
    figure = Figure(figsize=(_WIDTH, sum(heights)), dpi=_DPI, layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
    _title(parts[0][0], report)
    for part, band in zip(parts[1:], bands, strict=True):
        part[0].suptitle(band.title, x=0.01, ha="left", weight="bold", size="large")
        band.draw(part[0], report)
    output = io.BytesIO()
    figure.savefig(output, format="png")
    return output.getvalue()


def _starts(band: _Band) -> Callable[[str], bool]:
    return lambda key: key.startswith(band.prefixes)


def _title(part: SubFigure, report: Report) -> None:
    part.text(
        0.01, 0.82, "meshnode beside other tunnels", size=18, weight="bold", va="top"
    )
    versions = ",  ".join(f"{row.name} {row.version}" for row in report.rows)
    part.text(
        0.01,
        0.45,
        f"{headline(report)}; bars and whiskers: median, least, greatest\n{versions}",
        size=10,
        va="top",
        linespacing=1.5,
    )
