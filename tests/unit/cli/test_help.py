"""Text at the end of the help of several commands."""

from meshnode.cli.help import EXIT_CODES, examples


def test_examples_are_a_block_that_click_leaves_alone() -> None:
    """One example or several, each on its own line."""
    assert examples("a") == "\b\nExample:\n  a"
    assert examples("a", "b") == "\b\nExamples:\n  a\n  b"


def test_the_exit_codes_are_a_block_that_click_leaves_alone() -> None:
    """Every code has one line."""
    first, title, *codes = EXIT_CODES.splitlines()
    assert (first, title) == ("\b", "Exit codes:")
    assert [int(code.split()[0]) for code in codes] == [0, 1, 2, 3, 4, 5, 130]
