"""`meshnode key`: make keys and keep them under a name."""

import click

from meshnode.cli.help import examples
from meshnode.cli.lazy import LazyCommand, LazyGroup

_NEW = "meshnode.cli.key_new"
_SHOW = "meshnode.cli.key_show"
_SEAL = "meshnode.cli.key_seal"

_COMMANDS = {
    "gen": LazyCommand(_NEW, "gen", "Make a private key."),
    "pub": LazyCommand(_NEW, "pub", "Print a public key."),
    "psk": LazyCommand(_NEW, "psk", "Make a preshared key."),
    "show": LazyCommand(_SHOW, "show", "Show the public key and the state of a key."),
    "list": LazyCommand(_SHOW, "list_keys", "List the keys."),
    "encrypt": LazyCommand(_SEAL, "encrypt", "Put a passphrase on a private key."),
    "decrypt": LazyCommand(_SEAL, "decrypt", "Take the passphrase off again."),
    "rotate": LazyCommand(_SEAL, "rotate", "Replace a private key by a new one."),
    "rm": LazyCommand(_SHOW, "rm", "Remove a key."),
}


@click.group(
    cls=LazyGroup,
    lazy_commands=_COMMANDS,
    epilog=examples("meshnode key gen home", "meshnode key list"),
)
def key() -> None:
    """Make and keep keys.

    A key has a name and lives in the key directory: NAME.key holds the private key,
    NAME.psk a preshared key, NAME.old the private key before a rotation.
    """
