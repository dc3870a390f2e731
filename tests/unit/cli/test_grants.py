"""Options that say what is granted."""

from pathlib import Path

import click
from click.testing import CliRunner

from meshnode.cli.grants import (
    ALL_ROLES,
    authority_key_option,
    group_option,
    role_option,
    subnet_option,
)
from meshnode.codec.records import Role


@click.command()
@group_option
@subnet_option
@role_option("relay")
@authority_key_option
def show(
    groups: tuple[str, ...],
    subnets: tuple[str, ...],
    roles: tuple[str, ...],
    key_file: Path | None,
) -> None:
    """Show the options."""
    click.echo(f"{groups} {subnets} {roles} {key_file}")


def test_options_are_repeated() -> None:
    """And the default gives way to what is said."""
    run = CliRunner().invoke
    assert run(show, []).output == "() () ('relay',) None\n"
    said = ["--group", "a", "--group", "b", "--route", "10.0.0.0/8", "--role", "exit"]
    assert run(show, said).output == "('a', 'b') ('10.0.0.0/8',) ('exit',) None\n"
    assert run(show, ["--role", "stock"]).exit_code == 2


def test_the_roles_are_those_of_records() -> None:
    """A new one is not forgotten here."""
    known = {str(role.name).lower() for role in Role if role}
    assert set(ALL_ROLES) == known
