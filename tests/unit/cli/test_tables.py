"""Tables and units for people."""

import pytest

from meshnode.cli.tables import size, span, table


def test_columns_line_up() -> None:
    """Without blanks at the ends of lines."""
    assert table(("A", "BB"), [("long", "x"), ("s", "yyy")]) == [
        "A     BB",
        "long  x",
        "s     yyy",
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    """In the greatest unit that is not too great."""
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (2 * 86400, "2 days"),
        (365 * 86400, "365 days"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    """Rounded to what matters."""
    assert span(seconds) == text
