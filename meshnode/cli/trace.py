"""`meshnode trace`: what becomes of a packet, and what stands in its way."""

from typing import Any

import click

from meshnode.cli.ask import ask
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.errors import UsageError
from meshnode.manage import paths

_IN_THE_WAY = 1
_EVERYTHING = ("0.0.0.0/0", "::/0")
_port = click.IntRange(1, 65535)


@click.command(
    epilog=examples(
        "meshnode trace paris",
        "meshnode trace 192.168.7.20 --tcp 443",
        "meshnode trace 10.77.0.2 --from laptop --udp 53",
        "meshnode trace 198.51.100.7 --tcp 443 --user alice --domain example.org",
    )
    + f"\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("destination", metavar="DEST")
@click.option(
    "--from",
    "source",
    metavar="SRC",
    help="Who sends: an address or a member; else this node.",
)
@click.option("--tcp", type=_port, metavar="PORT", help="By TCP, to this port.")
@click.option("--udp", type=_port, metavar="PORT", help="By UDP, to this port.")
@click.option("--icmp", is_flag=True, help="By ICMP, as ping does; the default.")
@click.option("--user", metavar="USER", help="Who of this host sends: name or id.")
@click.option("--group", metavar="PATH", help="The sender's control group.")
@click.option("--domain", metavar="NAME", help="The name that DEST was looked up by.")
@network_option
@directory_options
@json_option
def trace(
    destination: str,
    source: str | None,
    tcp: int | None,
    udp: int | None,
    icmp: bool,
    user: str | None,
    group: str | None,
    domain: str | None,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> int:
    """Tell what becomes of a packet to DEST, an address or a member.

    Shows the steering rule it meets if this host sends it, its route, who carries it
    and where that member is, whether the policy lets it in, and what stands in the
    way. Nothing is sent. Exit code 1 means that it would not arrive.
    """
    if (tcp is not None) + (udp is not None) + icmp > 1:
        raise UsageError("give one of --tcp, --udp and --icmp")
    transport = "tcp" if tcp else "udp" if udp else "icmp"
    fields: dict[str, Any] = {"to": destination, "transport": transport}
    if tcp or udp:
        fields["port"] = tcp or udp
    if source is not None and (user or group or domain):
        raise UsageError("--user, --group and --domain are about this host's packets")
    senders = {"from": source, "user": user, "group": group, "domain": domain}
    fields |= {key: word for key, word in senders.items() if word is not None}
    result = ask(network, directories, "trace", **fields)
    if as_json:
        print_json(result)
    else:
        for line in _lines(result):
            click.echo(line)
    return _IN_THE_WAY if result["obstacles"] else 0


def _lines(result: dict[str, Any]) -> list[str]:
    lines = [f"{result['service']} from {result['from']} to {result['to']}"]
    steer = result.get("steer")
    if steer is not None:
        lines.append(f"steered  by rule {steer['rule']}, via {steer['via']}")
    if steer is not None and steer["via"] != "mesh":
        return [*lines, *(f"problem  {text}" for text in result["obstacles"])]
    if result["prefix"] is None:
        lines.append("route    none")
    elif result["isOutside"]:
        lines.append(f"route    {result['prefix']}, outside of the tunnel")
        return lines
    elif result["endsHere"]:
        lines.append(f"route    {result['prefix']}, which is this node's own")
    else:
        lines.append(f"route    {result['prefix']}, MTU {result['mtu']}")
    lines += [f"by       {_owner(owner)}" for owner in result["owners"]]
    if result["prefix"] in _EVERYTHING:
        way = "no other way out" if result["killSwitch"] else "no kill switch"
        lines.append(f"exit     {way}")
    lines.append(f"policy   {result['verdict']}")
    lines += [f"problem  {text}" for text in result["obstacles"]]
    return lines


def _owner(owner: dict[str, Any]) -> str:
    if not owner["weight"]:
        use = "stands by"
    elif not owner["answers"]:
        use = "does not answer"
    else:
        use = "in a session" if owner["hasSession"] else "after a handshake"
    where = f" at {owner['endpoint']}" if owner["endpoint"] else ""
    return (
        f"{owner['name']}{where}, {use} (metric {owner['metric']}, "
        f"weight {owner['weight']})"
    )
