"""`meshnode dns`: the names of the network's members, and who finds them."""

from typing import Any

import click

from meshnode.cli.ask import ask
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import (
    directory_options,
    json_option,
    network_argument,
    network_option,
)
from meshnode.cli.output import print_json
from meshnode.manage import paths

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_NO_SUCH_NAME = 3


@click.group(
    context_settings=_SETTINGS,
    epilog=examples("meshnode dns status", "meshnode dns query anna"),
)
def dns() -> None:
    """Look members up by name: NAME.NETWORK.mesh.

    The table [dns] of the configuration says how this host's programs find them.
    """


@dns.command(
    context_settings=_SETTINGS,
    epilog=f"{examples('meshnode dns status', 'meshnode dns status home --json')}\n\n"
    f"{EXIT_CODES}",
)
@network_argument
@directory_options
@json_option
def status(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Show where the names of NET are answered, and how this host asks there."""
    result = ask(network, directories, "dns status")
    if as_json:
        print_json(result)
        return
    servers = ", ".join(result["servers"])
    upstream = ", ".join(result["upstream"])
    lines = {
        "names": f"NAME.{result['domain']}",
        "answered at": servers if result["resolver"] else "nowhere",
        "other names": f"by {upstream}" if upstream else "refused",
        "this host": names_line(result),
    }
    width = max(map(len, lines))
    for label, text in lines.items():
        click.echo(f"{label:{width}}  {text}")


@dns.command(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode dns query anna",
        "meshnode dns query anna.home.mesh --type AAAA",
        "meshnode dns query 1.0.77.10.in-addr.arpa --type PTR --json",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.argument("name")
@click.option(
    "--type", "kind", default="A", show_default=True, help="What is asked for."
)
@network_option
@directory_options
@json_option
def query(
    name: str,
    kind: str,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> int:
    """Ask this node's resolver for NAME; without a dot it is a member's.

    Exit code 3 means that there is no such name, or nothing of that type.
    """
    result = ask(network, directories, "dns query", name=name, type=kind)
    if as_json:
        print_json(result)
    for record in () if as_json else result["records"]:
        click.echo(
            f"{record['name']}  {record['ttl']}  {record['type']}  {record['data']}"
        )
    if not result["records"]:
        if not as_json:
            click.echo(f"{result['name']}: {_nothing(result)}", err=True)
        return _NO_SUCH_NAME
    return 0


def names_line(result: dict[str, Any]) -> str:
    """Say in a line how this host finds the names, from what `dns status` tells."""
    if not result["resolver"]:
        return "not answered here"
    ask_there = f"ask with: dig @{result['servers'][0]} NAME.{result['domain']}"
    if result["by"]:
        text = f"found by {result['by']}"
    elif result["manage"] == "off":
        return f"this host is not told of them; {ask_there}"
    else:
        text = f"not found by this host; {ask_there}"
    return f"{text} ({result['problem']})" if result["problem"] else text


def _nothing(result: dict[str, Any]) -> str:
    match result["code"]:
        case "NOERROR":
            return f"there is nothing of type {result['type']}"
        case "NXDOMAIN":
            return "there is no such name"
    return f"the resolver answers {result['code']}"
