"""`meshnode genkey`, `pubkey`, `genpsk`: byte for byte what `wg` does."""

import sys

import click

from meshnode.cli.help import examples
from meshnode.cli.output import print_secret
from meshnode.crypto.keys import PublicKey
from meshnode.manage.keygen import (
    new_preshared_key,
    new_private_key,
    public_key_from_text,
)

MAX_INPUT = 65536
"""Bytes that are looked at for a key and the space after it."""


@click.command(epilog=examples("umask 077; meshnode genkey > private"))
def genkey() -> None:
    """Print a new private key, as wg does."""
    print_secret(new_private_key().to_base64())


@click.command(epilog=examples("umask 077; meshnode genpsk > preshared"))
def genpsk() -> None:
    """Print a new preshared key, as wg does."""
    print_secret(new_preshared_key().to_base64())


@click.command(epilog=examples("meshnode pubkey < private > public"))
def pubkey() -> None:
    """Print the public key of the private key on standard input."""
    click.echo(str(public_key_of_input()))


def public_key_of_input() -> PublicKey:
    """Return the public key of the private key on standard input."""
    return public_key_from_text(sys.stdin.buffer.read(MAX_INPUT))
