"""`meshnode cert`: ask for certificates, issue, show and revoke them."""

import time
from pathlib import Path
from typing import Any

import click

from meshnode.cli.ask import ask, read_input, say
from meshnode.cli.grants import (
    authority_key_option,
    group_option,
    role_option,
    subnet_option,
)
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.node_options import default_name
from meshnode.cli.options import (
    PassphraseSource,
    directory_options,
    json_option,
    network_option,
    passphrase_options,
)
from meshnode.cli.output import print_json
from meshnode.cli.paper_text import paper_lines
from meshnode.cli.spans import SPAN
from meshnode.errors import ConfigError, UsageError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network
from meshnode.types import Prefix

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_REFUSED = 1


@click.group(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode cert request laptop --network-name home > laptop.request",
        "meshnode cert issue laptop.request > laptop.bundle",
        "meshnode join --certificate laptop.bundle",
    ),
)
def cert() -> None:
    """Ask for certificates, issue, show and revoke them.

    Without a connection to the issuer a request is carried there as a file, and a
    bundle back. Neither is secret; the keys never leave their host.
    """


@cert.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode cert request laptop --network-name home > laptop.request")
    + f"\n\n{EXIT_CODES}",
)
@click.argument("name", default=default_name)
@click.option(
    "--network-name",
    required=True,
    metavar="NET",
    help="The name of the network that shall certify this host.",
)
@group_option
@subnet_option
@role_option()
@directory_options
@json_option
def request(
    name: str,
    network_name: str,
    groups: tuple[str, ...],
    subnets: tuple[str, ...],
    roles: tuple[str, ...],
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Make the keys of this host, and print a request for a certificate for NAME.

    NAME is the host's name by default. What groups, routes and roles it asks for is a
    proposal: the issuer grants what it names itself. Asking again uses the same keys.
    """
    from meshnode.manage.papers import make_request

    text = make_request(
        directories.state_dir(network_name),
        network_name,
        name,
        groups=groups,
        subnets=tuple(map(_prefix, subnets)),
        roles=roles,
    )
    if as_json:
        print_json({"name": name, "network": network_name, "request": text})
        return
    click.echo(text, nl=False)
    click.echo(
        "next: meshnode cert issue FILE at an issuer, then here: meshnode join "
        "--certificate BUNDLE",
        err=True,
    )


@cert.command(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode cert issue laptop.request > laptop.bundle",
        "meshnode cert issue - --group staff --lifetime 30d < laptop.request",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.argument("file")
@click.option("--name", default="", help="The member's name; else as the request.")
@group_option
@subnet_option
@role_option("rendezvous", "relay")
@click.option(
    "--lifetime",
    type=SPAN,
    default="365d",
    show_default=True,
    help="How long the certificate lasts; it renews itself.",
)
@network_option
@directory_options
@json_option
def issue(
    file: str,
    name: str,
    groups: tuple[str, ...],
    subnets: tuple[str, ...],
    roles: tuple[str, ...],
    lifetime: int,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Certify the request in FILE (- for standard input), and print a bundle.

    Only what the options name is granted, whatever the request asks for. A request
    does not prove who made it: be sure of where it came from, for example by
    comparing the key that "meshnode cert show" tells on both hosts.
    """
    text = read_input(file)
    result = ask(
        network,
        directories,
        "cert issue",
        request=text,
        name=name,
        groups=list(groups),
        subnets=list(subnets),
        roles=list(roles),
        lifetime=lifetime,
    )
    if as_json:
        print_json(result)
    else:
        click.echo(result["bundle"], nl=False)


@cert.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode cert renew") + f"\n\n{EXIT_CODES}",
)
@network_option
@directory_options
@json_option
def renew(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Ask the issuers for a later certificate now.

    A node does so by itself in the last third of its certificate's life.
    """
    result = ask(network, directories, "cert renew")
    if as_json:
        print_json(result)
    else:
        click.echo('asked; see "meshnode cert show" for the answer', err=True)


@cert.command(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode cert grant paris --route 192.168.7.0/24",
        "meshnode cert grant gate --role exit --route 0.0.0.0/0 --route ::/0",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.argument("member")
@group_option
@subnet_option
@role_option()
@click.option(
    "--lifetime", type=SPAN, default=None, help="How long it lasts; else as before."
)
@network_option
@directory_options
@json_option
def grant(
    member: str,
    groups: tuple[str, ...],
    subnets: tuple[str, ...],
    roles: tuple[str, ...],
    lifetime: int | None,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Certify MEMBER anew, with what it has and these groups, routes and roles.

    The member need not do anything. What it has is never taken away by this.
    """
    if not (groups or subnets or roles or lifetime):
        raise UsageError("say what to grant: --group, --route, --role or --lifetime")
    fields: dict[str, Any] = {} if lifetime is None else {"lifetime": lifetime}
    result = ask(
        network,
        directories,
        "cert grant",
        member=member,
        groups=list(groups),
        subnets=list(subnets),
        roles=list(roles),
        **fields,
    )
    if as_json:
        print_json(result)


@cert.command(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode cert revoke laptop --reason stolen",
        "meshnode cert revoke laptop --authority",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.argument("member", metavar="MEMBER|KEY")
@click.option("--reason", default="revoked", show_default=True, help="For the log.")
@click.option(
    "--authority",
    is_flag=True,
    help="By the authority's key: what another issuer certified, or an issuer itself.",
)
@authority_key_option
@passphrase_options
@network_option
@directory_options
@json_option
def revoke(
    member: str,
    reason: str,
    authority: bool,
    key_file: Path | None,
    passphrase: PassphraseSource,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Throw MEMBER, or who has KEY, out of the network, for good.

    Its keys count for nothing any more on any member that hears of it, which takes
    seconds. To come back it needs new keys and another invite.
    """
    if authority or key_file is not None:
        from meshnode.node.authority import revoke as revoke_by_authority

        name = choose_network(network, directories.config)
        result = revoke_by_authority(
            name,
            directories,
            member,
            reason,
            key_file=key_file,
            passphrase=passphrase,
        )
    else:
        result = ask(network, directories, "cert revoke", member=member, reason=reason)
    if as_json:
        print_json(result)
    else:
        click.echo(f"revoked {result['key']}", err=True)


@cert.command(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode cert show",
        "meshnode cert show paris --json",
        "meshnode cert show ./laptop.request",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.argument("what", metavar="[MEMBER|FILE]", required=False)
@network_option
@directory_options
@json_option
def show(
    what: str | None,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Show a certificate: this node's, a member's, or what a file holds.

    A file is a request, a bundle or an issuer's permission; - is standard input, and
    a name with a slash or a dot is always a file.
    """
    result = _find(what, network, directories)
    if as_json:
        print_json(result)
        return
    for line in paper_lines(result, time.time()):
        click.echo(line)


@cert.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode cert verify laptop.bundle") + f"\n\n{EXIT_CODES}",
)
@click.argument("file")
@directory_options
@json_option
def verify(file: str, directories: paths.Directories, as_json: bool) -> int:
    """Verify the bundle in FILE (- for standard input), from the charter down.

    Exit code 1 means that it is refused, with the reason. That it is of the network
    you mean only the network id tells: compare it with "meshnode network show" there.
    """
    text = read_input(file)
    from meshnode.manage.papers import verify_bundle_text

    try:
        result = verify_bundle_text(text, wall=int(time.time()))
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"isValid": False, "reason": str(error)})
        return _REFUSED
    if as_json:
        print_json({"isValid": True, **result})
    else:
        click.echo(
            f"valid: {result['name']} of {result['network']}, network id "
            f"{result['networkId']}"
        )
    return 0


def _find(
    what: str | None, network: str | None, directories: paths.Directories
) -> dict[str, Any]:
    if what is not None and (what == "-" or _is_file(what)):
        text = read_input(what)
        from meshnode.manage.papers import describe_text

        return describe_text(text)
    from meshnode.manage.api_client import NotRunningError, call
    from meshnode.manage.papers import describe_own

    name = choose_network(network, directories.config)
    fields: dict[str, Any] = {} if what is None else {"member": what}
    try:
        return call(directories, name, "cert show", **fields)
    except NotRunningError:
        if what is not None:
            raise
        say(f"{name} is not up: this is the certificate it began with")
        return describe_own(directories.state_dir(name))


def _is_file(what: str) -> bool:
    # An overlay address has dots, too.
    is_address = all(c in "0123456789abcdef.:" for c in what)
    looks_so = "/" in what or ("." in what and not is_address)
    return (looks_so and not _is_key(what)) or Path(what).is_file()


def _is_key(what: str) -> bool:
    return len(what) == 44 and what.endswith("=") and not Path(what).exists()


def _prefix(text: str) -> Prefix:
    try:
        return Prefix.parse(text)
    except ConfigError as error:
        raise UsageError(str(error)) from None
