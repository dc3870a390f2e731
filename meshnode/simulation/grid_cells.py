"""The grid of NATs: what became of each ordered pair of kinds, and tables of it.

A row is who begins, a column who is reached. Both runners fill the same cells: the
simulation (`meshnode.simulation.grid`) and the namespaces (`topology.nat_grid`).
"""

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from meshnode.errors import ConfigError
from meshnode.simulation.nat_kinds import NatKind
from meshnode.simulation.nat_oracle import can_be_direct
from meshnode.values import frozen

SHORT: Final = {
    NatKind.OPEN: "open",
    NatKind.FULL_CONE: "fullcone",
    NatKind.ADDRESS_RESTRICTED: "adf",
    NatKind.PORT_RESTRICTED: "apdf",
    NatKind.MASQUERADE: "apdf-acc",
    NatKind.PORT_CHANGING: "apdf-np",
    NatKind.SYMMETRIC_SEQUENTIAL: "sym-seq",
    NatKind.SYMMETRIC_BLOCK: "sym-blk",
    NatKind.SYMMETRIC: "sym",
    NatKind.SYMMETRIC_POISONABLE: "sym-acc",
    NatKind.BLOCKED: "blocked",
}
"""What tables call the kinds, in the order of rows and columns."""

KINDS: Final = tuple(SHORT)

MIX: Final = {
    NatKind.PORT_RESTRICTED: 0.50,
    NatKind.PORT_CHANGING: 0.20,
    NatKind.OPEN: 0.04,
    NatKind.FULL_CONE: 0.03,
    NatKind.ADDRESS_RESTRICTED: 0.03,
    NatKind.SYMMETRIC_SEQUENTIAL: 0.03,
    NatKind.SYMMETRIC_BLOCK: 0.03,
    NatKind.SYMMETRIC: 0.03,
    NatKind.SYMMETRIC_POISONABLE: 0.03,
    NatKind.MASQUERADE: 0.05,
    NatKind.BLOCKED: 0.03,
}
"""The share of each kind among members in the field; assumed, not measured."""


class Way(enum.Enum):
    """How two members spoke in the end; the value is what tables say."""

    DIRECT = "direct"
    RELAYED = "R"
    TLS = "T"
    NONE = "-"


@frozen
class Cell:
    """One ordered pair of kinds, played once.

    Times are seconds after the first packet was sent, None for never: `first_byte`
    when something of it was there, `answered` when an answer was back, `direct` when
    a proven direct path was in use. `round_trip` is seconds, in the end. `probes` are
    the datagrams of type 6 that both sent meanwhile, `sockets` the UDP ports that both
    sent from.
    """

    initiator: NatKind
    responder: NatKind
    way: Way = Way.NONE
    first_byte: float | None = None
    answered: float | None = None
    direct: float | None = None
    round_trip: float | None = None
    probes: int = 0
    sockets: int = 0

    @property
    def is_connected(self) -> bool:
        """Whether the two spoke at all."""
        return self.answered is not None

    @property
    def can_be_direct(self) -> bool:
        """Whether the two NATs allow a direct path."""
        return can_be_direct(self.initiator, self.responder)

    @property
    def text(self) -> str:
        """What a table says: milliseconds to the direct path, else how they spoke."""
        if self.way is Way.DIRECT and self.direct is not None:
            return f"{self.direct * 1000:.0f}"
        return self.way.value


def parse_pairs(text: str) -> tuple[tuple[NatKind, NatKind], ...]:
    """Read `apdf,sym;open,blocked`: pairs of short names; an empty text means all.

    Raises:
        ConfigError: if a name is none of `SHORT`, or a pair has not two.
    """
    if not text:
        return tuple((one, other) for one in KINDS for other in KINDS)
    kinds = {short: kind for kind, short in SHORT.items()}
    pairs = []
    for part in text.split(";"):
        names = [name.strip() for name in part.split(",")]
        if len(names) != 2 or not all(name in kinds for name in names):
            known = ", ".join(kinds)
            raise ConfigError(
                f"{part!r} is not a pair of kinds: write two of {known} with a comma"
            )
        pairs.append((kinds[names[0]], kinds[names[1]]))
    return tuple(pairs)


def as_text(cells: Iterable[Cell]) -> str:
    """Return the table: a row for each kind that begins; of several cells the last."""
    rows = _rows(cells, lambda cell: cell.text)
    width = max(len(text) for row in rows for text in row)
    lines = [" ".join(text.rjust(width) for text in row) for row in rows]
    return "\n".join(lines) + "\n"


def as_markdown(cells: Sequence[Cell]) -> str:
    """Return the tables of direct paths and of first packets."""
    parts = (
        (
            "Milliseconds from the first packet to the proven direct path; R: relayed, "
            "T: relayed over TLS. The row begins.",
            _rows(cells, lambda cell: cell.text),
        ),
        (
            "Milliseconds until the first packet was answered.",
            _rows(cells, lambda cell: _milliseconds(cell.answered)),
        ),
    )
    lines: list[str] = []
    for title, rows in parts:
        lines += [title, "", _bar(rows[0]), _bar(["---"] * len(rows[0]))]
        lines += [_bar(row) for row in rows[1:]]
        lines.append("")
    return "\n".join(lines)


def as_json(cell: Cell) -> dict[str, Any]:
    """Return a cell as JSON's types; times in milliseconds."""
    return {
        "from": SHORT[cell.initiator],
        "to": SHORT[cell.responder],
        "path": cell.way.name.lower(),
        "first_byte_ms": _rounded(cell.first_byte),
        "answered_ms": _rounded(cell.answered),
        "direct_ms": _rounded(cell.direct),
        "rtt_ms": _rounded(cell.round_trip),
        "can_be_direct": cell.can_be_direct,
        "probes": cell.probes,
        "sockets": cell.sockets,
    }


def summary(cells: Sequence[Cell]) -> str:
    """Return in one line how many were connected, and how."""
    count = {way: sum(cell.way is way for cell in cells) for way in Way}
    connected = sum(cell.is_connected for cell in cells)
    possible = sum(cell.can_be_direct for cell in cells)
    return (
        f"{len(cells)} pairs: {connected} connected, {count[Way.DIRECT]} direct "
        f"(possible: {possible}), {count[Way.RELAYED]} relayed, "
        f"{count[Way.TLS]} by TLS, {count[Way.NONE]} not at all"
    )


def direct_share(cells: Iterable[Cell], *, with_udp: bool) -> float:
    """Return which share of the pairs of `MIX` speaks directly.

    *with_udp* leaves out the pairs in which UDP is blocked on a side.
    """
    direct = everything = 0.0
    for cell in cells:
        kinds = (cell.initiator, cell.responder)
        if with_udp and NatKind.BLOCKED in kinds:
            continue
        weight = MIX[cell.initiator] * MIX[cell.responder]
        everything += weight
        direct += weight * (cell.way is Way.DIRECT)
    return direct / everything if everything else 0.0


def _rows(cells: Iterable[Cell], say: Callable[[Cell], str]) -> list[list[str]]:
    known = {(cell.initiator, cell.responder): cell for cell in cells}
    ones = [kind for kind in KINDS if any(kind is one for one, _ in known)]
    others = [kind for kind in KINDS if any(kind is other for _, other in known)]
    rows = [["", *(SHORT[other] for other in others)]]
    for one in ones:
        found = [known.get((one, other)) for other in others]
        rows.append(
            [SHORT[one], *("" if cell is None else say(cell) for cell in found)]
        )
    return rows


def _bar(row: Iterable[str]) -> str:
    return f"| {' | '.join(row)} |"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}"
