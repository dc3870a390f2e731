"""`meshnode key encrypt`, `decrypt` and `rotate`: changes of a key that exists."""

import os
from pathlib import Path

import click

from meshnode.cli.help import examples
from meshnode.cli.options import (
    PassphraseSource,
    key_dir_option,
    key_name_argument,
    passphrase_options,
)
from meshnode.crypto.keys import PrivateKey
from meshnode.errors import ConfigError
from meshnode.manage.keyfile import SealedKey, StoredKey, public_key_of
from meshnode.manage.keygen import new_private_key
from meshnode.manage.keystore import KeyStore


@click.command(epilog=examples("meshnode key encrypt home"))
@key_name_argument(required=True)
@passphrase_options
@key_dir_option
def encrypt(name: str, passphrase: PassphraseSource, key_dir: Path) -> None:
    """Encrypt the private key NAME with a passphrase.

    The clear key is no longer reachable in the directory, but a disk may keep what
    was once written to it: for a key that never lay there in clear, use
    "meshnode key gen NAME --encrypt".
    """
    store = KeyStore(key_dir)
    stored = store.load(name)
    if isinstance(stored, SealedKey):
        raise ConfigError(f"key {name!r} is encrypted already")
    secret = passphrase.ask(is_new=True)
    store.reseal(name, SealedKey.seal(stored, secret, entropy=os.urandom))


@click.command(epilog=examples("meshnode key decrypt home"))
@key_name_argument(required=True)
@passphrase_options
@key_dir_option
def decrypt(name: str, passphrase: PassphraseSource, key_dir: Path) -> None:
    """Take the passphrase off the private key NAME."""
    store = KeyStore(key_dir)
    stored = store.load(name)
    if not isinstance(stored, SealedKey):
        raise ConfigError(f"key {name!r} is not encrypted")
    store.reseal(name, unlock(stored, passphrase))


@click.command(
    epilog=examples("meshnode key rotate home", "meshnode key rotate home --finish")
)
@key_name_argument(required=True)
@click.option("--finish", is_flag=True, help="The new key is in use: drop the old.")
@click.option("--back", is_flag=True, help="Put the old key back, lose the new.")
@passphrase_options
@key_dir_option
def rotate(
    name: str, finish: bool, back: bool, passphrase: PassphraseSource, key_dir: Path
) -> None:
    """Replace the private key NAME by a new one.

    Prints the new public key. The key before stays as NAME.old until the new one is
    in use everywhere. Tell the peers the new public key, then drop the old key with
    --finish; or, if that goes wrong, return to it with --back. An encrypted key is
    followed by one encrypted with the same passphrase.
    """
    if finish and back:
        raise click.UsageError("give --finish or --back, not both")
    store = KeyStore(key_dir)
    if finish:
        store.finish_rotation(name)
    elif back:
        store.undo_rotation(name)
    else:
        store.rotate(name, _successor(store.load(name), passphrase))
    click.echo(str(public_key_of(store.load(name))))


def unlock(stored: StoredKey, passphrase: PassphraseSource) -> PrivateKey:
    """Return the private key, asking for its passphrase if it has one."""
    if isinstance(stored, SealedKey):
        return stored.open(passphrase.ask(is_new=False))
    return stored


def _successor(stored: StoredKey, passphrase: PassphraseSource) -> StoredKey:
    fresh = new_private_key()
    if not isinstance(stored, SealedKey):
        return fresh
    secret = passphrase.ask(is_new=False)
    stored.open(secret)  # a mistyped passphrase must not seal the new key
    return SealedKey.seal(fresh, secret, entropy=os.urandom)
