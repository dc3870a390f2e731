"""Options that say what a certificate grants, for several commands."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

MEMBER_ROLES = ("rendezvous", "relay", "exit", "issuer", "policy")
ALL_ROLES = (*MEMBER_ROLES, "stock")

group_option = click.option(
    "--group", "groups", multiple=True, help="A group of the member; repeatable."
)

subnet_option = click.option(
    "--route",
    "subnets",
    multiple=True,
    metavar="CIDR",
    help="A prefix that the member may announce; repeatable.",
)


def role_option(*default: str) -> Callable[[Function], Function]:
    """Return the option --role of a member, with these roles by default."""
    return click.option(
        "--role",
        "roles",
        multiple=True,
        type=click.Choice(MEMBER_ROLES),
        default=default,
        show_default=bool(default),
        help="What the member may do for others; repeatable.",
    )


def authority_key_option(function: Function) -> Function:
    """Add the option that says where the authority's key is, as *key_file*."""
    from pathlib import Path

    return click.option(
        "--authority-key",
        "key_file",
        type=click.Path(path_type=Path),
        envvar="MESHNODE_AUTHORITY_KEY",
        show_envvar=True,
        help="The file of the authority's key; else it is in the state directory.",
    )(function)
