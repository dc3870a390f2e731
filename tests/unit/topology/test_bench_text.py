"""A report as text, as Markdown and as a picture."""

import struct
from pathlib import Path

import pytest

from topology.bench.columns import column
from topology.bench.plot import draw
from topology.bench.results import Machine, Report, Round, Row, parse
from topology.bench.text import headline, markdown, number, ratio, table

SAVED = Path(__file__).with_name("bench_result.json")
MACHINE = Machine("2026-01-02T03:04:05+00:00", "6.1", "a processor", 2, "3.11.2", 0.01)


def _row(name: str, *values: float) -> Row:
    return Row(name, "1.2", [Round({"tcp.one": value}) for value in values])


@pytest.fixture
def report() -> Report:
    """Three rows, of which one was not measured."""
    rows = [
        _row("meshnode fast", 3000.0, 3300.4, 2900.0),
        _row("wireguard-go", 1000.0, 1500.0, 990.0),
        Row("tinc", "1.0.36", [Round(), Round(), Round()]),
    ]
    return Report(MACHINE, 3, rows)


@pytest.fixture
def saved() -> Report:
    """What a whole run wrote, cut down."""
    return parse(SAVED.read_text())


def test_headline_says_when_where_and_how_often(report: Report) -> None:
    """One line that can stand above figures anywhere."""
    assert headline(report) == (
        "2026-01-02, Linux 6.1, 2 × a processor; median of 3 × 3 s"
    )


def test_rounds_that_an_interrupt_left_empty_do_not_count(report: Report) -> None:
    """It says how many there were, not how many were wanted."""
    for row in report.rows:
        row.rounds.append(Round())
    assert "median of 3 × 3 s" in headline(report)


def test_table_has_median_span_and_ratio(report: Report) -> None:
    """A row that was not measured has no line."""
    lines = table(report).splitlines()
    at = lines.index("TCP, one stream (Mbit/s; more is better)")
    assert lines[at + 1].split() == [
        *("meshnode", "fast", "3000", "(2900–3300)"),
        *("3.00", "x", "wireguard-go"),
    ]
    assert lines[at + 2].split() == ["wireguard-go", "1000", "(990–1500)"]
    assert lines[at + 3] == ""
    assert "tinc: 1.0.36" in lines


def test_markdown_has_a_column_for_each_row(report: Report) -> None:
    """A row that was not measured has a dash."""
    lines = markdown(report).splitlines()
    at = lines.index("| | meshnode fast 1.2 | wireguard-go 1.2 | tinc 1.0.36 |")
    assert lines[at + 1] == "| --- | --- | --- | --- |"
    assert lines[at + 2] == (
        "| TCP, one stream, Mbit/s | 3000 (2900–3300) | 1000 (990–1500) | – |"
    )


def test_ratio_needs_both(report: Report) -> None:
    """Nothing is compared with nothing."""
    fast, go, tinc = report.rows
    one = column("tcp.one")
    assert ratio(one, fast, go) == 3.0
    assert ratio(one, fast, tinc) is None
    assert ratio(one, tinc, go) is None
    assert ratio(one, fast, _row("wireguard-go", 0.0)) is None


def test_rate_that_we_chose_is_not_compared(saved: Report) -> None:
    """What was sent is neither good nor bad."""
    lines = table(saved).splitlines()
    at = lines.index("UDP 1200 B at 0.25 of the row's peak (sent 1/s)")
    assert " x " not in lines[at + 1]
    at = lines.index(
        "UDP 1200 B at 0.25 of the row's peak (received 1/s; more is better)"
    )
    assert " x wireguard-go" in lines[at + 1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.04162, "0.0416"), (9.75, "9.75"), (99.96, "100"), (1234.5, "1234"), (0, "0")],
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    """And none behind the point from a hundred on."""
    assert number(value) == text


def test_all_that_was_saved_is_shown(saved: Report) -> None:
    """Every section of the saved report is in both forms."""
    text, document = table(saved), markdown(saved)
    for words in (
        "round trip under UDP overload, p99.9",
        "hub of 1000 peers, memory of all processes",
        "UDP 1200 B at max of the row's peak",
        "handshakes answered",
    ):
        assert words in text
        assert words in document


def _size(picture: bytes) -> tuple[int, int]:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack_from(">II", picture, 16)
    return width, height


def test_picture_has_a_band_for_each_section(saved: Report, report: Report) -> None:
    """It is as wide for one section as for all, and as high as it must be."""
    whole, part = _size(draw(saved)), _size(draw(report))
    assert whole[0] == part[0]
    assert whole[1] > 2 * part[1]


def test_picture_of_nothing_is_its_title() -> None:
    """A report without figures draws no empty panels."""
    empty = Report(MACHINE, 3)
    assert _size(draw(empty))[1] < 200


@pytest.mark.parametrize(
    "prefix", ["udp.", "handshakes.", "sizes.", "overload.", "hub."]
)
def test_picture_does_with_one_section(saved: Report, prefix: str) -> None:
    """Panels without figures stay away, without a warning."""
    for row in saved.rows:
        for each in row.rounds:
            each.samples.clear()
            each.figures = {
                key: value
                for key, value in each.figures.items()
                if key.startswith(prefix)
            }
    _size(draw(saved))
