"""What a benchmark measured, and its JSON form.

A *row* is one tunnel. Each round it adds *figures*, one number a key, and *samples*,
many numbers a key, such as single round trips. `topology.bench.columns` knows the keys.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 2


class ResultError(Exception):
    """A text is not the result of a benchmark, or of another version."""


@dataclass(slots=True)
class Round:
    """What one row measured in one round."""

    figures: dict[str, float] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, other: "Round") -> None:
        """Take in what another section measured in the same round."""
        self.figures |= other.figures
        self.samples |= other.samples


@dataclass(slots=True)
class Row:
    """One tunnel: its name, its version and its rounds."""

    name: str
    version: str
    rounds: list[Round] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when it was measured.

    `date` is ISO 8601 with its offset; `busy_before` is the share of all processors
    that was busy before the start: what other programs took.
    """

    date: str
    kernel: str
    processor: str
    processors: int
    python: str
    busy_before: float


@dataclass(slots=True)
class Report:
    """A whole benchmark: `seconds` is how long each measurement took.

    `failures` tells what could not be measured and why, a line each.
    """

    machine: Machine
    seconds: int
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def note_failure(self, text: str) -> None:
        """Keep what went wrong, once."""
        if text not in self.failures:
            self.failures.append(text)

    def to_json(self) -> str:
        """Return the report as a JSON object, a line for each row."""
        document = {"schema": SCHEMA, **asdict(self)}
        rows = document.pop("rows")
        head = json.dumps(document).removesuffix("}")
        return head + ',\n"rows": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}\n"


def parse(text: str) -> Report:
    """Return the report that `Report.to_json` wrote.

    Raises:
        ResultError: if the text is something else.
    """
    try:
        document = json.loads(text)
        schema = document["schema"]
    except (ValueError, KeyError, TypeError):
        raise ResultError("not a result of tools/bench") from None
    if schema != SCHEMA:
        raise ResultError(f"a result of schema {schema}, not {SCHEMA}: measure again")
    try:
        return Report(
            Machine(**document["machine"]),
            document["seconds"],
            [_row(row) for row in document["rows"]],
            document["failures"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ResultError(f"a damaged result of tools/bench: {error}") from None


def _row(document: Mapping[str, Any]) -> Row:
    rounds = [Round(**number) for number in document["rounds"]]
    return Row(document["name"], document["version"], rounds)
