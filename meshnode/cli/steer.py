"""`meshnode steer`: the rules by which traffic of this host is steered."""

from typing import Any

import click

from meshnode.cli.ask import ask
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.cli.tables import table
from meshnode.manage import paths

_PROBLEMS = 1
_SETTINGS = {"help_option_names": ["-h", "--help"]}
_SHOWN = 3


@click.group(
    context_settings=_SETTINGS,
    epilog=examples("meshnode steer list", "meshnode steer check"),
)
def steer() -> None:
    """Show which traffic of this host goes which way.

    The rules are the tables [[steer]] of the configuration; the first that fits wins.
    "meshnode reload" puts them in force; connections that are there keep their way.
    """


@steer.command(
    "list",
    context_settings=_SETTINGS,
    epilog=examples("meshnode steer list", "meshnode steer list --json")
    + f"\n\n{EXIT_CODES}",
)
@network_option
@directory_options
@json_option
def list_rules(
    network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """List the rules in force, what was sent under each, and learnt addresses."""
    result = ask(network, directories, "steer list")
    if as_json:
        print_json(result)
        return
    rows = [
        [*_words(rule), str(rule["packets"]), str(rule["bytes"]), _learnt(rule)]
        for rule in result["rules"]
    ]
    headers = ["RULE", "WHAT", "VIA", "PACKETS", "BYTES", "LEARNT"]
    for line in table(headers, rows):
        click.echo(line)
    _say_problems(result)


@steer.command(
    "check",
    context_settings=_SETTINGS,
    epilog=examples("meshnode steer check && meshnode reload") + f"\n\n{EXIT_CODES}",
)
@network_option
@directory_options
@json_option
def check(network: str | None, directories: paths.Directories, as_json: bool) -> int:
    """Look at the rules of the configuration file, and put none in force.

    Users, control groups, exits and the kernel are asked whether there is such a thing.
    Exit code 1 means that some rule would not do what it says.
    """
    result = ask(network, directories, "steer check")
    if as_json:
        print_json(result)
    else:
        for line in table(["RULE", "WHAT", "VIA"], map(_words, result["rules"])):
            click.echo(line)
        if not result["isInForce"]:
            click.echo("not in force yet: meshnode reload")
        _say_problems(result)
    return _PROBLEMS if result["problems"] else 0


def _words(rule: dict[str, Any]) -> list[str]:
    return [str(rule["number"]), _what(rule), rule["via"]]


def _what(rule: dict[str, Any]) -> str:
    """Return what a rule matches, on one line."""
    destinations = [*rule["to"], *rule["domains"]]
    parts = [
        ("to", destinations),
        ("at", rule["ports"]),
        ("of", rule["users"]),
        ("in", rule["groups"]),
    ]
    said = [f"{word} {_few(values)}" for word, values in parts if values]
    return " ".join(said) or "everything"


def _few(values: list[str]) -> str:
    more = len(values) - _SHOWN
    shown = ",".join(values[:_SHOWN])
    return f"{shown},+{more}" if more > 0 else shown


def _learnt(rule: dict[str, Any]) -> str:
    return str(len(rule["learnt"])) if rule["domains"] else "-"


def _say_problems(result: dict[str, Any]) -> None:
    for text in result["problems"]:
        click.echo(f"problem  {text}")
