"""`meshnode run`: a command in the mesh, without any privilege."""

import ipaddress
from typing import Any

import click

from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, network_argument
from meshnode.errors import UsageError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

_GUEST = "guest"


class _WithCommand(click.Command):
    """Keeps what comes after `--` apart: it is another program's command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[_GUEST] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]


def _numeric(ctx: click.Context, param: click.Parameter, value: str) -> str:
    try:
        return str(ipaddress.ip_address(value)) if value else ""
    except ValueError:
        raise click.BadParameter("give a numeric address") from None


@click.command(
    "run",
    cls=_WithCommand,
    epilog=examples(
        "meshnode run home -- curl http://10.77.0.1/",
        "meshnode run -- ssh 10.77.0.2",
        "meshnode run home --dns 10.77.0.1 -- bash",
    )
    + f"\n\n{EXIT_CODES}\n  Other codes are those of the command.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@network_argument
@click.option(
    "--dns",
    metavar="ADDRESS",
    default="",
    envvar="MESHNODE_DNS",
    show_envvar=True,
    callback=_numeric,
    help="Ask this member for names; else the node's own resolver, if it has one; "
    "that of the host is mostly out of reach there.",
)
@directory_options
@click.pass_context
def run(
    ctx: click.Context,
    network: str | None,
    dns: str,
    directories: paths.Directories,
) -> int:
    """Run COMMAND in a network of its own that leads to the mesh only.

    No privilege is needed: the network is made in a user namespace, with a TUN device
    there. If a rootless node of NET runs (meshnode up --rootless), the command joins
    it; else one is started, and ends with the command. The host's network, and so the
    internet, cannot be reached from there, unless an exit of the mesh is used; what
    shall pass is named by --forward and --publish of meshnode up.
    """
    # Sockets and the rest take long to import; --help does without.
    from meshnode.node.guests import run_in_network

    command: list[Any] = ctx.meta[_GUEST]
    if not command:
        raise UsageError("give the command after --: meshnode run home -- COMMAND")
    name = choose_network(network, directories.config)
    return run_in_network(name, directories, command, resolver=dns)
