"""`meshnode network`: found a network, show it, and list those of this host."""

import click

from meshnode.cli.authority import authority
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.node_options import node_options
from meshnode.cli.options import (
    PassphraseSource,
    directory_options,
    json_option,
    network_option,
    passphrase_options,
)
from meshnode.cli.output import print_json
from meshnode.cli.tables import span, table
from meshnode.errors import UsageError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network, known_networks

_SETTINGS = {"help_option_names": ["-h", "--help"]}


@click.group(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode network create home --cidr 10.77.0.0/16", "meshnode network show"
    ),
)
def network() -> None:
    """Found a network, show it, and list those of this host."""


network.add_command(authority)


@network.command(
    epilog=examples(
        "meshnode network create home --cidr 10.77.0.0/16 "
        "--advertise vpn.example.org:51820",
        "meshnode up home",
    )
    + f"\n\n{EXIT_CODES}",
    context_settings=_SETTINGS,
)
@click.argument("name")
@click.option(
    "--cidr",
    required=True,
    envvar="MESHNODE_CIDR",
    show_envvar=True,
    help="The network's IPv4 prefix; IPv6 addresses follow from its key.",
)
@node_options
@click.option(
    "--route",
    "subnets",
    multiple=True,
    metavar="CIDR",
    help="A prefix that this node may announce; repeatable.",
)
@click.option(
    "--no-passphrase",
    is_flag=True,
    help="Keep the authority's key without a passphrase.",
)
@passphrase_options
@directory_options
@json_option
def create(
    name: str,
    cidr: str,
    node_name: str,
    listen_port: int,
    interface: str | None,
    advertise: tuple[str, ...],
    accept_routes: bool,
    subnets: tuple[str, ...],
    no_passphrase: bool,
    passphrase: PassphraseSource,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Found the network NAME; this host is its first member and its issuer.

    The network's authority is a key of its own, needed only to let others issue
    certificates, to roll over, and to revoke what issuers cannot: move the file
    "authority.key" to a safe place.
    """
    has_source = passphrase.file is not None or passphrase.descriptor is not None
    if no_passphrase and has_source:
        raise UsageError("give a passphrase or --no-passphrase, not both")
    # Signatures and the rest take long to import; --help does without.
    from meshnode.node.founding import FoundingRequest, found

    secret = None if no_passphrase else passphrase.ask(is_new=True)
    request = FoundingRequest(
        network=name,
        cidr=cidr,
        node=node_name,
        listen_port=listen_port,
        interface=interface,
        advertise=advertise,
        accept_routes=accept_routes,
        subnets=subnets,
    )
    founded = found(request, directories, passphrase=secret)
    if as_json:
        print_json(founded)
        return
    click.echo(f"network    {founded['network']} ({founded['cidr']}, {founded['ula']})")
    click.echo(f"this node  {founded['name']}  {founded['ipv4']}  {founded['ipv6']}")
    click.echo(f"authority  {founded['authorityFile']}")
    click.echo(
        f"valid      issuer for {span(founded['issuerSeconds'])}, certificates for "
        f"{span(founded['certificateSeconds'])}; they renew themselves"
    )
    click.echo(f"next       meshnode up {name} && meshnode invite -n {name}", err=True)


@network.command(
    "list", context_settings=_SETTINGS, epilog=examples("meshnode network list")
)
@directory_options
@json_option
def list_networks(directories: paths.Directories, as_json: bool) -> None:
    """List the networks of this host."""
    from meshnode.node.running import is_up

    rows = [
        (name, "up" if is_up(name, directories) else "down")
        for name in known_networks(directories.config)
    ]
    if as_json:
        print_json({"networks": [{"name": n, "isUp": s == "up"} for n, s in rows]})
        return
    for line in table(("NETWORK", "STATE"), rows):
        click.echo(line)


@network.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode network show") + f"\n\n{EXIT_CODES}",
)
@network_option
@directory_options
@json_option
def show(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Show the network's charter: its id, addresses and authorities."""
    from meshnode.node.authority import show_charter

    name = choose_network(network, directories.config)
    result = show_charter(name, directories)
    result.pop("chain")
    if as_json:
        print_json(result)
        return
    lines = [
        ("network", result["network"]),
        ("network id", result["networkId"]),
        ("addresses", result["cidr"]),
        ("charter", f"version {result['version']}"),
        *(("authority", one["key"]) for one in result["authorities"]),
    ]
    width = max(len(label) for label, _ in lines)
    for label, text in lines:
        click.echo(f"{label:{width}}  {text}")
