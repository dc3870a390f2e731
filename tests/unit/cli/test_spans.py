"""Time spans on the command line."""

import click
import pytest

from meshnode.cli.spans import SPAN


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("1s", 1)],
)
def test_spans_are_seconds(text: str, seconds: int) -> None:
    """Every unit."""
    assert SPAN.convert(text, None, None) == seconds
    assert SPAN.convert(seconds, None, None) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "0s", "-1s", "1.5h", "1h30m", "٣s"])
def test_what_is_no_span_is_wrong_usage(text: str) -> None:
    """With what one is."""
    with pytest.raises(click.BadParameter, match="write 90s, 30m, 12h or 7d"):
        SPAN.convert(text, None, None)
