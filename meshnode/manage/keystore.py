"""Named keys in a private directory.

    NAME.key   private key, as `wg` writes it or sealed by a passphrase
    NAME.old   the private key before, from `rotate` until the new one is in use
    NAME.psk   preshared key

While a rotation is under way peers may know either key. `rotate` first gives the old
key its second name and then replaces NAME.key; killed in between, both names lead to
the same file, which the next change tidies up.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from meshnode.crypto.keys import PresharedKey, PublicKey
from meshnode.errors import ConfigError, MeshnodeError
from meshnode.manage.keyfile import (
    SealedKey,
    StoredKey,
    parse_key,
    public_key_of,
    serialise_key,
)
from meshnode.manage.secret_dir import (
    SecretDirectory,
    create_secret_dir,
    open_secret_dir,
)
from meshnode.values import frozen

Value = TypeVar("Value")

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY, _OLD, _PRESHARED = ".key", ".old", ".psk"


class UnknownKeyError(MeshnodeError):
    """There is no key of that name."""

    exit_code = 3


@frozen
class KeyInfo:
    """What can be told of a name without a passphrase.

    `public_key` is None if there is only a preshared key; `old_public_key` is that
    of the key before while a rotation is under way.
    """

    name: str
    public_key: PublicKey | None
    is_sealed: bool
    old_public_key: PublicKey | None
    has_preshared_key: bool


def check_key_name(name: str) -> str:
    """Return *name* if a key can be called so; raises `ConfigError`."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no key name: give 1 to 63 of a-z 0-9 -, no - at the ends"
        )
    return name


