"""A click group that imports a command when it is called, not before."""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click


class LazyCommand(NamedTuple):
    """Where a command is, and the line that `--help` shows for it."""

    module: str
    attribute: str
    summary: str


class LazyGroup(click.Group):
    """A group over *lazy_commands*; its own help needs none of them."""

    def __init__(
        self, *args: Any, lazy_commands: Mapping[str, LazyCommand], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._lazy_commands = lazy_commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order they were given."""
        return list(self._lazy_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None if there is none."""
        lazy = self._lazy_commands.get(cmd_name)
        if lazy is None:
            return None
        command = getattr(importlib.import_module(lazy.module), lazy.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{lazy.module}.{lazy.attribute} is not a command")
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the table of commands without importing them."""
        rows = [(name, lazy.summary) for name, lazy in self._lazy_commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
