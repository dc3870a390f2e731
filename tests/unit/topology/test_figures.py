"""Figures of several programs side by side."""

from topology.figures import Figures, summary, table


def test_the_median_stands_before_the_least_and_the_greatest() -> None:
    """Great numbers are whole, small ones have three digits."""
    assert summary([3.0, 1.0, 2.0]) == "2 (1–3)"
    assert summary([0.12345]) == "0.123 (0.123–0.123)"
    assert summary([1234.4, 100.0]) == "667 (100–1234)"
    assert summary([]) == "–"


def test_the_table_has_a_line_for_each_figure_of_any_program() -> None:
    """In the order in which they were measured; what one lacks is a dash."""
    one, other = Figures("one"), Figures("other")
    one.add("start, ms", 10.0)
    one.add("start, ms", 30.0, 20.0)
    one.add("memory, MB", 5.0)
    other.add("start, ms", 1.0)
    lines = [line.split() for line in table([one, other]).splitlines()]
    assert lines == [
        ["one", "other"],
        ["start,", "ms", "20", "(10–30)", "1", "(1–1)"],
        ["memory,", "MB", "5", "(5–5)", "–"],
    ]
    assert table([]) == ""
