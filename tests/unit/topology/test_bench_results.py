"""A benchmark's figures: kept as JSON and read again, given a meaning by columns."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.bench.columns import (
    COLUMNS,
    Column,
    column,
    magnitude,
    measured,
    quantile,
    steps,
)
from topology.bench.results import Machine, Report, ResultError, Round, Row, parse

SAVED = Path(__file__).with_name("bench_result.json")
MACHINE = Machine("2026-01-02T03:04:05+00:00", "6.1", "a processor", 2, "3.11.2", 0.01)

_names = st.text(max_size=5)
_numbers = st.floats(allow_nan=False)
_rounds = st.builds(
    Round,
    st.dictionaries(_names, _numbers, max_size=3),
    st.dictionaries(_names, st.lists(_numbers, max_size=3), max_size=3),
)
_reports = st.builds(
    Report,
    st.just(MACHINE),
    st.integers(1, 60),
    st.lists(st.builds(Row, _names, _names, st.lists(_rounds, max_size=3)), max_size=3),
    st.lists(_names, max_size=3),
)


def _row(*rounds: Round) -> Row:
    return Row("meshnode fast", "1", list(rounds))


@given(_reports)
def test_report_is_read_as_it_was_written(report: Report) -> None:
    """JSON keeps everything, infinities included."""
    assert parse(report.to_json()) == report


def test_saved_report_is_read() -> None:
    """A file of this schema stays readable."""
    report = parse(SAVED.read_text())
    assert [row.name for row in report.rows] == [
        "meshnode fast",
        "veth",
        "wireguard-go",
    ]
    assert report.to_json() == SAVED.read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a result"),
        ("[1]", "not a result"),
        ('{"rows": {}}', "not a result"),
        ('{"schema": 1}', "schema 1, not 2: measure again"),
        ('{"schema": 2}', "damaged"),
        ('{"schema": 2, "machine": 3, "seconds": 1}', "damaged"),
    ],
)
def test_what_is_no_report_is_refused(text: str, complaint: str) -> None:
    """The complaint says what the text is not."""
    with pytest.raises(ResultError, match=complaint):
        parse(text)


@pytest.mark.parametrize("key", ["machine", "seconds", "rows", "failures"])
def test_report_without_a_part_is_refused(key: str) -> None:
    """Half a report is none."""
    document = json.loads(SAVED.read_text())
    del document[key]
    with pytest.raises(ResultError):
        parse(json.dumps(document))


def test_failure_is_noted_once() -> None:
    """What fails in every round fails once for the reader."""
    report = Report(MACHINE, 1)
    for text in ("a: b", "a: c", "a: b"):
        report.note_failure(text)
    assert report.failures == ["a: b", "a: c"]


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.floats(0.001, 1))
def test_quantile_is_the_least_that_covers_the_share(
    samples: list[float], share: float
) -> None:
    """It is a sample, covers the share, and none below it does."""
    found = quantile(samples, share)
    count = len(samples)
    assert found in samples
    assert sum(each <= found for each in samples) >= share * count - 1e-6
    assert sum(each < found for each in samples) < share * count + 1e-6


def test_quantiles_of_known_samples() -> None:
    """The n-th of a thousand, in any order."""
    samples = [float(number) for number in range(1000, 0, -1)]
    assert [quantile(samples, share) for share in (0.5, 0.9, 0.99, 0.999, 1.0)] == [
        500.0,
        900.0,
        990.0,
        999.0,
        1000.0,
    ]


def test_value_of_a_figure_is_the_median_of_its_rounds() -> None:
    """Rounds without the figure do not count."""
    row = _row(*(Round({"tcp.one": value}) for value in (1.0, 9.0, 2.0)), Round())
    each = column("tcp.one")
    assert each.values(row) == [1.0, 9.0, 2.0]
    assert each.value(row) == 2.0
    assert column("tcp.four").value(row) is None


def test_value_of_a_percentile_is_of_all_samples_together() -> None:
    """A rare sample counts as rare, though its own round was small."""
    # One of 200 is rare enough to be no 99th percentile, in its round alone it is one.
    calm = Round(samples={"latency.idle": [1.0] * 150})
    rough = Round(samples={"latency.idle": [1.0] * 49 + [7.0]})
    each = Column("latency.idle", "", "ms", share=0.99)
    assert each.values(_row(calm, rough)) == [1.0, 7.0]
    assert each.value(_row(calm, rough)) == 1.0
    assert each.value(_row(Round())) is None


def test_series_are_written_out_in_rising_order() -> None:
    """By number, and what has no limit comes last."""
    figures = {f"overload.offered.{x}": 1.0 for x in ("max", "4", "0.25", "1")}
    report = Report(MACHINE, 1, [_row(Round(figures)), Row("x", "", [Round()])])
    assert steps(report, "overload.offered") == ["0.25", "1", "4", "max"]
    assert [each.key for each in measured(report)] == [
        "overload.offered.0.25",
        "overload.offered.1",
        "overload.offered.4",
        "overload.offered.max",
    ]
    assert "0.25 of the row's peak" in measured(report)[0].title
    assert magnitude("max") > magnitude("4")


def test_every_key_that_is_saved_has_a_column() -> None:
    """Nothing is measured that no table shows."""
    report = parse(SAVED.read_text())
    known = {each.key for each in measured(report)}
    for row in report.rows:
        for each in row.rounds:
            assert known >= each.figures.keys() | each.samples.keys()
    assert len({(each.key, each.share) for each in COLUMNS}) == len(COLUMNS)
