"""`meshnode exit`: leave by another member, or let others leave by this host."""

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from meshnode.cli.ask import ask
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.cli.tables import table
from meshnode.errors import ConfigError, HostError, UsageError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

if TYPE_CHECKING:
    from meshnode.manage.config_values import ExitSettings

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_NONE = "none"


def _epilog(*lines: str) -> str:
    return f"{examples(*lines)}\n\n{EXIT_CODES}"


@click.group(
    "exit",
    context_settings=_SETTINGS,
    epilog=examples("meshnode exit use paris,berlin", "meshnode exit off"),
)
def exit_group() -> None:
    """Leave for the Internet by another member, or let others leave by this host."""


@exit_group.command(
    context_settings=_SETTINGS,
    epilog=_epilog("meshnode exit offer", "meshnode exit offer --off"),
)
@click.option("--off", is_flag=True, help="Offer it no more.")
@network_option
@directory_options
@json_option
def offer(
    off: bool, network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """Let members leave by this host: all they send to no member goes out here.

    They do not reach this host's own networks unless these are announced. The
    certificate must allow it: "meshnode cert grant NAME --role exit --route 0.0.0.0/0
    --route ::/0" at an issuer.
    """
    name = choose_network(network, directories.config)
    state = _edit(
        name,
        directories,
        lambda settings: dataclasses.replace(settings, offer=not off),
    )
    _tell(name, state, as_json)


@exit_group.command(
    context_settings=_SETTINGS,
    epilog=_epilog(
        "meshnode exit use paris",
        "meshnode exit use paris,berlin --lan 192.168.1.0/24",
        "meshnode exit use paris --lan none --no-kill-switch",
    ),
)
@click.argument("names", metavar="NAME[,NAME...]")
@click.option(
    "--lan",
    "lan",
    multiple=True,
    metavar="CIDR",
    help='What stays outside, "none" for nothing; else it is as before. Repeatable.',
)
@click.option(
    "--no-kill-switch",
    is_flag=True,
    help="Let traffic leave by this host itself whenever the node is down.",
)
@network_option
@directory_options
@json_option
def use(
    names: str,
    lan: tuple[str, ...],
    no_kill_switch: bool,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Leave by the first of the members NAME that answers.

    Returns when it is in force. From then on nothing leaves this host but through the
    tunnel, to the prefixes of --lan, and answers to who connects to this host from
    outside; also when the node is down or was killed, until "meshnode exit off".
    """
    from meshnode.manage.exit_text import check_exit
    from meshnode.node.exit_lock import NoSuchExitError

    name = choose_network(network, directories.config)
    if _NONE in lan and len(lan) > 1:
        raise UsageError("give either --lan none or prefixes")
    try:
        wanted = check_exit(
            use=[one for one in names.split(",") if one],
            lan=[one for one in lan if one != _NONE],
            kill_switch=not no_kill_switch,
        )
    except ConfigError as error:
        raise UsageError(str(error)) from None
    if not wanted.use:
        raise UsageError("name an exit; see: meshnode exit list")
    known = _ask_if_up(name, directories)
    offering = {one["name"] for one in known["exits"] if one["offers"]} if known else ()
    for one in wanted.use:
        if known is not None and one not in offering:
            raise NoSuchExitError(
                f"{one} does not offer to be an exit; see: meshnode exit list"
            )
    caller = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    if caller:
        click.echo(
            f"a session by SSH from {caller} may stall: connect again, or use --lan",
            err=True,
        )
    state = _edit(
        name,
        directories,
        lambda before: dataclasses.replace(
            wanted, offer=before.offer, lan=wanted.lan if lan else before.lan
        ),
    )
    _tell(name, state, as_json)


@exit_group.command(context_settings=_SETTINGS, epilog=_epilog("meshnode exit off"))
@network_option
@directory_options
@json_option
def off(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Leave by this host itself again, and lift the kill switch.

    It needs no running node.
    """
    from meshnode.node.locks import is_locked, lift

    name = choose_network(network, directories.config)
    state = _edit(
        name, directories, lambda settings: dataclasses.replace(settings, use=())
    )
    if is_locked(name):
        lift(name)
    _tell(name, state, as_json, hint=False)


@exit_group.command(
    context_settings=_SETTINGS, epilog=_epilog("meshnode exit status --json")
)
@network_option
@directory_options
@json_option
def status(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Show by whom this host leaves, and whether the kill switch stands."""
    from meshnode.manage.network_config import load_config
    from meshnode.node.locks import is_locked

    name = choose_network(network, directories.config)
    known = _ask_if_up(name, directories)
    settings = load_config(directories.config_file(name)).exit
    facts: dict[str, Any] = known or {
        "offers": settings.offer,
        "use": list(settings.use),
        "inUse": None,
        "lan": [str(prefix) for prefix in settings.lan],
        "killSwitch": bool(settings.use) and settings.kill_switch,
    }
    facts = {**facts, "isUp": known is not None, "isLocked": is_locked(name)}
    if as_json:
        print_json({"network": name, **facts})
        return
    for line in _lines(facts):
        click.echo(line)


@exit_group.command(
    "list", context_settings=_SETTINGS, epilog=_epilog("meshnode exit list")
)
@network_option
@directory_options
@json_option
def list_exits(
    network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """List the members that offer to be an exit."""
    result = ask(network, directories, "exit")
    if as_json:
        print_json({"exits": result["exits"], "inUse": result["inUse"]})
        return
    if not result["exits"]:
        click.echo("no member offers to be an exit: meshnode exit offer", err=True)
        return
    rows = [
        (
            one["name"],
            ", ".join(one["offers"]) or "nothing",
            _use_of(one["name"], result),
            "yes" if one["isHealthy"] else "no",
        )
        for one in result["exits"]
    ]
    for line in table(("NAME", "OFFERS", "HERE", "ANSWERS"), rows):
        click.echo(line)


def _use_of(name: str, result: dict[str, Any]) -> str:
    if name == result["inUse"]:
        return "in use"
    return "stands by" if name in result["use"] else "-"


def _ask_if_up(name: str, directories: paths.Directories) -> dict[str, Any] | None:
    from meshnode.manage.api_client import NotRunningError, call

    try:
        return call(directories, name, "exit")
    except NotRunningError:
        return None


def _edit(
    name: str,
    directories: paths.Directories,
    change: "Callable[[ExitSettings], ExitSettings]",
) -> dict[str, Any] | None:
    """Change the configuration, and let the node follow; None if it is not up.

    Raises:
        HostError: if the host is not what the node wants it to be.
    """
    from meshnode.manage.api_client import NotRunningError, call
    from meshnode.manage.network_config import edit_config

    edit_config(
        directories.config_file(name),
        lambda config: dataclasses.replace(config, exit=change(config.exit)),
    )
    try:
        call(directories, name, "reload")
        state = call(directories, name, "exit")
    except NotRunningError:
        return None
    if not state["isInForce"]:
        reasons = "; ".join(state["health"]) or "the host takes long"
        raise HostError(f"it is not in force: {reasons}; see meshnode exit status")
    return state


def _tell(
    name: str, state: dict[str, Any] | None, as_json: bool, *, hint: bool = True
) -> None:
    if as_json:
        print_json({"network": name, "isUp": state is not None, **(state or {})})
    elif state is None and hint:
        click.echo(f"takes effect when {name} is up: meshnode up {name}", err=True)
    for text in [] if state is None else state["health"]:
        if "exit" in text:
            click.echo(f"warning: {text}", err=True)


def _lines(facts: dict[str, Any]) -> list[str]:
    offers = ", ".join(facts.get("offered", ())) or "as soon as it is up"
    exits = ", ".join(facts["use"]) or "none"
    lines = [
        f"offers       {offers if facts['offers'] else 'no'}",
        f"exits        {exits}",
    ]
    if facts["use"]:
        health = "answers" if facts.get("isHealthy") else "does not answer"
        in_use = f"{facts['inUse']}, {health}" if facts["inUse"] else "none"
        lines += [
            f"in use       {in_use}",
            f"carries      {', '.join(facts.get('routes', ())) or 'nothing'}",
            f"outside      {', '.join(facts['lan']) or 'nothing'}",
        ]
    wanted = "wanted" if facts["killSwitch"] else "not wanted"
    stands = "in force" if facts["isLocked"] else "not in force"
    return [*lines, f"kill switch  {wanted}, {stands}"]
