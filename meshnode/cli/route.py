"""`meshnode route`: the prefixes behind this host that others reach through it."""

from typing import TYPE_CHECKING, Any

import click

from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.cli.tables import table
from meshnode.errors import ConfigError, UsageError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network
from meshnode.types import Prefix

if TYPE_CHECKING:
    from meshnode.manage.config_values import NetworkConfig

_SETTINGS = {"help_option_names": ["-h", "--help"]}


@click.group(
    context_settings=_SETTINGS,
    epilog=examples("meshnode route add 192.168.7.0/24", "meshnode route list"),
)
def route() -> None:
    """Announce prefixes of this host's LAN to the network.

    What others announce is shown by "meshnode routes".
    """


@route.command(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode route add 192.168.7.0/24",
        "meshnode route add 192.168.7.0/24 --metric 200 --no-masquerade",
        "meshnode route add 10.200.1.0/24 --map 192.168.1.0/24",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.argument("cidr")
@click.option(
    "--metric",
    type=click.IntRange(0, 65535),
    default=100,
    show_default=True,
    help="Of several gateways to a prefix those with the lowest carry it.",
)
@click.option(
    "--weight",
    type=click.IntRange(1, 255),
    default=1,
    show_default=True,
    help="The part of the flows, among gateways of the same metric.",
)
@click.option(
    "--no-masquerade",
    is_flag=True,
    help="Let the LAN see members' own addresses; it needs a route back.",
)
@click.option(
    "--map",
    "mapped",
    metavar="LANCIDR",
    help="The LAN's real prefix, where CIDR is what the network knows it as.",
)
@network_option
@directory_options
@json_option
def add(
    cidr: str,
    metric: int,
    weight: int,
    no_masquerade: bool,
    mapped: str | None,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Announce the prefix CIDR; a node that is up does so at once.

    The certificate must allow it: "meshnode cert grant" at an issuer.
    """
    from meshnode.manage.config_values import AnnouncedRoute, with_announced

    prefix = _prefix(cidr)
    lan = None if mapped is None else _prefix(mapped)
    if lan is not None and (lan.version, lan.length) != (prefix.version, prefix.length):
        raise UsageError(f"{lan} must be as long as {prefix}")
    announced = AnnouncedRoute(prefix, metric, weight, not no_masquerade, lan)
    _edit(
        lambda config: with_announced(config, announced),
        prefix,
        network,
        directories,
        as_json,
    )


@route.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode route remove 192.168.7.0/24") + f"\n\n{EXIT_CODES}",
)
@click.argument("cidr")
@network_option
@directory_options
@json_option
def remove(
    cidr: str, network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """Announce the prefix CIDR no more."""
    from meshnode.manage.config_values import without_announced

    prefix = _prefix(cidr)
    _edit(
        lambda config: without_announced(config, prefix),
        prefix,
        network,
        directories,
        as_json,
    )


@route.command(
    "list",
    context_settings=_SETTINGS,
    epilog=examples("meshnode route list", "meshnode route list --json"),
)
@network_option
@directory_options
@json_option
def list_routes(
    network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """List the prefixes that the configuration announces."""
    from meshnode.manage.network_config import load_config

    name = choose_network(network, directories.config)
    config = load_config(directories.config_file(name))
    found = _describe(config)
    if as_json:
        print_json({"network": name, "routes": found})
        return
    if not found:
        click.echo(f"{name} announces no prefix of this host", err=True)
        return
    rows = [
        (
            one["prefix"],
            str(one["metric"]),
            str(one["weight"]),
            "yes" if one["masquerade"] else "no",
            one["map"] or "-",
        )
        for one in found
    ]
    for line in table(("PREFIX", "METRIC", "WEIGHT", "MASQUERADE", "LAN"), rows):
        click.echo(line)


def _edit(
    change: Any,
    prefix: Prefix,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Change the configuration, and let the node follow if it is up."""
    from meshnode.manage.api_client import NotRunningError, call
    from meshnode.manage.network_config import edit_config

    name = choose_network(network, directories.config)
    config = edit_config(directories.config_file(name), change)
    complaints: list[str] = []
    is_up = True
    try:
        call(directories, name, "reload")
        status = call(directories, name, "status")
        complaints = [text for text in status["health"] if _names(text, prefix)]
    except NotRunningError:
        is_up = False
    if as_json:
        print_json(
            {
                "network": name,
                "routes": _describe(config),
                "isUp": is_up,
                "complaints": complaints,
            }
        )
    for text in complaints:
        click.echo(f"warning: {text}", err=True)
    if not is_up and not as_json:
        click.echo(f"takes effect when {name} is up: meshnode up {name}", err=True)


def _names(text: str, prefix: Prefix) -> bool:
    return str(prefix) in text.replace(",", " ").replace(": ", " ").split()


def _describe(config: "NetworkConfig") -> list[dict[str, Any]]:
    return [
        {
            "prefix": str(one.prefix),
            "metric": one.metric,
            "weight": one.weight,
            "masquerade": one.masquerade,
            "map": None if one.mapped is None else str(one.mapped),
        }
        for one in config.announced
    ]


def _prefix(text: str) -> Prefix:
    """Read a prefix of the command line; host bits are a mistake more often."""
    try:
        prefix = Prefix.parse(text)
        written = Prefix.parse(text.partition("/")[0])
    except ConfigError as error:
        raise UsageError(str(error)) from None
    if "/" in text and written.network != prefix.network:
        raise UsageError(f"{text} has host bits; write {prefix}")
    return prefix
