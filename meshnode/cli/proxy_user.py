"""`meshnode proxy user`: make the lines of a file of users."""

import sys
from pathlib import Path

import click

from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import MAX_PASSPHRASE


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "meshnode proxy user alice --file /etc/meshnode/users",
        "pass show mesh/alice | meshnode proxy user alice >> users",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.argument("name")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="Write the line there, in the place of one of that name.",
)
def user(name: str, file: Path | None) -> None:
    """Make the line of the user NAME for the users_file of a listener.

    The password is asked for, or is the first line of standard input; the line holds
    no more than its argon2id hash. A node that is up takes it with "meshnode reload".
    """
    from meshnode.manage.users_file import (
        check_user,
        make_hash,
        save_user,
        serialise_users,
    )

    check_user(name)
    known = make_hash(_password())
    if file is None:
        click.echo(serialise_users({name: known}), nl=False)
    else:
        save_user(file.absolute(), name, known)


def _password() -> bytes:
    if sys.stdin.isatty():
        text: str = click.prompt(
            "Password", hide_input=True, confirmation_prompt=True, err=True
        )
    else:
        text = sys.stdin.readline(MAX_PASSPHRASE + 2).removesuffix("\n")
    return text.encode("utf-8", "surrogateescape")
