"""What the commands print: JSON with a schema number, and secrets with care."""

import json
import os
import stat
from typing import Any

import click

JSON_SCHEMA = 1
"""Of every JSON output; it grows only when something is taken away or changed."""

_STDOUT = 1
_WARNING = (
    "Warning: writing to world accessible file.\n"
    "Consider setting the umask to 077 and trying again."
)


def print_json(values: dict[str, Any]) -> None:
    """Print *values* as one JSON object with the schema number."""
    click.echo(to_json(values))


def to_json(values: dict[str, Any]) -> str:
    """Return *values* as one JSON object with the schema number."""
    return json.dumps({"schema": JSON_SCHEMA, **values})


def print_secret(text: str) -> None:
    """Print a secret, with wg's warning if anybody may read where it goes."""
    status = os.fstat(_STDOUT)
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IRWXO:
        click.echo(_WARNING, err=True)
    click.echo(text)


def print_labelled_secret(label: str, text: str, *, as_json: bool) -> None:
    """Print a secret, as a line for wg or as JSON."""
    print_secret(to_json({label: text}) if as_json else text)
