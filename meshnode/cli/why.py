"""`meshnode why`: how a member is reached, what was tried, and what would help."""

from typing import Any

import click

from meshnode.cli.ask import ask
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.manage import paths

_NOT_DIRECT = 1


@click.command(
    epilog=f"{examples('meshnode why paris', 'meshnode why 10.77.0.2 --json')}\n\n"
    f"{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("peer")
@network_option
@directory_options
@json_option
def why(
    peer: str,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> int:
    """Tell how PEER, a member, is reached, and why not better.

    Shows the path, the relays, the NATs of both sides as they were seen, each place
    that was tried and what became of the probes, and what would help. Nothing is sent.
    Exit code 1 means that the path is not direct.
    """
    result = ask(network, directories, "why", peer=peer)
    if as_json:
        print_json(result)
    else:
        for line in _lines(result):
            click.echo(line)
    return 0 if result["isDirect"] else _NOT_DIRECT


def _lines(result: dict[str, Any]) -> list[str]:
    lines = [f"{result['name']}: {result['reason']}"]
    path = result["path"]
    if path["kind"] != "none":
        by = f" by {', '.join(path['via'])}" if path["via"] else ""
        took = "" if path["rttMs"] is None else f", {path['rttMs']:.1f} ms"
        where = "" if path["via"] else f" at {path['endpoint']}"
        lines.append(f"path     {path['kind']}{where}{by}{took}")
    lines += [f"relay    {_relay(relay)}" for relay in result["relays"]]
    lines.append(f"NAT      ours {_nat(result['ours'])}")
    lines.append(f"NAT      theirs {_nat(result['theirs'])}")
    lines += [f"tried    {_attempt(attempt)}" for attempt in result["attempts"]]
    lines += [f"remedy   {text}" for text in result["remedies"]]
    return lines


def _relay(relay: dict[str, Any]) -> str:
    state = "open" if relay["isOpen"] else "asked for"
    took = "" if relay["rttMs"] is None else f", {relay['rttMs']:.0f} ms"
    return f"{' and '.join(relay['via'])}, {state}{took}"


def _nat(nat: dict[str, Any]) -> str:
    block = f", ports {nat['ports'][0]} to {nat['ports'][1]}" if nat["ports"] else ""
    return f"{nat['mapping']}{block}"


def _attempt(attempt: dict[str, Any]) -> str:
    fate = (
        f"{attempt['pings']} probes, no answer"
        if attempt["milliseconds"] is None
        else f"answered after {attempt['milliseconds']:.0f} ms"
    )
    return f"{attempt['endpoint']} ({attempt['how']}): {fate}"
