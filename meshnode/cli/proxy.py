"""`meshnode proxy`: listeners in the foreground, and what those of the node do."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshnode.cli.ask import ask
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.cli.proxy_user import user
from meshnode.cli.tables import size, table
from meshnode.errors import MeshnodeError, UsageError
from meshnode.manage import paths

if TYPE_CHECKING:
    from meshnode.manage.proxy_text import ProxyListener

_SETTINGS = {"help_option_names": ["-h", "--help"]}


@click.group(
    invoke_without_command=True,
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode proxy --listen 127.0.0.1:1081 --exit paris",
        "meshnode proxy --listen unix:/run/user/1000/mesh --kind socks",
        "meshnode proxy list",
        "meshnode proxy user alice --file /etc/meshnode/users",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.option(
    "--listen",
    "places",
    multiple=True,
    metavar="PLACE",
    help="Where to serve: ADDRESS:PORT or unix:/PATH; may be given several times.",
)
@click.option(
    "--kind",
    type=click.Choice(["mixed", "socks", "http"]),
    default="mixed",
    show_default=True,
    help="What is spoken; mixed tells the two apart.",
)
@click.option(
    "--exit",
    "exits",
    multiple=True,
    metavar="MEMBER",
    help="Go out by this member, or by that overlay address; several: in order.",
)
@click.option(
    "--users-file",
    type=click.Path(path_type=Path),
    help='Who may use it: made by "meshnode proxy user".',
)
@click.option("--allow", multiple=True, metavar="RULE", help="Let only this pass.")
@click.option("--deny", multiple=True, metavar="RULE", help="Let this not pass.")
@network_option
@directory_options
@click.pass_context
def proxy(
    context: click.Context,
    places: tuple[str, ...],
    kind: str,
    exits: tuple[str, ...],
    users_file: Path | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    network: str | None,
    directories: paths.Directories,
) -> None:
    """Serve SOCKS and HTTP into the network, in the foreground and without root.

    The node of the network must be up on this host. Names of members are known if
    this user may ask it; else --exit takes an overlay address. Listeners that the node
    itself keeps are tables [[proxy]] of its configuration.
    """
    if context.invoked_subcommand is not None:
        return
    if not places:
        raise click.UsageError("give --listen ADDRESS:PORT, or a command")
    from meshnode.manage.proxy_text import ProxyListener, parse_place, require_users

    listeners = []
    for place in places:
        try:
            where = parse_place(place)
            require_users(where, users_file)
        except MeshnodeError as error:
            raise UsageError(f"--listen {place}: {error}") from None
        listeners.append(
            ProxyListener(where, kind, exits, users_file, allow=allow, deny=deny)
        )
    from meshnode.node.proxy_foreground import make_plan, serve_foreground

    try:
        status: dict[str, Any] = ask(network, directories, "status")
        peers: list[dict[str, Any]] = ask(network, directories, "peers")["peers"]
    except (MeshnodeError, OSError) as error:
        click.echo(f"names of members are not known: {error}", err=True)
        status, peers = {}, []
    plan = make_plan(listeners, status, peers)
    serve_foreground(plan, lambda: _say_ready(listeners))


def _say_ready(listeners: "list[ProxyListener]") -> None:
    for one in listeners:
        click.echo(f"serving {one.kind} at {one.place}")


@proxy.command(
    "list",
    context_settings=_SETTINGS,
    epilog=examples("meshnode proxy list", "meshnode proxy list -n home --json")
    + f"\n\n{EXIT_CODES}",
)
@network_option
@directory_options
@json_option
def list_listeners(
    network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """List the node's listeners: clients and bytes of each."""
    found = ask(network, directories, "proxy list")
    if as_json:
        print_json(found)
        return
    head = ("LISTEN", "KIND", "EXIT", "CLIENTS", "SENT", "RECEIVED")
    for line in table(head, map(_row, found["listeners"])):
        click.echo(line)
    for problem in found["problems"]:
        click.echo(f"problem: {problem}")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    return (
        one["listen"],
        one["kind"],
        ",".join(one["exit"]) or "-",
        str(one["clients"]) if one["isOpen"] else "not open",
        size(one["sentBytes"]),
        size(one["receivedBytes"]),
    )


proxy.add_command(user)
