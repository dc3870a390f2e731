"""`meshnode peer`: WireGuard devices without meshnode, behind members."""

import os
import time
from pathlib import Path
from typing import Any

import click

from meshnode.cli.ask import ask
from meshnode.cli.grants import group_option
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json, print_secret, to_json
from meshnode.cli.spans import SPAN
from meshnode.cli.tables import span, table
from meshnode.errors import MeshnodeError, UsageError
from meshnode.manage import paths

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_KEEPALIVE = 25
_SOME_KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="


class NoSuchDeviceError(MeshnodeError):
    """No device without meshnode has this name."""

    exit_code = 3


@click.group(
    context_settings=_SETTINGS,
    epilog=examples("meshnode peer add phone --wireguard --qr", "meshnode peer list"),
)
def peer() -> None:
    """Let in devices that speak WireGuard but run no meshnode."""


@peer.command(
    context_settings=_SETTINGS,
    epilog=examples(
        "meshnode peer add phone --wireguard --qr",
        "meshnode peer add printer --wireguard --gateway paris --output printer.conf",
        f"meshnode peer add tablet --wireguard --public-key {_SOME_KEY}",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.argument("name")
@click.option(
    "--wireguard", is_flag=True, help="It is a WireGuard device; nothing else is known."
)
@click.option(
    "--gateway",
    "gateways",
    multiple=True,
    metavar="MEMBER",
    help="Who carries it, the first one first; up to three; else this node.",
)
@group_option
@click.option(
    "--lifetime",
    type=SPAN,
    default="365d",
    show_default=True,
    help="How long it is a member; a device does not renew itself.",
)
@click.option(
    "--public-key",
    metavar="KEY",
    help="The device's own public key; else a key is made here.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write the device's file there, readable by you alone; else to standard "
    "output.",
)
@click.option("--qr", is_flag=True, help="Show the file as a QR code, too.")
@network_option
@directory_options
@json_option
def add(
    name: str,
    wireguard: bool,
    gateways: tuple[str, ...],
    groups: tuple[str, ...],
    lifetime: int,
    public_key: str | None,
    output: Path | None,
    qr: bool,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> None:
    """Let the device NAME in, and make its configuration file for wg-quick.

    The file holds the device's secret key, which is kept nowhere else: it goes to
    standard output, or into a new file with --output.
    """
    if not wireguard:
        raise UsageError("say --wireguard: a node of meshnode joins by an invite")
    if output is not None and output.exists():
        raise UsageError(f"{output} is there already")
    from meshnode.crypto.keys import PublicKey
    from meshnode.manage.keygen import new_private_key
    from meshnode.manage.wg_config import serialise_device

    private_key = new_private_key() if public_key is None else None
    key = (
        PublicKey.from_base64(public_key or "")
        if private_key is None
        else private_key.public_key()
    )
    result = ask(
        network,
        directories,
        "peer add",
        name=name,
        key=str(key),
        gateways=list(gateways),
        groups=list(groups),
        lifetime=lifetime,
    )
    endpoints = result["endpoints"]
    text = serialise_device(
        private_key=private_key,
        addresses=tuple(result["addresses"]),
        peer_key=result["peerKey"],
        endpoint=endpoints[0] if endpoints else "",
        allowed_ips=tuple(result["allowedIps"]),
        keepalive=_KEEPALIVE,
    )
    if output is not None:
        _write_secret(output, text)
    if as_json:
        shown = {"file": str(output)} if output is not None else {"config": text}
        print_secret(to_json({**result, "key": str(key), **shown}))
    elif output is None:
        print_secret(text.rstrip("\n"))
    if qr:
        from meshnode.cli.qr import show_qr

        show_qr(text)
    if not endpoints:
        click.echo(
            "warning: nobody knows where the gateway listens: add its Endpoint, or "
            "set advertise there and run this again",
            err=True,
        )


@peer.command(
    "list",
    context_settings=_SETTINGS,
    epilog=examples("meshnode peer list") + f"\n\n{EXIT_CODES}",
)
@network_option
@directory_options
@json_option
def list_peers(
    network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """List the devices without meshnode; "meshnode peers" lists all members."""
    found = _devices(network, directories)
    if as_json:
        print_json({"peers": found})
        return
    if not found:
        click.echo("no devices without meshnode", err=True)
        return
    rows = [
        (
            one["name"],
            one["ipv4"],
            ",".join(one["gateways"]),
            ",".join(one["groups"]) or "-",
            span(max(one["notAfter"] - time.time(), 0)),
        )
        for one in found
    ]
    for line in table(("NAME", "ADDRESS", "BEHIND", "GROUPS", "LEFT"), rows):
        click.echo(line)


@peer.command(
    context_settings=_SETTINGS,
    epilog=examples("meshnode peer remove phone") + f"\n\n{EXIT_CODES}",
)
@click.argument("name")
@network_option
@directory_options
@json_option
def remove(
    name: str, network: str | None, directories: paths.Directories, as_json: bool
) -> None:
    """Throw the device NAME out of the network: its key is revoked for good."""
    if all(one["name"] != name for one in _devices(network, directories)):
        raise NoSuchDeviceError(
            f"no device without meshnode is called {name}: see meshnode peer list; "
            "other members are thrown out by meshnode cert revoke"
        )
    result = ask(network, directories, "cert revoke", member=name, reason="removed")
    if as_json:
        print_json({"name": name, **result})


def _devices(
    network: str | None, directories: paths.Directories
) -> list[dict[str, Any]]:
    result = ask(network, directories, "peers")
    return [one for one in result["peers"] if "stock" in one["roles"]]


def _write_secret(path: Path, text: str) -> None:
    """Write a new file that only we can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
