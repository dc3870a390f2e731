"""`meshnode wait` and `watch`: until something is so, and what happens."""

import json
import time
from typing import Any

import click

from meshnode.cli.ask import say
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import (
    directory_options,
    json_option,
    network_argument,
    network_option,
)
from meshnode.cli.output import print_json
from meshnode.errors import UsageError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

_UNKNOWN = 3
_TIMED_OUT = 4
_POLL = 0.2
_OF_THIS_NODE = {"ip": "isReady", "mesh": "isInTouch"}


@click.command(
    epilog=examples(
        "meshnode wait --for ip",
        "meshnode wait --for mesh --timeout 10",
        "meshnode wait --for peer paris --timeout 30",
        "meshnode wait --for direct paris",
    )
    + f"\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--for",
    "what",
    type=click.Choice(("ip", "mesh", "peer", "direct")),
    required=True,
    help="ip: the overlay address can be bound; mesh: others know what this node "
    "knows, and the other way round; peer: PEER answers; direct: PEER answers and no "
    "relay is between.",
)
@click.argument("peer", required=False)
@click.option(
    "--timeout",
    type=click.FloatRange(0.0, 86_400.0),
    default=60.0,
    show_default=True,
    help="Seconds.",
)
@network_option
@directory_options
@json_option
def wait(
    what: str,
    peer: str | None,
    timeout: float,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> int:
    """Wait until something is so; exit code 4 if it is not in time."""
    if (peer is None) != (what in _OF_THIS_NODE):
        raise UsageError("give a PEER with --for peer and --for direct, and only then")
    name = choose_network(network, directories.config)
    say(f"waiting for {peer or name}")
    began = time.monotonic()
    while True:
        left = began + timeout - time.monotonic()
        is_so = _is_so(directories, name, what, peer, left)
        if is_so or left <= 0:
            break
        time.sleep(min(_POLL, left))
    if as_json:
        print_json({"isSo": is_so, "seconds": round(time.monotonic() - began, 3)})
    elif not is_so:
        click.echo(f"not within {timeout:g} s", err=True)
    return 0 if is_so else _TIMED_OUT


def _is_so(
    directories: paths.Directories,
    network: str,
    what: str,
    peer: str | None,
    left: float,
) -> bool:
    from meshnode.manage.api_client import (
        NoReplyError,
        NotRunningError,
        RemoteError,
        call,
    )

    try:
        if what in _OF_THIS_NODE:
            return bool(call(directories, network, "hello")[_OF_THIS_NODE[what]])
        seconds = min(max(left, 0.1), 5.0)
        answer = call(
            directories,
            network,
            "ping",
            reply_timeout=seconds + 5,
            peer=peer,
            timeout=seconds,
        )
    except (NotRunningError, NoReplyError):
        return False
    except RemoteError as error:
        if error.exit_code != _UNKNOWN:
            raise
        return False  # who has just joined is not known everywhere yet
    if answer["seconds"] is None:
        return False
    return what != "direct" or answer["path"]["kind"] in ("direct", "lan")


@click.command(
    epilog=f"{examples('meshnode watch', 'meshnode watch home --json')}\n\n"
    f"{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@network_argument
@directory_options
@json_option
def watch(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Print what happens in NET as it happens, a line an event, until interrupted."""
    from meshnode.manage.api_client import stream

    name = choose_network(network, directories.config)
    for event in stream(directories, name, "watch"):
        click.echo(json.dumps(event) if as_json else _line(event))


def _line(event: dict[str, Any]) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(event["at"]))
    facts = [f"{key}={value}" for key, value in event.items() if key not in _KNOWN]
    return " ".join([clock, event["event"], *facts])


_KNOWN = ("at", "event", "schema")
