"""Labels: what passes can stand anywhere without quoting."""

import pytest

from meshnode.codec.names import check_label, check_printable
from meshnode.errors import ConfigError


@pytest.mark.parametrize("text", ["a", "0", "a-b", "xn--bcher-kva", "9" * 63])
def test_labels_are_taken_as_they_are(text: str) -> None:
    """Lower-case letters, digits and inner hyphens, 1 to 63 of them."""
    assert check_label(text, "the name") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "-a",
        "a-",
        "A",
        "a.b",
        "a_b",
        "a b",
        "a\n",
        "../a",
        "'a'",
        "\x1b[31m",
        "ä",
        "\u202ea",
        "\u0661",  # a digit, but no ASCII one
        "a" * 64,
        "a" * 10_000,
    ],
)
def test_anything_else_is_refused_and_not_repeated(text: str) -> None:
    """The error names the field and the rule; the hostile text is not in it."""
    with pytest.raises(ConfigError, match="the name is not 1 to 63 of") as caught:
        check_label(text, "the name")
    assert len(str(caught.value)) < 100
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_the_limit_is_the_callers() -> None:
    """A group is shorter than a name."""
    assert check_label("a" * 32, "the group", 32)
    with pytest.raises(ConfigError, match="1 to 32"):
        check_label("a" * 33, "the group", 32)


@pytest.mark.parametrize("text", ["", "key was lost", "~" * 64])
def test_printable_ascii_is_taken(text: str) -> None:
    """Any one line of it, or nothing."""
    assert check_printable(text, "the reason", 64) == text


@pytest.mark.parametrize("text", ["a\nb", "\t", "\x7f", "ä", "\u202e", "~" * 65])
def test_what_could_upset_a_terminal_is_refused(text: str) -> None:
    """Control characters, other alphabets and long texts."""
    with pytest.raises(ConfigError, match="the reason is not at most 64"):
        check_printable(text, "the reason", 64)
