"""What the keys of a result mean: titles, units, and which way is better.

A row's value is its median over all rounds. A percentile is taken of the samples of all
rounds together, as one round has too few for the rare ones.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from topology.bench.relay import ROLES
from topology.bench.results import Report, Row

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}

LOADS = {
    "idle": "idle",
    "tcp_1": "under one TCP stream",
    "tcp_4": "under four TCP streams",
    "udp": "under UDP overload",
}
"""What runs while round trips are measured, by the key of the samples."""

UNLIMITED = "max"
"""The `x` of a rate that nothing limits."""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of each row.

    `more_is_better` is None where neither is, as for a rate that we chose. With `share`
    it is that quantile of the samples of that key. A column of a series has `{x}` in
    its title, and stands for all keys `KEY.X` that were measured.
    """

    key: str
    title: str
    unit: str
    more_is_better: bool | None = True
    share: float | None = None

    def values(self, row: Row) -> list[float]:
        """Return the row's value in each round that has it."""
        if self.share is None:
            return [
                each.figures[self.key]
                for each in row.rounds
                if self.key in each.figures
            ]
        return [
            quantile(samples, self.share)
            for each in row.rounds
            if (samples := each.samples.get(self.key))
        ]

    def value(self, row: Row) -> float | None:
        """Return the row's value over all rounds; None if it was not measured."""
        if self.share is None:
            values = self.values(row)
            return statistics.median(values) if values else None
        pooled = [
            sample for each in row.rounds for sample in each.samples.get(self.key, ())
        ]
        return quantile(pooled, self.share) if pooled else None

    @property
    def heading(self) -> str:
        """Title and unit in one line, and which way is better."""
        if self.more_is_better is None:
            return f"{self.title} ({self.unit})"
        direction = "more" if self.more_is_better else "less"
        return f"{self.title} ({self.unit}; {direction} is better)"


COLUMNS = (
    Column("tcp.one", "TCP, one stream", "Mbit/s"),
    Column("tcp.four", "TCP, four streams", "Mbit/s"),
    Column("tcp.reverse", "TCP, one stream, reverse", "Mbit/s"),
    Column("tcp.cpu", "processor time per Gbit of one TCP stream", "s", False),
    Column("udp.goodput", "UDP 1200 B, received at overload", "Mbit/s"),
    Column("udp.loss", "UDP 1200 B, lost at overload", "%", False),
    *(
        Column(f"latency.{load}", f"round trip {what}, {name}", "ms", False, share)
        for load, what in LOADS.items()
        for name, share in SHARES.items()
    ),
    Column("latency.lost", "pings lost under UDP overload", "%", False),
    Column("handshakes.rate", "handshakes answered", "1/s"),
    Column("sizes.rate", "UDP at overload, packets of {x} B", "received 1/s"),
    Column("sizes.goodput", "UDP at overload, packets of {x} B", "Mbit/s"),
    Column("overload.offered", "UDP 1200 B at {x} of the row's peak", "sent 1/s", None),
    Column("overload.received", "UDP 1200 B at {x} of the row's peak", "received 1/s"),
    Column("hub.configure", "hub of {x} peers, time to configure", "s", False),
    Column("hub.memory", "hub of {x} peers, memory of all processes", "MB", False),
    Column("hub.tcp", "hub of {x} peers, TCP to one of them", "Mbit/s"),
    Column("hub.rtt", "hub of {x} peers, round trip, p50", "ms", False),
    Column("ways.bulk", "one download", "Mbit/s"),
    Column("ways.cpu", "processor time per Gbit of it", "s", False),
    Column("ways.requests", "small requests, on one connection", "1/s"),
    *(
        Column("ways.kept", f"one of them, {name}", "ms", False, share)
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ),
    Column("ways.connections", "small requests, a connection each", "1/s"),
    *(
        Column(
            "ways.new", f"one of them with its connection, {name}", "ms", False, share
        )
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ),
    Column("ways.udp", "UDP 1200 B, 64 under way", "round trips/s"),
    *(
        Column("ways.datagram", f"UDP round trip, {name}", "ms", False, share)
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ),
    Column("ways.ping", "ICMP round trip, p50", "ms", False, 0.5),
    Column("relay.tcp", "TCP by a relay", "Mbit/s"),
    Column("relay.direct", "TCP without it", "Mbit/s"),
    Column("relay.share", "of what the processor time allows, by a relay", "%"),
    Column("relay.ends", "processor time per Gbit of both ends, relayed", "s", False),
    Column("relay.ends.direct", "the same without the relay", "s", False),
    *(
        Column(f"relay.{name}", f"the same of the relay's {name}", "s", False)
        for name in ROLES
    ),
)


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least *share* of them do not exceed."""
    ordered = sorted(samples)
    # Rounded, as 0.999 · 1000 must not become the 1000th by a last bit.
    rank = math.ceil(round(share * len(ordered), 9))
    return ordered[max(0, rank - 1)]


def column(key: str) -> Column:
    """Return the column of a key that has but one."""
    return next(each for each in COLUMNS if each.key == key)


def measured(report: Report) -> list[Column]:
    """Return the columns that any row has values of, series written out."""
    columns = []
    for each in COLUMNS:
        if "{x}" in each.title:
            columns += [
                replace(each, key=f"{each.key}.{x}", title=each.title.format(x=x))
                for x in steps(report, each.key)
            ]
        else:
            columns.append(each)
    return [each for each in columns if any(map(each.values, report.rows))]


def steps(report: Report, key: str) -> list[str]:
    """Return the X of all `KEY.X` that were measured, in rising order."""
    return sorted(set(_steps(report, f"{key}.")), key=magnitude)


def magnitude(x: str) -> float:
    """Return what an X stands for; infinity for `UNLIMITED`."""
    return float("inf") if x == UNLIMITED else float(x)


def _steps(report: Report, prefix: str) -> Iterator[str]:
    for row in report.rows:
        for each in row.rounds:
            for key in each.figures:
                if key.startswith(prefix):
                    yield key.removeprefix(prefix)
