"""`meshnode completion`: what a shell needs to complete our commands."""

import click
from click.shell_completion import get_completion_class

from meshnode.cli.help import examples
from meshnode.errors import UsageError

PROGRAM = "meshnode"
VARIABLE = "_MESHNODE_COMPLETE"
"""The variable that click's own completion looks at, for a program of our name."""


@click.command(
    epilog=examples("meshnode completion bash > /etc/bash_completion.d/meshnode")
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a shell's completion script."""
    found = get_completion_class(shell)
    if found is None:
        raise UsageError(f"click knows no completion for {shell}")
    command = ctx.find_root().command
    click.echo(found(command, {}, PROGRAM, VARIABLE).source())
