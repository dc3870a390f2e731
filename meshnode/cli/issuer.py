"""`meshnode issuer`: let other nodes issue certificates."""

from pathlib import Path

import click

from meshnode.cli.ask import read_input, say
from meshnode.cli.grants import ALL_ROLES, authority_key_option
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import (
    PassphraseSource,
    directory_options,
    json_option,
    network_option,
    passphrase_options,
)
from meshnode.cli.output import print_json
from meshnode.cli.spans import SPAN
from meshnode.cli.tables import span
from meshnode.errors import ConfigError, UsageError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network
from meshnode.types import Prefix

_SETTINGS = {"help_option_names": ["-h", "--help"]}


@click.group(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode issuer request > paris.request",
        "meshnode issuer sign paris.request --pool 10.77.8.0/24 > paris.issuer",
        "meshnode issuer install paris.issuer",
    ),
)
def issuer() -> None:
    """Let other nodes issue certificates, within limits.

    A node makes an issuing key and asks; whoever has the authority's key says what
    the node may grant; the node installs that. Signing again for the same key, with
    other limits, replaces them.
    """


@issuer.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode issuer request > paris.request") + f"\n\n{EXIT_CODES}",
)
@network_option
@directory_options
@json_option
def request(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Make an issuing key of this node, and print a request for an authority.

    A node that has an issuing key asks with that one again.
    """
    from meshnode.node.authority import request_issuer

    name = choose_network(network, directories.config)
    text = request_issuer(name, directories)
    if as_json:
        print_json({"network": name, "request": text})
    else:
        click.echo(text, nl=False)


@issuer.command(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode issuer sign paris.request --pool 10.77.8.0/24 > paris.issuer",
        "meshnode issuer sign - --pool 10.77.8.0/24 --group staff --max-lifetime 30d",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.argument("file")
@click.option(
    "--pool",
    "pools",
    multiple=True,
    required=True,
    metavar="CIDR",
    help="Of the network's addresses those it may give; no other issuer's; repeatable.",
)
@click.option(
    "--group", "groups", multiple=True, help="A group it may grant; repeatable."
)
@click.option(
    "--route",
    "subnets",
    multiple=True,
    metavar="CIDR",
    help="A prefix it may let members announce, or any inside it; repeatable.",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(ALL_ROLES),
    default=("rendezvous", "relay"),
    show_default=True,
    help="A role it may grant; with policy it may also set the policy; repeatable.",
)
@click.option(
    "--max-lifetime",
    type=SPAN,
    default="365d",
    show_default=True,
    help="How long its certificates may last.",
)
@click.option(
    "--lifetime",
    type=SPAN,
    default="1825d",
    show_default=True,
    help="How long it may issue; none of its certificates lasts longer.",
)
@authority_key_option
@passphrase_options
@network_option
@directory_options
@json_option
def sign(
    file: str,
    pools: tuple[str, ...],
    groups: tuple[str, ...],
    subnets: tuple[str, ...],
    roles: tuple[str, ...],
    max_lifetime: int,
    lifetime: int,
    key_file: Path | None,
    passphrase: PassphraseSource,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Permit the issuer that asks in FILE (- for standard input), by the authority.

    Prints the permission, to be given to "meshnode issuer install" there.
    """
    text = read_input(file)
    from meshnode.node.authority import Permission, sign_issuer

    permission = Permission(
        pools=tuple(map(_prefix, pools)),
        groups=groups,
        subnets=tuple(map(_prefix, subnets)),
        roles=roles,
        max_lifetime=max_lifetime,
        lifetime=lifetime,
    )
    name = choose_network(network, directories.config)
    say("opening the authority's key")
    signed, facts = sign_issuer(
        name, directories, text, permission, key_file=key_file, passphrase=passphrase
    )
    if as_json:
        print_json({"permission": signed, **facts})
        return
    click.echo(signed, nl=False)
    click.echo(
        f"{facts['name']} may issue for {span(lifetime)}; its certificate needs the "
        f"role, too: meshnode cert grant {facts['name']} --role issuer",
        err=True,
    )


@issuer.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode issuer install paris.issuer") + f"\n\n{EXIT_CODES}",
)
@click.argument("file")
@network_option
@directory_options
@json_option
def install(
    file: str, network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """Let this node issue as the permission in FILE (- for standard input) says."""
    text = read_input(file)
    from meshnode.node.authority import install_issuer

    name = choose_network(network, directories.config)
    facts = install_issuer(name, directories, text)
    if as_json:
        print_json({"network": name, "restartNeeded": True, **facts})
    else:
        click.echo(f"takes effect at the next start: meshnode restart {name}", err=True)


def _prefix(text: str) -> Prefix:
    try:
        return Prefix.parse(text)
    except ConfigError as error:
        raise UsageError(str(error)) from None