class KeyStore:
    """The keys in one directory, which the first key creates.

    Besides the errors each method tells, all raise `ConfigError` for a bad name or
    for files that are not private and ours, `HostError` when the operating system
    refuses, and `UnknownKeyError` for a name that is not there.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory

    def names(self) -> list[str]:
        """Return the sorted names."""
        try:
            with open_secret_dir(self._path, for_change=False) as directory:
                return _names(directory)
        except FileNotFoundError:
            return []

    def info(self, name: str) -> KeyInfo:
        """Return what can be told of *name*."""
        with self._open(name, for_change=False) as directory:
            key = self._read(directory, name + _KEY, parse_key)
            old = None
            if not directory.is_same(name + _KEY, name + _OLD):
                old = self._read(directory, name + _OLD, parse_key)
            has_preshared_key = directory.has(name + _PRESHARED)
        if key is None and not has_preshared_key:
            raise self._unknown(name)
        return KeyInfo(
            name=name,
            public_key=None if key is None else public_key_of(key),
            is_sealed=isinstance(key, SealedKey),
            old_public_key=None if old is None else public_key_of(old),
            has_preshared_key=has_preshared_key,
        )

    def load(self, name: str) -> StoredKey:
        """Return the private key, perhaps sealed."""
        with self._open(name, for_change=False) as directory:
            return self._require(directory, name)

    def load_preshared(self, name: str) -> PresharedKey:
        """Return the preshared key."""
        with self._open(name, for_change=False) as directory:
            key = self._read(directory, name + _PRESHARED, _parse_preshared)
        if key is None:
            raise self._unknown(name)
        return key

    def save(self, name: str, key: StoredKey, *, overwrite: bool) -> None:
        """Store a private key; raises `ConfigError` rather than overwrite unasked."""
        self._write(name, _KEY, serialise_key(key), overwrite=overwrite)

    def save_preshared(self, name: str, key: PresharedKey, *, overwrite: bool) -> None:
        """Store a preshared key; raises `ConfigError` rather than overwrite unasked."""
        text = f"{key.to_base64()}\n".encode()
        self._write(name, _PRESHARED, text, overwrite=overwrite)

    def reseal(self, name: str, key: StoredKey) -> None:
        """Store the same private key in its other form, sealed or in clear.

        Raises:
            ConfigError: if it is another key, or if a rotation is under way, whose
                old key would stay as it was.
        """
        with self._open(name, for_change=True) as directory:
            stored = self._require(directory, name)
            self._refuse_rotating(directory, name)
            if public_key_of(stored) != public_key_of(key):
                raise ConfigError(f"key {name!r} was changed meanwhile; try again")
            directory.replace(name + _KEY, serialise_key(key))

    def rotate(self, name: str, key: StoredKey) -> None:
        """Make *key* the private key and keep the one before as the old one.

        Raises:
            ConfigError: if a rotation is under way already.
        """
        with self._open(name, for_change=True) as directory:
            self._require(directory, name)
            self._refuse_rotating(directory, name)
            directory.link(name + _KEY, name + _OLD)
            directory.replace(name + _KEY, serialise_key(key))

    def finish_rotation(self, name: str) -> None:
        """Remove the old key; raises `ConfigError` if no rotation is under way."""
        with self._open(name, for_change=True) as directory:
            self._require_rotating(directory, name)
            directory.remove(name + _OLD)

    def undo_rotation(self, name: str) -> None:
        """Put the old key back and lose the new one; `ConfigError` as above."""
        with self._open(name, for_change=True) as directory:
            self._require_rotating(directory, name)
            directory.rename(name + _OLD, name + _KEY)

    def remove(self, name: str) -> None:
        """Remove everything of that name."""
        with self._open(name, for_change=True) as directory:
            removed = [directory.remove(name + s) for s in (_OLD, _KEY, _PRESHARED)]
        if not any(removed):
            raise self._unknown(name)

    @contextmanager
    def _open(self, name: str, *, for_change: bool) -> Iterator[SecretDirectory]:
        check_key_name(name)
        try:
            with open_secret_dir(self._path, for_change=for_change) as directory:
                yield directory
        except FileNotFoundError:
            raise self._unknown(name) from None

    def _unknown(self, name: str) -> UnknownKeyError:
        return UnknownKeyError(
            f"no key {name!r} in {self._path}; see: meshnode key list"
        )

    def _read(
        self, directory: SecretDirectory, file: str, parse: Callable[[bytes], Value]
    ) -> Value | None:
        try:
            data = directory.read(file)
        except FileNotFoundError:
            return None
        try:
            return parse(data)
        except ConfigError as error:
            raise ConfigError(f"{self._path / file}: {error}") from None

    def _require(self, directory: SecretDirectory, name: str) -> StoredKey:
        key = self._read(directory, name + _KEY, parse_key)
        if key is None:
            raise self._unknown(name)
        return key

    def _write(self, name: str, suffix: str, data: bytes, *, overwrite: bool) -> None:
        check_key_name(name)
        create_secret_dir(self._path)
        with self._open(name, for_change=True) as directory:
            if overwrite:
                directory.replace(name + suffix, data)
                return
            try:
                directory.create(name + suffix, data)
            except FileExistsError:
                path = self._path / (name + suffix)
                raise ConfigError(f"{path} exists; --force overwrites it") from None

    def _refuse_rotating(self, directory: SecretDirectory, name: str) -> None:
        if directory.is_same(name + _KEY, name + _OLD):
            directory.remove(name + _OLD)  # a rotation that was killed half-way
        if directory.has(name + _OLD):
            raise ConfigError(
                f"a rotation of key {name!r} is under way; end it with: "
                f"meshnode key rotate {name} --finish (or --back)"
            )

    def _require_rotating(self, directory: SecretDirectory, name: str) -> None:
        is_same = directory.is_same(name + _KEY, name + _OLD)
        if is_same or not directory.has(name + _OLD):
            raise ConfigError(f"no rotation of key {name!r} is under way")


def _parse_preshared(data: bytes) -> PresharedKey:
    return PresharedKey.from_base64(data.decode("ascii", "replace"))


def _names(directory: SecretDirectory) -> list[str]:
    stems = {
        stem
        for stem, suffix in map(os.path.splitext, directory.names())
        if suffix in (_KEY, _PRESHARED) and _NAME.fullmatch(stem)
    }
    return sorted(stems)
