"""Changing a TOML text without losing what a person wrote in it."""

import tomllib

from meshnode.manage.toml_text import merge_text

OLD = """\
# My network.

# The node itself.
[node]
port = 1 # do not change: the firewall knows it

# Office.
[[route]]
prefix = "a"   # third floor

# Laboratory.
[[route]]
prefix = "b"

[metrics]
# not yet
listen = "x"
"""


def canonical(section: str) -> str | None:
    """The section as `new` writes it: keys and values only."""
    try:
        values = tomllib.loads(section)
    except tomllib.TOMLDecodeError:
        return None
    text = ""
    for header, content in values.items():
        tables = content if isinstance(content, list) else [content]
        brackets = "[[{}]]" if isinstance(content, list) else "[{}]"
        for table in tables:
            text += f"# made\n{brackets.format(header)}\n"
            text += "".join(f"{key} = {value!r}\n" for key, value in table.items())
    return text


def new(*, port: int = 1, routes: str = "ab", metrics: str = "x") -> str:
    """The text that a program would write."""
    text = f"# made\n[node]\nport = {port}\n"
    text += "".join(f"\n# made\n[[route]]\nprefix = '{route}'\n" for route in routes)
    return text + (f"\n# made\n[metrics]\nlisten = '{metrics}'\n" if metrics else "")


def test_the_same_content_is_the_same_text() -> None:
    """Nothing is touched where nothing changes."""
    assert merge_text(OLD, new(), canonical) == OLD


def test_what_is_added_comes_after_its_like() -> None:
    """All comments stay, and the new section is before the next kind."""
    merged = merge_text(OLD, new(routes="abc"), canonical)
    addition = "# made\n[[route]]\nprefix = 'c'\n\n"
    place = merged.index("[metrics]")
    assert merged[place - len(addition) : place] == addition
    assert merged.replace(addition, "") == OLD


def test_what_is_removed_goes_with_its_comment() -> None:
    """The others stay as they were."""
    merged = merge_text(OLD, new(routes="b"), canonical)
    assert merged == OLD.replace(
        '# Office.\n[[route]]\nprefix = "a"   # third floor\n\n', ""
    )


def test_what_changes_keeps_the_comment_above() -> None:
    """Only the section's own lines are written anew."""
    merged = merge_text(OLD, new(port=2), canonical)
    assert "# The node itself.\n[node]\nport = 2\n" in merged
    assert "third floor" in merged
    assert "firewall" not in merged
    assert merged.startswith("# My network.\n")


def test_a_section_that_is_new_comes_last_with_its_comment() -> None:
    """There is none of its kind to come after."""
    old = OLD[: OLD.index("[metrics]")].rstrip() + "\n"
    merged = merge_text(old, new(), canonical)
    assert merged == old + "\n# made\n[metrics]\nlisten = 'x'\n"


def test_a_section_that_is_gone_takes_its_lines() -> None:
    """Also the comments inside it."""
    merged = merge_text(OLD, new(metrics=""), canonical)
    assert "metrics" not in merged
    assert "not yet" not in merged


def test_what_cannot_be_read_is_written_anew() -> None:
    """An old text with an error gives way."""
    merged = merge_text("[node]\nport = \n[[route]]\n", new(), canonical)
    assert tomllib.loads(merged) == tomllib.loads(new())


def test_nothing_becomes_everything() -> None:
    """The first text is the program's own."""
    assert merge_text("", new(), canonical) == new()
