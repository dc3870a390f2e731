"""Read a TOML document strictly: every key is asked for, with the type it must have.

An error names the file, the key's path and what to write instead. Keys that nobody
asked for are refused, with the name that was probably meant.
"""

import difflib
import ipaddress
import json
import tomllib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from meshnode.errors import ConfigError
from meshnode.types import Prefix

Value = TypeVar("Value")

MAX_ITEMS = 4096
"""The most elements of one list; routes of a whole provider are fewer."""

_SHOWN = 60


class Table:
    """One table of a document whose keys are read one by one.

    *source* is the name of the file and *path* that of the table in it, "" for the
    document itself. The functions given to `get` and `items` turn a plain value into
    ours and raise `ValueError` or `ConfigError` with the reason if it cannot be.
    """

    def __init__(self, values: dict[str, Any], source: str, path: str = "") -> None:
        self._values = values
        self._source = source
        self._path = path
        self._asked: list[str] = []

    def has(self, key: str) -> bool:
        """Whether the key is there; asking makes it a known one."""
        self._asked.append(key)
        return key in self._values

    def get(
        self, key: str, read: Callable[[object], Value], default: Value | None
    ) -> Value:
        """Return the value of *key*, or *default*; None for a key that must be there.

        Raises:
            ConfigError: if it is missing or *read* refuses it.
        """
        if self.has(key):
            return self._read(self._name(key), self._values[key], read)
        if default is None:
            raise self.error(key, "is missing")
        return default

    def optional(self, key: str, read: Callable[[object], Value]) -> Value | None:
        """Return the value of *key*, None if it is not there; raises `ConfigError`."""
        if not self.has(key):
            return None
        return self._read(self._name(key), self._values[key], read)

    def items(self, key: str, read: Callable[[object], Value]) -> tuple[Value, ...]:
        """Return the elements of the list *key*, none if it is not there.

        Raises:
            ConfigError: if it is no list, or *read* refuses one.
        """
        plain = self._list(key)
        return tuple(
            self._read(f"{self._name(key)}[{number}]", value, read)
            for number, value in enumerate(plain)
        )

    def table(self, key: str) -> "Table":
        """Return the table *key*, empty if it is not there; raises `ConfigError`."""
        values = self._values[key] if self.has(key) else {}
        return self._table(values, self._name(key))

    def tables(self, key: str) -> list["Table"]:
        """Return the tables `[[key]]`, none if there are none; raises `ConfigError`."""
        return [
            self._table(values, f"{self._name(key)}[{number}]")
            for number, values in enumerate(self._list(key))
        ]

    def finish(self) -> None:
        """Raise `ConfigError` for a key that nobody asked for."""
        for key in self._values:
            if key not in self._asked:
                raise self.error(key, self._unknown(key))

    def error(self, key: str, text: str) -> ConfigError:
        """Return the error that names *key*."""
        return ConfigError(f"{self._source}: {self._name(key)}: {text}")

    def _name(self, key: str) -> str:
        plain = key if key.isascii() and key.isprintable() else _shown(key)
        return f"{self._path}.{plain}" if self._path else plain

    def _unknown(self, key: str) -> str:
        near = difflib.get_close_matches(key, self._asked, n=1)
        if near:
            return f"is no known key; did you mean {near[0]}?"
        return f"is no known key; known here are {', '.join(sorted(set(self._asked)))}"

    def _read(self, name: str, value: Any, read: Callable[[object], Value]) -> Value:
        try:
            return read(value)
        except (ValueError, ConfigError) as error:
            text = f"{self._source}: {name}: {_shown(value)} {error}"
            raise ConfigError(text) from None

    def _list(self, key: str) -> list[Any]:
        values = self._values[key] if self.has(key) else []
        if type(values) is not list:
            raise self.error(key, f"{_shown(values)} is not a list")
        if len(values) > MAX_ITEMS:
            raise self.error(key, f"has more than {MAX_ITEMS} elements")
        return values

    def _table(self, values: Any, name: str) -> "Table":
        if type(values) is not dict:
            raise ConfigError(f"{self._source}: {name}: must be a table")
        return Table(values, self._source, name)


def parse_document(data: bytes, source: str) -> Table:
    """Return the document in *data*, the content of the file called *source*.

    Raises:
        ConfigError: if it is no TOML, with line and column.
    """
    try:
        return Table(tomllib.loads(data.decode()), source)
    except UnicodeDecodeError:
        raise ConfigError(f"{source}: is not UTF-8; restore it from a copy") from None
    except RecursionError:
        raise ConfigError(f"{source}: is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{source}: {' '.join(str(error).split())}") from None


def boolean(value: object) -> bool:
    """Read true or false; raises `ValueError`."""
    if type(value) is not bool:
        raise ValueError("is not true or false")
    return value


def text(value: object) -> str:
    """Read a printable string; raises `ValueError`."""
    if type(value) is not str or not value or not value.isprintable():
        raise ValueError("is not a string of printable characters")
    return value


def integer(least: int, greatest: int) -> Callable[[object], int]:
    """Return what reads an integer in that range, both ends included."""

    def read(value: object) -> int:
        # `type`, not `isinstance`: true is an int, and must not pass for 1.
        if type(value) is not int or not least <= value <= greatest:
            raise ValueError(f"is not a number of {least} to {greatest}")
        return value

    return read


def choice(*words: str) -> Callable[[object], str]:
    """Return what reads one of *words*."""

    def read(value: object) -> str:
        if type(value) is not str or value not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return value

    return read


def prefix(value: object) -> Prefix:
    """Read a prefix; host bits are a mistake more often than meant.

    Raises:
        ConfigError: if it is none.
        ValueError: if it is no string.
    """
    try:
        found = Prefix.parse(text(value))
    except ConfigError:
        raise ConfigError("is not an IP prefix") from None
    if int(ipaddress.ip_interface(str(value)).ip) != found.network:
        raise ConfigError(f'has host bits; write "{found}"')
    return found


def quote_all(values: Iterable[object]) -> str:
    """Return *values*, as they are written, as a TOML list of strings."""
    return f"[{', '.join(quote(str(value)) for value in values)}]"


def quote(value: str) -> str:
    """Return *value* as a TOML string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(map(_escape, escaped)) + '"'


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\U{ord(character):08x}"


def _shown(value: object) -> str:
    """Return *value* on one line, for an error, and not at length."""
    shown = json.dumps(value, default=str)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
