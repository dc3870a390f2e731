"""Take values out of parsed TOML, and say exactly what is wrong with them.

Pure: text goes in, values come out. Every complaint is one line that names the file,
the key and the remedy: `lan.toml: node[site-a].metrics: unknown key; known here: …`.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_SHARE: Final = re.compile(r"(\d+(?:\.\d+)?) ?%")
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?) ?(kbit|mbit|gbit)")
_BITS: Final = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}

_Kind = TypeVar("_Kind", bool, int, str)


class DescriptionError(ValueError):
    """A topology file cannot be used; the message is one line for its author."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a file: its values, and where they stand.

    `path` is what the table is called in complaints, empty for the whole file.
    """

    source: str
    path: str
    values: Mapping[str, object]

    def wrong(self, key: str, problem: str) -> DescriptionError:
        """Return the error that says *problem* of *key*; an empty key is the table."""
        place = ".".join(part for part in (self.path, key) if part)
        text = ": ".join(part for part in (self.source, place, problem) if part)
        # A quoted key may hold a line break; the complaint stays one line.
        return DescriptionError(text if text.isprintable() else ascii(text))

    def called(self, path: str) -> "Table":
        """Return the same table under a better name for complaints."""
        return Table(self.source, path, self.values)

    def only(self, *known: str) -> None:
        """Refuse keys that are not among *known*.

        Raises:
            DescriptionError: naming the first such key and all known ones.
        """
        for key in self.values:
            if key not in known:
                raise self.wrong(key, f"unknown key; known here: {', '.join(known)}")

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text that is not empty, or *default* if the key is absent.

        Without a default the key must be there. So it is with all readers below.

        Raises:
            DescriptionError: if it is missing or of another type.
        """
        value = self._typed(key, str, 'a text in quotes, like "a"', default)
        if key in self.values and not value:
            raise self.wrong(
                key, "must not be empty; remove the key or give it a value"
            )
        return value

    def flag(self, key: str) -> bool:
        """Return true or false; false if the key is absent."""
        return self._typed(key, bool, "true or false", False)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number from *low* to *high*."""
        value = self._typed(key, int, f"a whole number, {low} to {high}", default)
        if key in self.values and not low <= value <= high:
            raise self.wrong(key, f"{value} is out of range; give {low} to {high}")
        return value

    def name(self, key: str, longest: int) -> str:
        """Return a name of lower-case letters, digits and hyphens within."""
        value = self.text(key)
        if len(value) > longest or not NAME.fullmatch(value):
            raise self.wrong(
                key,
                f"{value!r} is no name; give 1 to {longest} of a-z 0-9 -, "
                "with no hyphen at either end",
            )
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """Return one of *choices*."""
        value = self.text(key)
        if value not in choices:
            raise self.wrong(key, f"{value!r} is none of {', '.join(choices)}")
        return value

    def duration(self, key: str, default: float | None = None) -> float:
        """Return seconds from a text like `20ms`, `1.5s` or `2m`."""
        return self._measure(
            key, _DURATION, _SECONDS, '"20ms", "1.5s" or "2m"', default
        )

    def share(self, key: str) -> float:
        """Return a share from 0 to 1 from a text like `2.5%`; 0 if absent."""
        if key not in self.values:
            return 0.0
        match = _SHARE.fullmatch(self.text(key))
        if match is None or float(match[1]) > 100:
            raise self.wrong(key, 'must be a share like "2.5%", at most 100%')
        return float(match[1]) / 100

    def rate(self, key: str) -> int:
        """Return bits a second from a text like `10mbit`; 0 (no limit) if absent."""
        rate = self._measure(key, _RATE, _BITS, '"512kbit", "10mbit" or "1gbit"', 0)
        if key in self.values and rate < 8000:
            raise self.wrong(key, "is too slow for anything; give at least 8kbit")
        return round(rate)

    def network(self, key: str) -> IPNetwork:
        """Return an IP prefix of either version, without host bits."""
        text = self.text(key)
        try:
            return ipaddress.ip_network(text)
        except ValueError:
            raise self.wrong(
                key, f"{text!r} is no prefix; give ADDRESS/LENGTH without host bits"
            ) from None

    def network_v4(self, key: str) -> ipaddress.IPv4Network:
        """Return an IPv4 prefix."""
        network = self.network(key)
        if not isinstance(network, ipaddress.IPv4Network):
            raise self.wrong(key, f"{network} is not IPv4; give one like 10.1.0.0/24")
        return network

    def network_v6(self, key: str) -> ipaddress.IPv6Network | None:
        """Return an IPv6 prefix, None if the key is absent."""
        if key not in self.values:
            return None
        network = self.network(key)
        if not isinstance(network, ipaddress.IPv6Network):
            raise self.wrong(key, f"{network} is not IPv6; give one like fd01::/64")
        return network

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; empty if the key is absent."""
        items = self._list(key)
        for number, item in enumerate(items, start=1):
            if not isinstance(item, str) or not item:
                raise self.wrong(
                    f"{key}[{number}]", 'must be a text in quotes, like "a"'
                )
        return tuple(str(item) for item in items)

    def table(self, key: str) -> "Table":
        """Return the table under *key*."""
        if key not in self.values:
            raise self.wrong(key, f"is missing; add a table [{key}]")
        return self._as_table(key, self.values[key])

    def tables(self, key: str) -> tuple["Table", ...]:
        """Return a list of tables; empty if the key is absent."""
        return tuple(
            self._as_table(f"{key}[{number}]", item)
            for number, item in enumerate(self._list(key), start=1)
        )

    def mapping(self, key: str) -> Mapping[str, str]:
        """Return a table of texts; empty if the key is absent."""
        if key not in self.values:
            return {}
        table = self.table(key)
        return {name: table.text(name) for name in table.values}

    def _as_table(self, key: str, value: object) -> "Table":
        if not isinstance(value, dict):
            raise self.wrong(key, "must be a table of keys and values")
        path = ".".join(part for part in (self.path, key) if part)
        return Table(self.source, path, value)

    def _list(self, key: str) -> list[object]:
        value = self.values.get(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, f"must be a list in brackets, tables as [[{key}]]")
        return value

    def _measure(
        self,
        key: str,
        pattern: re.Pattern[str],
        units: Mapping[str, float],
        examples: str,
        default: float | None,
    ) -> float:
        if key not in self.values and default is not None:
            return default
        match = pattern.fullmatch(self.text(key))
        if match is None:
            raise self.wrong(key, f"must be a text like {examples}")
        return float(match[1]) * units[match[2]]

    def _typed(
        self, key: str, kind: type[_Kind], wanted: str, default: _Kind | None
    ) -> _Kind:
        if key not in self.values:
            if default is None:
                raise self.wrong(key, f"is missing; give {wanted}")
            return default
        value = self.values[key]
        # bool is an int for Python, not for the author of a file.
        if type(value) is not kind:
            raise self.wrong(key, f"must be {wanted}")
        assert isinstance(value, kind)
        return value
