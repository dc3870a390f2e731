"""`meshnode import`: take over the peers of a wg-quick file."""

from pathlib import Path
from typing import Any

import click

from meshnode.cli.ask import read_input
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.errors import ConfigError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network


@click.command(
    "import",
    epilog=examples(
        "meshnode import /etc/wireguard/wg0.conf",
        "meshnode import office.conf --name office",
    )
    + f"\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("file")
@click.option(
    "--name",
    default=None,
    help="What peers are called that no comment names; else as the file.",
)
@network_option
@directory_options
@json_option
def import_wg(
    file: str,
    name: str | None,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Take over the peers of FILE, a configuration of wg-quick.

    Each becomes an entry [[wireguard]] of the network's configuration, and stays a
    plain WireGuard peer. The private key of the file is not taken: the peers must be
    told this node's key.
    """
    from meshnode.manage.api_client import NotRunningError, call
    from meshnode.manage.wg_config import parse_wg_config
    from meshnode.manage.wg_import import import_peers

    chosen = choose_network(network, directories.config)
    text = read_input(file)
    try:
        config = parse_wg_config(text)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    called = name or _label(Path(file).stem)
    result = import_peers(config, called, chosen, directories)
    is_up = True
    try:
        call(directories, chosen, "reload")
    except NotRunningError:
        is_up = False
    if as_json:
        print_json({"network": chosen, "isUp": is_up, **result})
        return
    for line in _lines(result):
        click.echo(line)
    for line in _hints(result, chosen, is_up=is_up):
        click.echo(line, err=True)


def _lines(result: dict[str, Any]) -> list[str]:
    width = max(len(one["name"]) for one in result["peers"])
    return [f"{one['name']:{width}}  {one['key']}" for one in result["peers"]]


def _hints(result: dict[str, Any], network: str, *, is_up: bool) -> list[str]:
    hints = []
    if result["oldKey"] is not None:
        hints.append(
            f"the peers know the key {result['oldKey']}: give them that of this node "
            "(meshnode status), and its port"
        )
    if result["leftOut"]:
        hints.append(f"not taken over: {', '.join(result['leftOut'])}")
    if not is_up:
        hints.append(f"takes effect when {network} is up: meshnode up {network}")
    return hints


def _label(stem: str) -> str:
    """Return *stem* as far as it can be a name."""
    letters = [c if c.isascii() and c.isalnum() else "-" for c in stem.lower()]
    return "".join(letters).strip("-")[:58].strip("-") or "peer"
