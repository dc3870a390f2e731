"""Commands that are imported when they are called."""

import sys
import types

import click
import pytest
from click.testing import CliRunner

from meshnode.cli.lazy import LazyCommand, LazyGroup

NOT_THERE = LazyCommand("meshnode.no_such_module", "thing", "Does nothing.")
THERE = LazyCommand("lazily_imported", "thing", "Says hello.")


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("lazily_imported")
    module.thing = click.Command("thing", callback=lambda: click.echo("hello"))  # type: ignore[attr-defined]
    module.number = 5  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lazily_imported", module)


@pytest.fixture
def group() -> LazyGroup:
    """A group of which one command cannot be imported."""
    return LazyGroup("top", lazy_commands={"z": NOT_THERE, "a": THERE})


def test_help_imports_nothing(group: LazyGroup) -> None:
    """The table of commands is written in order without them."""
    result = CliRunner().invoke(group, ["--help"])
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()[-2:]]
    assert lines == [["z", "Does", "nothing."], ["a", "Says", "hello."]]


def test_a_command_is_imported_when_called(group: LazyGroup) -> None:
    """Calling one imports that one."""
    assert CliRunner().invoke(group, ["a"]).output == "hello\n"
    with pytest.raises(ModuleNotFoundError):
        CliRunner().invoke(group, ["z"], catch_exceptions=False)


def test_an_unknown_command_is_wrong_usage(group: LazyGroup) -> None:
    """Click tells that there is none."""
    assert CliRunner().invoke(group, ["nope"]).exit_code == 2


def test_what_is_no_command_is_our_mistake() -> None:
    """A table that names something else fails loudly."""
    wrong = LazyCommand("lazily_imported", "number", "")
    group = LazyGroup("top", lazy_commands={"a": wrong})
    with pytest.raises(TypeError):
        group.get_command(click.Context(group), "a")
