"""Ask the node of the network that a command means, and what to say meanwhile."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from meshnode.errors import UsageError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

MAX_INPUT_CHARACTERS: Final = 400_000


def ask(
    network: str | None, directories: paths.Directories, verb: str, **fields: Any
) -> Any:
    """Return the node's answer to *verb*; raises what `api_client.call` raises."""
    # Sockets and JSON take long to import; --help does without.
    from meshnode.manage.api_client import call

    name = choose_network(network, directories.config)
    return call(directories, name, verb, **fields)


def read_input(source: str) -> str:
    """Return the text of the file *source*, "-" for standard input.

    Raises:
        UsageError: if it is no text, or too long to be what is asked for.
        OSError: if it cannot be read.
    """
    try:
        if source == "-":
            text = sys.stdin.read(MAX_INPUT_CHARACTERS + 1)
        else:
            with Path(source).open(encoding="utf-8") as file:
                text = file.read(MAX_INPUT_CHARACTERS + 1)
    except UnicodeDecodeError:
        raise UsageError(f"{source}: is not text") from None
    if len(text) > MAX_INPUT_CHARACTERS:
        raise UsageError(f"{source}: is too long to be what is asked for")
    return text


def say(text: str) -> None:
    """Tell a person at a terminal what takes time; nothing to a script."""
    if sys.stderr.isatty():
        click.echo(text, err=True)
