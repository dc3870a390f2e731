"""Commands that are imported when they are called."""

import click
import pytest
from click.testing import CliRunner

from meshnode.cli.lazy import LazyCommand, LazyGroup

NOT_THERE = LazyCommand("meshnode.no_such_module", "thing", "Does nothing.")
COMPLETION = LazyCommand("meshnode.cli.completion", "completion", "Completes.")


@pytest.fixture
def group() -> LazyGroup:
    """A group of which one command cannot be imported."""
    return LazyGroup("top", lazy_commands={"z": NOT_THERE, "a": COMPLETION})


def test_help_imports_nothing(group: LazyGroup) -> None:
    """The table of commands is written in order without them."""
    result = CliRunner().invoke(group, ["--help"])
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()[-2:]]
    assert lines == [["z", "Does", "nothing."], ["a", "Completes."]]


def test_a_command_is_imported_when_called(group: LazyGroup) -> None:
    """Calling one imports that one."""
    assert CliRunner().invoke(group, ["a", "bash"]).exit_code == 0
    with pytest.raises(ModuleNotFoundError):
        CliRunner().invoke(group, ["z"], catch_exceptions=False)


def test_an_unknown_command_is_wrong_usage(group: LazyGroup) -> None:
    """Click tells that there is none."""
    assert CliRunner().invoke(group, ["nope"]).exit_code == 2


def test_what_is_no_command_is_our_mistake() -> None:
    """A table that names something else fails loudly."""
    wrong = LazyCommand("meshnode.cli.lazy", "LazyGroup", "")
    group = LazyGroup("top", lazy_commands={"a": wrong})
    with pytest.raises(TypeError):
        group.get_command(click.Context(group), "a")
