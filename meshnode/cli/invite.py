"""`meshnode invite`: let somebody in."""

import time

import click

from meshnode.cli.ask import ask
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json, print_secret, to_json
from meshnode.cli.spans import SPAN
from meshnode.cli.tables import span, table
from meshnode.manage import paths

_SETTINGS = {"help_option_names": ["-h", "--help"]}


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "meshnode invite",
        "meshnode invite --name printer --expires 10m",
        "meshnode invite --reusable 50 --group servers --route 10.1.0.0/16",
        "meshnode invite list",
    )
    + f"\n\n{EXIT_CODES}",
    context_settings=_SETTINGS,
)
@click.option("--name", default="", help="The member's name; else the joiner chooses.")
@click.option(
    "--group", "groups", multiple=True, help="A group of the member; repeatable."
)
@click.option(
    "--route",
    "subnets",
    multiple=True,
    metavar="CIDR",
    help="A prefix that the member may announce; repeatable.",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(("rendezvous", "relay", "exit")),
    default=("rendezvous", "relay"),
    show_default=True,
    help="What the member may do for others; repeatable.",
)
@click.option(
    "--reusable",
    type=click.IntRange(1, 10_000),
    default=1,
    metavar="N",
    help="Let N hosts join by it, not one.",
)
@click.option(
    "--expires",
    type=SPAN,
    default="1h",
    show_default=True,
    help="How long it can be used: 30m, 12h, 7d.",
)
@click.option(
    "--lifetime",
    type=SPAN,
    default="365d",
    show_default=True,
    help="How long the member's certificate lasts; it renews itself.",
)
@click.option("--qr", is_flag=True, help="Show the token as a QR code, too.")
@network_option
@directory_options
@json_option
@click.pass_context
def invite(
    ctx: click.Context,
    name: str,
    groups: tuple[str, ...],
    subnets: tuple[str, ...],
    roles: tuple[str, ...],
    reusable: int,
    expires: int,
    lifetime: int,
    qr: bool,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Make an invite and print its token, to be used by "meshnode join".

    Whoever has the token can join until it is used or expires: treat it as a secret.
    """
    if ctx.invoked_subcommand is not None:
        return
    result = ask(
        network,
        directories,
        "invite create",
        name=name,
        groups=list(groups),
        subnets=list(subnets),
        roles=list(roles),
        uses=reusable,
        expires=int(time.time()) + expires,
        lifetime=lifetime,
    )
    if as_json:
        print_secret(to_json(result))
        return
    print_secret(result["token"])
    if qr:
        from meshnode.cli.qr import show_qr

        show_qr(result["token"])
    for_whom = f"{reusable} hosts" if reusable > 1 else "one host"
    click.echo(f"for {for_whom}, within {span(expires)}", err=True)


@invite.command("list", epilog=examples("meshnode invite list"))
@network_option
@directory_options
@json_option
def list_invites(
    network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """List the invites this node has made; tokens are not kept."""
    result = ask(network, directories, "invite list")
    if as_json:
        print_json(result)
        return
    rows = [
        (
            one["key"][:12],
            one["state"],
            f"{one['used']}/{one['uses']}",
            one["name"] or "-",
            ",".join(one["groups"]) or "-",
            span(max(one["expires"] - time.time(), 0)),
        )
        for one in result["invites"]
    ]
    head = ("INVITE", "STATE", "USED", "NAME", "GROUPS", "LEFT")
    for line in table(head, rows):
        click.echo(line)


@invite.command("revoke", epilog=examples("meshnode invite revoke 4Qx7tHb2Lk0P"))
@click.argument("key")
@network_option
@directory_options
def revoke_invite(
    key: str, network: str | None, directories: paths.Directories
) -> None:
    """Let nobody in by the invite KEY any more; its beginning is enough."""
    ask(network, directories, "invite revoke", key=key)
