"""Options that several commands share, and how a passphrase is asked for."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from meshnode.errors import MeshnodeError, UsageError
from meshnode.manage import paths
from meshnode.values import frozen

Function = TypeVar("Function", bound=Callable[..., Any])

_USUAL = paths.Directories.usual()
_KEY_DIR = _USUAL.config / "keys"

MAX_PASSPHRASE = 4096
"""Bytes."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

# Directories may be unreadable: what needs one says so, with the right exit code.
key_dir_option = click.option(
    "--key-dir",
    type=click.Path(path_type=Path, readable=False),
    default=_KEY_DIR,
    envvar="MESHNODE_KEY_DIR",
    show_default=True,
    show_envvar=True,
    help="Where keys are kept.",
)


def _directory(kind: str, default: Path, text: str) -> Callable[[Function], Function]:
    return click.option(
        f"--{kind}-dir",
        type=click.Path(path_type=Path, readable=False),
        default=default,
        envvar=f"MESHNODE_{kind.upper()}_DIR",
        show_default=True,
        show_envvar=True,
        help=text,
    )


def directory_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that move every directory, as the argument *directories*.

    Many nodes can so run on one host whose namespaces share the file system.
    """

    @_directory("config", _USUAL.config, "Where networks are configured.")
    @_directory("state", _USUAL.state, "What must survive a reboot.")
    @_directory("run", _USUAL.run, "What holds until the next boot.")
    @_directory("uapi", _USUAL.uapi, "Where wg finds the sockets of interfaces.")
    @functools.wraps(function)
    def with_directories(
        *args: Any,
        config_dir: Path,
        state_dir: Path,
        run_dir: Path,
        uapi_dir: Path,
        **kwargs: Any,
    ) -> Any:
        found = (config_dir, state_dir, run_dir, uapi_dir)
        directories = paths.Directories(*[path.absolute() for path in found])
        return function(*args, directories=directories, **kwargs)

    return with_directories


def _complete_network(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from meshnode.manage.networks import known_networks

    directory = Path(ctx.params.get("config_dir") or _USUAL.config)
    try:
        names = known_networks(directory)
    except (MeshnodeError, OSError):
        return []  # a shell has no place to show an error
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


network_option = click.option(
    "-n",
    "--network",
    envvar="MESHNODE_NET",
    show_envvar=True,
    shell_complete=_complete_network,
    help="Which network; not needed where there is only one.",
)

network_argument = click.argument(
    "network",
    required=False,
    envvar="MESHNODE_NET",
    metavar="[NET]",
    shell_complete=_complete_network,
)


def _complete_key_name(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from meshnode.manage.keystore import KeyStore

    try:
        names = KeyStore(Path(ctx.params.get("key_dir") or _KEY_DIR)).names()
    except MeshnodeError:
        return []  # a shell has no place to show an error
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def key_name_argument(*, required: bool) -> Callable[[Function], Function]:
    """Return the argument NAME of a key, completed from the key directory."""
    return click.argument("name", required=required, shell_complete=_complete_key_name)


@frozen
class PassphraseSource:
    """Where a passphrase comes from: a file, a descriptor, or the terminal.

    Never the command line, which every user of the host can see.
    """

    file: Path | None
    descriptor: int | None

    def ask(self, *, is_new: bool) -> bytes:
        """Return the passphrase; a new one is typed twice.

        Raises:
            UsageError: if there is none, or no way to ask for one.
        """
        if self.file is not None and self.descriptor is not None:
            raise UsageError("give --passphrase-file or --passphrase-fd, not both")
        if self.file is not None:
            return _read_passphrase(os.open(self.file, os.O_RDONLY | os.O_CLOEXEC))
        if self.descriptor is not None:
            return _read_passphrase(self.descriptor)
        if not sys.stdin.isatty():
            raise UsageError(
                "a passphrase is needed: give --passphrase-file or --passphrase-fd"
            )
        text: str = click.prompt(
            "New passphrase" if is_new else "Passphrase",
            hide_input=True,
            confirmation_prompt=is_new,
            err=True,
        )
        return text.encode()


def _read_passphrase(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        line = file.read(MAX_PASSPHRASE + 2).removesuffix(b"\n")
    if not line:
        raise UsageError("the passphrase is empty")
    if len(line) > MAX_PASSPHRASE or b"\n" in line:
        raise UsageError(f"a passphrase is one line of at most {MAX_PASSPHRASE} bytes")
    return line


def passphrase_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where a passphrase is, as the argument *passphrase*."""

    @click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path),
        envvar="MESHNODE_PASSPHRASE_FILE",
        show_envvar=True,
        help="Read the passphrase from this file.",
    )
    @click.option(
        "--passphrase-fd",
        type=click.IntRange(min=0),
        envvar="MESHNODE_PASSPHRASE_FD",
        show_envvar=True,
        help="Read the passphrase from this open descriptor.",
    )
    @functools.wraps(function)
    def with_source(
        *args: Any,
        passphrase_file: Path | None,
        passphrase_fd: int | None,
        **kwargs: Any,
    ) -> Any:
        source = PassphraseSource(passphrase_file, passphrase_fd)
        return function(*args, passphrase=source, **kwargs)

    return with_source
