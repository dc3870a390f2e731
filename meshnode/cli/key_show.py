"""`meshnode key show`, `list` and `rm`: keys that exist."""

from pathlib import Path
from typing import Any

import click

from meshnode.cli.help import examples
from meshnode.cli.key_seal import unlock
from meshnode.cli.options import (
    PassphraseSource,
    json_option,
    key_dir_option,
    key_name_argument,
    passphrase_options,
)
from meshnode.cli.output import print_json, print_labelled_secret
from meshnode.manage.keystore import KeyInfo, KeyStore


@click.command(
    epilog=examples(
        "meshnode key show home",
        "wg set wg0 private-key <(meshnode key show home --reveal private)",
    )
)
@key_name_argument(required=True)
@click.option(
    "--reveal",
    type=click.Choice(["private", "preshared"]),
    help="Print this secret instead, as wg reads it.",
)
@passphrase_options
@json_option
@key_dir_option
def show(
    name: str,
    reveal: str | None,
    passphrase: PassphraseSource,
    as_json: bool,
    key_dir: Path,
) -> None:
    """Show the public key and the state of NAME.

    Of an encrypted key this needs no passphrase; --reveal private does.
    """
    store = KeyStore(key_dir)
    if reveal == "private":
        private_key = unlock(store.load(name), passphrase)
        print_labelled_secret("privateKey", private_key.to_base64(), as_json=as_json)
    elif reveal == "preshared":
        secret = store.load_preshared(name).to_base64()
        print_labelled_secret("presharedKey", secret, as_json=as_json)
    elif as_json:
        print_json(_info_values(store.info(name)))
    else:
        click.echo("\n".join(_info_lines(store.info(name))))


@click.command(epilog=examples("meshnode key list"), name="list")
@json_option
@key_dir_option
def list_keys(as_json: bool, key_dir: Path) -> None:
    """List the keys: name, public key, state."""
    store = KeyStore(key_dir)
    infos = [store.info(name) for name in store.names()]
    if as_json:
        print_json({"keys": [_info_values(info) for info in infos]})
        return
    width = max((len(info.name) for info in infos), default=0)
    for info in infos:
        public_key = str(info.public_key or "(no private key)")
        state = ", ".join(_info_states(info))
        click.echo(f"{info.name:{width}}  {public_key:44}  {state}".rstrip())


@click.command(epilog=examples("meshnode key rm home"))
@key_name_argument(required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@key_dir_option
def rm(name: str, yes: bool, key_dir: Path) -> None:
    """Remove NAME: private, old and preshared key."""
    store = KeyStore(key_dir)
    store.info(name)
    if not yes:
        click.confirm(f"Remove key {name} for good?", abort=True, err=True)
    store.remove(name)


def _info_values(info: KeyInfo) -> dict[str, Any]:
    old = info.old_public_key
    return {
        "name": info.name,
        "publicKey": None if info.public_key is None else str(info.public_key),
        "encrypted": info.is_sealed,
        "rotating": old is not None,
        "oldPublicKey": None if old is None else str(old),
        "presharedKey": info.has_preshared_key,
    }


def _info_states(info: KeyInfo) -> list[str]:
    states = {
        "encrypted": info.is_sealed,
        "rotating": info.old_public_key is not None,
        "preshared key": info.has_preshared_key,
    }
    return [state for state, holds in states.items() if holds]


def _info_lines(info: KeyInfo) -> list[str]:
    lines = [f"key: {info.name}"]
    if info.public_key is not None:
        lines.append(f"  public key: {info.public_key}")
        form = "encrypted" if info.is_sealed else "hidden"
        lines.append(f"  private key: ({form})")
    if info.old_public_key is not None:
        lines.append(f"  old public key: {info.old_public_key}")
        lines.append(
            f"  rotation: under way; when the new key is in use, run: "
            f"meshnode key rotate {info.name} --finish"
        )
    if info.has_preshared_key:
        lines.append("  preshared key: (hidden)")
    return lines
