"""`meshnode network authority`: whose signature makes issuers."""

from pathlib import Path

import click

from meshnode.cli.ask import say
from meshnode.cli.grants import authority_key_option
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import (
    PassphraseSource,
    directory_options,
    json_option,
    network_option,
    passphrase_options,
)
from meshnode.cli.output import print_json
from meshnode.cli.tables import table
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

_SETTINGS = {"help_option_names": ["-h", "--help"]}


@click.group(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode network authority list",
        "meshnode network authority add",
        "meshnode network authority remove 3fQk",
    ),
)
def authority() -> None:
    """Roll the authority's key over, or have several.

    To replace a key: add another, sign every issuer again by the new one (issuer
    request, sign, install), let the members renew, and remove the old one.
    """


@authority.command(
    "list",
    context_settings=_SETTINGS,
    epilog=examples("meshnode network authority list") + f"\n\n{EXIT_CODES}",
)
@network_option
@directory_options
@json_option
def list_authorities(
    network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """List the authorities, what stands on each, and whose key is on this host."""
    from meshnode.node.authority import list_authorities as find

    name = choose_network(network, directories.config)
    result = find(name, directories)
    result.pop("chain")
    if as_json:
        print_json(result)
        return
    rows = [
        (
            one["key"],
            ",".join(one["issuers"]) or "-",
            str(one["revocations"]),
            one["file"] or "-",
        )
        for one in result["authorities"]
    ]
    for line in table(("AUTHORITY", "ISSUERS", "REVOCATIONS", "KEY HERE"), rows):
        click.echo(line)


@authority.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode network authority add") + f"\n\n{EXIT_CODES}",
)
@authority_key_option
@passphrase_options
@network_option
@directory_options
@json_option
def add(
    key_file: Path | None,
    passphrase: PassphraseSource,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Make another authority's key, and tell all members of it.

    The new key has the passphrase of the old one, if that has any.
    """
    from meshnode.node.authority import add_authority

    name = choose_network(network, directories.config)
    say("opening the authority's key")
    result = add_authority(name, directories, key_file=key_file, passphrase=passphrase)
    if as_json:
        print_json(result)
        return
    click.echo(result["key"])
    click.echo(f"its key is {result['file']}: move it to a safe place", err=True)


@authority.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode network authority remove 3fQk") + f"\n\n{EXIT_CODES}",
)
@click.argument("key")
@click.option(
    "--force",
    "despite",
    is_flag=True,
    help="Even if members stand on it: they are members no more.",
)
@authority_key_option
@passphrase_options
@network_option
@directory_options
@json_option
def remove(
    key: str,
    despite: bool,
    key_file: Path | None,
    passphrase: PassphraseSource,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Let the authority whose KEY begins so be one no more.

    What it signed counts no more, revocations included.
    """
    from meshnode.node.authority import remove_authority

    name = choose_network(network, directories.config)
    say("opening the authority's key")
    result = remove_authority(
        name,
        directories,
        key,
        key_file=key_file,
        passphrase=passphrase,
        despite=despite,
    )
    if as_json:
        print_json(result)
    else:
        click.echo(f"removed {result['key']}", err=True)
