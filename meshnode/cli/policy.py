"""`meshnode policy`: who may talk to whom."""

from typing import Any

import click

from meshnode.cli.ask import ask, read_input
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.manage import paths
from meshnode.manage.networks import known_networks

_SETTINGS = {"help_option_names": ["-h", "--help"]}


@click.group(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode policy check policy.toml", "meshnode policy apply policy.toml"
    ),
)
def policy() -> None:
    """Say who may talk to whom; without a policy everybody may.

    A policy is TOML: rules with from, to and allow, and tests of what it must allow
    and deny, without which no change is put in force by mistake.
    """


@policy.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode policy check policy.toml") + f"\n\n{EXIT_CODES}",
)
@click.argument("file")
@network_option
@directory_options
@json_option
def check(
    file: str, network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """Check the policy in FILE (- for standard input); nothing changes.

    While the node is up its tests are run among the members there are; else only its
    grammar is checked, and that is said.
    """
    text = read_input(file)
    from meshnode.manage.api_client import NotRunningError
    from meshnode.manage.policy_file import check_grammar

    check_grammar(text, file)
    result: dict[str, Any] = {"warnings": [], "testsRun": True}
    try:
        if network is None and not known_networks(directories.config):
            raise NotRunningError("this host is in no network")
        result.update(ask(network, directories, "policy check", text=text))
    except NotRunningError as error:
        result["testsRun"] = False
        if not as_json:
            click.echo(f"the tests were not run: {error}", err=True)
    _show(result, as_json=as_json)


@policy.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode policy apply policy.toml") + f"\n\n{EXIT_CODES}",
)
@click.argument("file")
@network_option
@directory_options
@json_option
def apply(
    file: str, network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """Put the policy in FILE (- for standard input) in force on all members.

    Its tests must hold. This node must be an issuer with the role policy.
    """
    text = read_input(file)
    from meshnode.manage.policy_file import check_grammar

    check_grammar(text, file)
    result = ask(network, directories, "policy apply", text=text)
    _show(result, as_json=as_json)
    if not as_json:
        click.echo(f"policy version {result['version']} is in force")


@policy.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode policy show", "meshnode policy show > policy.toml"),
)
@network_option
@directory_options
@json_option
def show(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Print the policy in force."""
    result = ask(network, directories, "policy show")
    if as_json:
        print_json(result)
    elif not result["version"]:
        click.echo("there is no policy: everybody may talk to everybody", err=True)
    else:
        click.echo(f"# version {result['version']}", err=True)
        click.echo(result["text"], nl=not result["text"].endswith("\n"))


def _show(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        for warning in result["warnings"]:
            click.echo(f"warning: {warning}", err=True)
