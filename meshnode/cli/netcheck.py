"""`meshnode netcheck`: what the network of this host lets through."""

from typing import Any

import click

from meshnode.cli.ask import ask
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.manage import paths

_BLOCKED = 1


@click.command(
    epilog=f"{examples('meshnode netcheck', 'meshnode netcheck --json')}\n\n"
    f"{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@network_option
@directory_options
@json_option
def netcheck(network: str | None, directories: paths.Directories, as_json: bool) -> int:
    """Tell what this host's network lets through, as the running node has seen it.

    Shows whether UDP gets out, our addresses as others see them, what the NAT does,
    ports that routers map, and the relays near to us with their round trips. Exit code
    1 means that UDP does not get out.
    """
    result = ask(network, directories, "netcheck")
    if as_json:
        print_json(result)
    else:
        for line in _lines(result):
            click.echo(line)
    return _BLOCKED if result["udp"] == "blocked" else 0


def _lines(result: dict[str, Any]) -> list[str]:
    nat = result["nat"]
    lines = [
        f"UDP      port {result['port']}, {result['udp']}",
        f"IPv4     {_seen(result)}",
        f"IPv6     {', '.join(result['ipv6']) or 'no address'}",
        f"NAT      {nat['mapping']}{_details(nat)}",
        f"keep     {result['keepalive']} s between keepalives{_lifetime(nat)}",
    ]
    lines += [f"mapped   {_mapping(one)}" for one in result["portMappings"]]
    lines += [
        f"relay    {relay['name']}, {relay['rttMs']} ms" for relay in result["relays"]
    ]
    if not result["relays"]:
        lines.append("relay    none answers")
    return lines


def _seen(result: dict[str, Any]) -> str:
    if result["seen"] is None:
        return "nobody has told yet how others see us"
    return f"others see us at {result['seen']}"


def _details(nat: dict[str, Any]) -> str:
    details = []
    if nat["ports"]:
        details.append(f"ports {nat['ports'][0]} to {nat['ports'][1]}")
    if nat["preservesPort"]:
        details.append("our port is kept")
    if nat["hairpin"] is not None:
        details.append("hairpins" if nat["hairpin"] else "no hairpin")
    if nat["letsIn"] is not None:
        details.append(f"lets in {nat['letsIn']}")
    details.append(f"as {nat['answers']} members saw it")
    return ", " + ", ".join(details)


def _lifetime(nat: dict[str, Any]) -> str:
    """Say how long an idle mapping was seen to live."""
    lives, dies = nat["lifetime"]["atLeast"], nat["lifetime"]["below"]
    if lives and dies:
        return f", idle mappings live {lives:g} to {dies:g} s"
    if lives:
        return f", idle mappings live {lives:g} s or longer"
    return f", idle mappings live less than {dies:g} s" if dies else ""


def _mapping(one: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in one.items() if value)
