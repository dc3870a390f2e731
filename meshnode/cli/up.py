"""`meshnode up`, `down`, `restart` and `reload`: the life of a node."""

from typing import Any

import click

from meshnode.cli.ask import say
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_argument
from meshnode.cli.output import print_json
from meshnode.cli.rootless import rootless_options
from meshnode.errors import MeshnodeError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network, known_networks

_SETTINGS = {"help_option_names": ["-h", "--help"]}


def _epilog(*lines: str) -> str:
    return f"{examples(*lines)}\n\n{EXIT_CODES}"


@click.command(
    epilog=_epilog(
        "meshnode up",
        "meshnode up home --foreground",
        "meshnode up home --rootless --forward tcp:8080:10.77.0.1:80",
        "meshnode up home --rootless --publish tcp:22:2222",
    ),
    context_settings=_SETTINGS,
)
@network_argument
@click.option(
    "--foreground",
    "-f",
    is_flag=True,
    envvar="MESHNODE_FOREGROUND",
    show_envvar=True,
    help="Stay in the foreground, and log there.",
)
@rootless_options
@directory_options
def up(
    network: str | None,
    foreground: bool,
    rootless: Any,
    directories: paths.Directories,
) -> int:
    """Start the node of NET, or of every network of this host.

    Returns when the overlay address can be used. A node that runs already is left
    alone. A rootless node needs no privilege and changes nothing of the host: the
    mesh is reached by meshnode run and by --forward.
    """
    # Sockets, netlink and the rest take long to import; --help does without.
    from meshnode.node.network import start_network
    from meshnode.node.running import is_up

    if network is None and not foreground:
        names = known_networks(directories.config)
        if not names:
            choose_network(None, directories.config)
    else:
        names = [choose_network(network, directories.config)]
    code = 0
    for name in names:
        if is_up(name, directories):
            click.echo(f"{name} is up already", err=True)
            continue
        say(f"starting {name}")
        try:
            code = (
                start_network(
                    name, directories, foreground=foreground, rootless=rootless
                )
                or code
            )
        except MeshnodeError as error:
            if len(names) == 1:
                raise
            # The trouble of one network does not keep the others down.
            click.echo(f"{name}: {error}", err=True)
            code = error.exit_code
    return code


@click.command(
    epilog=_epilog("meshnode down", "meshnode down home"), context_settings=_SETTINGS
)
@network_argument
@directory_options
@json_option
def down(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Stop the node of NET; all it changed on the host is undone.

    A kill switch stays: "meshnode exit off" lifts it.
    """
    from meshnode.node.locks import is_locked
    from meshnode.node.running import stop_network

    name = choose_network(network, directories.config)
    say(f"stopping {name}")
    was_up = stop_network(name, directories)
    stays = is_locked(name)
    if as_json:
        print_json({"network": name, "wasUp": was_up, "isLocked": stays})
        return
    if not was_up:
        click.echo(f"{name} was not up", err=True)
    if stays:
        click.echo(
            f"the kill switch of {name} stays, and nothing leaves this host; lift it: "
            f"meshnode exit off -n {name}",
            err=True,
        )


@click.command(epilog=_epilog("meshnode restart home"), context_settings=_SETTINGS)
@network_argument
@rootless_options
@directory_options
def restart(network: str | None, rootless: Any, directories: paths.Directories) -> int:
    """Stop the node of NET, if it runs, and start it again."""
    from meshnode.node.network import start_network
    from meshnode.node.running import stop_network

    name = choose_network(network, directories.config)
    say(f"restarting {name}")
    stop_network(name, directories)
    return start_network(name, directories, foreground=False, rootless=rootless)


@click.command(epilog=_epilog("meshnode reload home"), context_settings=_SETTINGS)
@network_argument
@directory_options
@json_option
def reload(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Let the node of NET read its configuration again; sessions are not disturbed.

    A configuration with an error is refused whole, and the old one stays in force.
    """
    from meshnode.manage.api_client import call

    name = choose_network(network, directories.config)
    result = call(directories, name, "reload")
    if as_json:
        print_json(result)
        return
    for line in result["restartNeeded"]:
        click.echo(f"takes effect at the next start: {line}", err=True)
