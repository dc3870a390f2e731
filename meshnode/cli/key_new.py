"""`meshnode key gen`, `pub` and `psk`: make keys."""

import os
from pathlib import Path

import click

from meshnode.cli.help import examples
from meshnode.cli.options import (
    PassphraseSource,
    json_option,
    key_dir_option,
    key_name_argument,
    passphrase_options,
)
from meshnode.cli.output import print_json, print_labelled_secret
from meshnode.cli.wg_keys import public_key_of_input
from meshnode.manage.keyfile import SealedKey, StoredKey, public_key_of
from meshnode.manage.keygen import new_preshared_key, new_private_key
from meshnode.manage.keystore import KeyStore

_force_option = click.option("--force", is_flag=True, help="Overwrite a key.")


@click.command(
    epilog=examples("meshnode key gen home", "meshnode key gen home --encrypt")
)
@key_name_argument(required=False)
@click.option("--encrypt", "is_sealed", is_flag=True, help="Ask for a passphrase.")
@passphrase_options
@_force_option
@json_option
@key_dir_option
def gen(
    name: str | None,
    is_sealed: bool,
    passphrase: PassphraseSource,
    force: bool,
    as_json: bool,
    key_dir: Path,
) -> None:
    """Make a private key NAME; print its public key.

    Without NAME, print the private key instead and keep nothing.
    """
    fresh = new_private_key()
    if name is None:
        _refuse_without_name(is_given=is_sealed or force)
        print_labelled_secret("privateKey", fresh.to_base64(), as_json=as_json)
        return
    stored: StoredKey = fresh
    if is_sealed:
        secret = passphrase.ask(is_new=True)
        stored = SealedKey.seal(fresh, secret, entropy=os.urandom)
    KeyStore(key_dir).save(name, stored, overwrite=force)
    public_key = str(fresh.public_key())
    if as_json:
        print_json({"name": name, "publicKey": public_key})
    else:
        click.echo(public_key)


@click.command(epilog=examples("meshnode key pub home", "meshnode key pub < private"))
@key_name_argument(required=False)
@json_option
@key_dir_option
def pub(name: str | None, as_json: bool, key_dir: Path) -> None:
    """Print the public key of NAME, or of standard input.

    It needs no passphrase.
    """
    if name is None:
        public_key = public_key_of_input()
    else:
        public_key = public_key_of(KeyStore(key_dir).load(name))
    if as_json:
        print_json({"name": name, "publicKey": str(public_key)})
    else:
        click.echo(str(public_key))


@click.command(
    epilog=examples(
        "meshnode key psk home", "meshnode key show home --reveal preshared"
    )
)
@key_name_argument(required=False)
@_force_option
@json_option
@key_dir_option
def psk(name: str | None, force: bool, as_json: bool, key_dir: Path) -> None:
    """Make a preshared key NAME.

    Without NAME, print it instead and keep nothing. Both ends need the same one:
    carry it over by a safe way.
    """
    fresh = new_preshared_key()
    if name is None:
        _refuse_without_name(is_given=force)
        print_labelled_secret("presharedKey", fresh.to_base64(), as_json=as_json)
        return
    KeyStore(key_dir).save_preshared(name, fresh, overwrite=force)
    if as_json:
        print_json({"name": name})


def _refuse_without_name(*, is_given: bool) -> None:
    if is_given:
        raise click.UsageError("--encrypt and --force need a NAME")
