"""`meshnode status`, `peers` and `routes`: what a node knows."""

import time
from typing import Any

import click

from meshnode.cli.ask import ask
from meshnode.cli.dns import names_line
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_argument
from meshnode.cli.output import print_json
from meshnode.cli.tables import size, span, table
from meshnode.manage import paths

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_NOT_WELL = 1


@click.command(
    epilog=f"{examples('meshnode status', 'meshnode status --check ready')}\n\n"
    f"{EXIT_CODES}",
    context_settings=_SETTINGS,
)
@network_argument
@click.option(
    "--check",
    type=click.Choice(("live", "ready")),
    help="Print nothing; exit 0 if the node runs (live) and has no complaint (ready).",
)
@directory_options
@json_option
def status(
    network: str | None,
    check: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> int:
    """Show how the node of NET is."""
    result = ask(network, directories, "status")
    if check is not None:
        return _NOT_WELL if check == "ready" and result["health"] else 0
    if as_json:
        print_json(result)
        return 0
    left = result["certificate"]["notAfter"] - time.time()
    ends = f"ends in {span(left)}" if left > 0 else f"ended {span(-left)} ago"
    lines = {
        "network": f"{result['network']} ({result['cidr']})",
        "node": f"{result['name']}  {result['ipv4']}  {result['ipv6']}",
        "interface": f"{result['interface']}, MTU {result['mtu']}, "
        f"UDP port {result['port']}, engine {result['engine']}, "
        f"workers {result['workers']}",
        "key": result["key"],
        "certificate": ends,
        "groups": ", ".join(result["groups"]) or "none",
        "roles": ", ".join(result["roles"]) or "none",
        "members": f"{result['members']} known, {result['sessions']} with a session",
        "paths": _paths(result["paths"]),
        "reached at": ", ".join(
            f"{one['endpoint']} ({one['kind']})" for one in result["candidates"]
        )
        or "nowhere known yet",
        "exit": _exit(result["exit"]),
        "policy": f"version {result['policy']}" if result["policy"] else "open",
        "names": f"{result['dns']['domain']}, {names_line(result['dns'])}",
        "offloads": _offloads(result["offload"]),
        "traffic": f"{size(result['receivedBytes'])} in, "
        f"{size(result['sentBytes'])} out",
    }
    width = max(map(len, lines))
    for label, text in lines.items():
        click.echo(f"{label:{width}}  {text}")
    dropped = {reason: count for reason, count in result["drops"].items() if count}
    if dropped:
        text = ", ".join(f"{reason} {count}" for reason, count in dropped.items())
        click.echo(f"{'dropped':{width}}  {text}")
    if result["health"]:
        click.echo("\n# Health")
        for complaint in result["health"]:
            click.echo(f"- {complaint}")
    return 0


def _exit(facts: dict[str, Any]) -> str:
    """Return by whom this host leaves, or that others leave by it."""
    if facts["offers"]:
        return f"offers {', '.join(facts['offered']) or 'nothing'}"
    if not facts["use"]:
        return "none"
    state = "" if facts["isHealthy"] else ", does not answer"
    in_use = f"{facts['inUse']} in use{state}" if facts["inUse"] else "none found"
    lock = "kill switch" if facts["killSwitch"] else "no kill switch"
    return f"{in_use} (of {', '.join(facts['use'])}; {lock})"


def _paths(counts: dict[str, int]) -> str:
    """Return how many members are reached in which way."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"


def _offloads(states: dict[str, dict[str, Any]]) -> str:
    """Return what is used less than in full, and why."""
    limited = [
        f"{key} {one['state']} ({_why(one)})"
        for key, one in states.items()
        if one["state"] != "full"
    ]
    return ", ".join(limited) or "all in use"


def _why(offload: dict[str, Any]) -> str:
    if offload["lowered"]:
        return "the kernel refused more"
    return "configured" if offload["setting"] != "auto" else "not in this kernel"


@click.command(
    epilog=f"{examples('meshnode peers', 'meshnode peers home --active')}\n\n"
    f"{EXIT_CODES}",
    context_settings=_SETTINGS,
)
@network_argument
@click.option("--active", is_flag=True, help="Only those with a session.")
@directory_options
@json_option
def peers(
    network: str | None, active: bool, directories: paths.Directories, as_json: bool
) -> None:
    """List the members of NET, and how we reach each."""
    result = ask(network, directories, "peers")
    found = [one for one in result["peers"] if one["hasSession"] or not active]
    if as_json:
        print_json({**result, "peers": found})
        return
    if not found:
        click.echo("no members but this one; meshnode invite lets others in", err=True)
        return
    # As long as all are sent what everybody is, `meshnode status` has it.
    has_sizes = any(one["mtu"] != result["mtu"] for one in found)
    rows = [
        (
            one["name"],
            one["ipv4"],
            _state(one),
            _place(one),
            _path(one["path"]),
            f"{size(one['receivedBytes'])}/{size(one['sentBytes'])}",
            ",".join(one["groups"]) or "-",
            _routes(one),
            one["cipher"] or "-",
            *([str(one["mtu"])] if has_sizes else []),
        )
        for one in found
    ]
    head = (
        *("NAME", "ADDRESS", "STATE", "ENDPOINT", "PATH", "RX/TX"),
        *("GROUPS", "ROUTES", "CIPHER"),
        *(["MTU"] if has_sizes else []),
    )
    for line in table(head, rows):
        click.echo(line)


def _routes(peer: dict[str, Any]) -> str:
    """Return what a peer announces; that it offers to be an exit is said in words."""
    found = list(peer["routes"])
    if peer["offersExit"]:
        found = [one for one in found if not one.endswith("/0")]
        found.append("exit in use" if peer["isExitInUse"] else "offers exit")
    return ",".join(found) or "-"


def _place(peer: dict[str, Any]) -> str:
    """Return where a peer is, and how we know if that is worth a word."""
    path = peer["path"]
    if path["kind"] == "relayed":
        return f"via {', '.join(path['via']) or 'a relay'}"
    place = peer["endpoint"] or "-"
    return f"{place} (lan)" if peer["endpointKind"] == "lan" else place


def _path(path: dict[str, Any]) -> str:
    """Return the kind of a path, and its round trip if that is known."""
    if path["kind"] == "none":
        return "-"
    measured = f" {path['rttMs']:g}ms" if path["rttMs"] else ""
    return f"{path['kind']}{measured}"


def _state(peer: dict[str, Any]) -> str:
    if peer["hasSession"]:
        return "active"
    if peer["isSilent"]:
        return "silent"
    return "stock" if "stock" in peer["roles"] else "idle"


@click.command(
    epilog=f"{examples('meshnode routes', 'meshnode routes --json')}\n\n{EXIT_CODES}",
    context_settings=_SETTINGS,
)
@network_argument
@directory_options
@json_option
def routes(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """List the prefixes behind members: who owns them, and which way is taken."""
    result = ask(network, directories, "routes")
    if as_json:
        print_json(result)
        return
    rows = [
        (
            one["prefix"],
            owner["name"],
            str(owner["metric"]),
            str(owner["weight"]),
            "yes" if owner["forwards"] else ("no" if owner["healthy"] else "silent"),
            one["state"],
        )
        for one in result["routes"]
        for owner in one["owners"]
    ]
    if not rows:
        click.echo("no prefixes but the network's own", err=True)
        return
    head = ("PREFIX", "BEHIND", "METRIC", "WEIGHT", "IN USE", "HERE")
    for line in table(head, rows):
        click.echo(line)
