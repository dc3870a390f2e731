"""`meshnode join`: become a member of a network."""

import sys
from pathlib import Path
from typing import Any

import click

from meshnode.cli.ask import say
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.node_options import node_options
from meshnode.cli.options import directory_options, json_option
from meshnode.cli.output import print_json
from meshnode.cli.rootless import rootless_options
from meshnode.errors import UsageError
from meshnode.manage import paths

MAX_TOKEN_BYTES = 8192


@click.command(
    epilog=examples(
        "meshnode join mn1…",
        "meshnode join --bootstrap vpn.example.org:51820 --invite file:/root/token",
        "ssh founder meshnode invite | meshnode join -",
        "meshnode join mn1… --proxy http://proxy.example.org:3128",
        "meshnode join mn1… --rootless",
    )
    + f"\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("token", required=False)
@click.option(
    "--invite",
    envvar="MESHNODE_INVITE",
    show_envvar=True,
    help="The token, as TOKEN; - reads it from standard input, file:PATH from a file.",
)
@click.option(
    "--certificate",
    type=click.Path(path_type=Path),
    help="A bundle that an issuer signed for this host, in the place of an invite.",
)
@click.option(
    "--bootstrap",
    multiple=True,
    metavar="HOST:PORT",
    envvar="MESHNODE_BOOTSTRAP",
    show_envvar=True,
    help="Where a member of the network listens; repeatable.",
)
@node_options
@click.option(
    "--proxy",
    metavar="URL",
    default="",
    help="Proxy of the way out by TLS: http://[USER@]HOST:PORT or socks5://…, or "
    "environment for HTTPS_PROXY.",
)
@click.option(
    "--proxy-password-file",
    type=click.Path(path_type=Path, resolve_path=True),
    help="Holds the password of the proxy's user.",
)
@click.option(
    "--tls-port",
    type=click.IntRange(1, 65535),
    default=443,
    show_default=True,
    help="TCP port on which members serve TLS where UDP is blocked.",
)
@click.option("--no-up", is_flag=True, help="Do not start the node.")
@rootless_options
@click.option(
    "--timeout",
    type=click.FloatRange(1.0, 3600.0),
    default=30.0,
    show_default=True,
    help="Seconds within which the issuer must answer.",
)
@directory_options
@json_option
def join(
    token: str | None,
    invite: str | None,
    certificate: Path | None,
    bootstrap: tuple[str, ...],
    node_name: str,
    listen_port: int,
    interface: str | None,
    advertise: tuple[str, ...],
    accept_routes: bool,
    proxy: str,
    proxy_password_file: Path | None,
    tls_port: int,
    no_up: bool,
    rootless: Any,
    timeout: float,
    directories: paths.Directories,
    as_json: bool,
) -> int:
    """Join a network by an invite, and start the node.

    The keys of this host are made here and never leave it. Joining again with the
    same token, also after a crash, goes on where it stopped. Other users of the host
    may see a token on the command line for a moment: give it on standard input (-),
    as file:PATH or in MESHNODE_INVITE where that matters. Where UDP gets no answer
    within two seconds, the issuer is reached by TLS on port 443.
    """
    given = [source for source in (token, invite) if source is not None]
    if len(given) + (certificate is not None) > 1:
        raise UsageError("give one of TOKEN, --invite and --certificate")
    # Handshakes and the rest take long to import; --help does without.
    from meshnode.manage.tls_text import check_tls
    from meshnode.node.joiner import JoinOptions, join_by_certificate, join_by_token
    from meshnode.node.network import start_network
    from meshnode.node.running import await_mesh, is_up

    options = JoinOptions(
        bootstrap=bootstrap,
        name=node_name,
        listen_port=listen_port,
        interface=interface,
        advertise=advertise,
        accept_routes=accept_routes,
        timeout=timeout,
        tls=check_tls(
            port=tls_port, proxy=proxy, proxy_password_file=proxy_password_file
        ),
    )
    if given:
        _hide_arguments()
        joined = join_by_token(_read_token(given[0]), options, directories)
    else:
        joined = join_by_certificate(certificate, options, directories)
    if as_json:
        print_json(joined)
    else:
        click.echo(
            f"joined {joined['network']} as {joined['name']}: {joined['ipv4']}  "
            f"{joined['ipv6']}"
        )
    if no_up or is_up(joined["network"], directories):
        return 0
    status = start_network(
        joined["network"], directories, foreground=False, rootless=rootless
    )
    if status == 0:
        say("waiting for the mesh")
        if not await_mesh(joined["network"], directories):
            click.echo(
                "nobody in the mesh has answered yet; the node goes on trying: "
                "meshnode status",
                err=True,
            )
    return status


def _read_token(source: str) -> str:
    if source == "-":
        return sys.stdin.read(MAX_TOKEN_BYTES)
    if source.startswith("file:"):
        with Path(source.removeprefix("file:")).open(encoding="utf-8") as file:
            return file.read(MAX_TOKEN_BYTES)
    return source


def _hide_arguments() -> None:
    """Overwrite our command line, which every user of the host can read."""
    from meshnode.cli.title import hide_arguments

    hide_arguments()
