"""Which hosts and URLs a listener lets its clients reach: lists of allow and deny.

An entry is one of

    *                       every host
    example.org             that name
    *.example.org           all names below it, not itself
    192.0.2.7  10.0.0.0/8   addresses, as far as they are asked for by number
    example.org:8080        any of the above with one port; IPv6 in brackets with it
    http://example.org/x/   plain HTTP to that place, for the path `/x` and all below

**Deny wins**: something passes if no entry of *deny* matches it and, unless *allow* is
empty, an entry of *allow* does. The order of entries means nothing, so lists can be
merged and sorted.

A tunnel (SOCKS, CONNECT) is not looked into. So an URL in *allow* lets no tunnel pass,
and one in *deny* refuses every tunnel to its host and port. Names are not resolved
here: an entry with addresses does not match a name that leads to them.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from meshnode.errors import CodecError, ConfigError
from meshnode.proxy.http_hosts import canonical_host, split_authority
from meshnode.types import Target

HTTP_PORT: Final = 80
_ANY: Final = 0
_SCHEME: Final = "http://"
_Segments = tuple[bytes, ...]


class RuleBook:
    """What is allowed and what is not, compiled; never changed after.

    Who wants other rules makes another book and puts it in the place of this one.
    """

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        """Compile the lists.

        Raises:
            ConfigError: if an entry is none; the text names it.
        """
        self._allow = _compile(allow)
        self._deny = _compile(deny)

    def permits(self, target: Target) -> bool:
        """Say whether a connection to *target* may be made of which no more is known.

        A host that can be none is not permitted.
        """
        try:
            place = (canonical_host(target.host), target.port)
        except CodecError:
            return False
        if self._deny.has_host(place) or place in self._deny.urls:
            return False
        return self._allow.is_empty or self._allow.has_host(place)

    def permits_url(self, target: Target, path: str) -> bool:
        """Say whether plain HTTP to *target* may ask for *path* (with its query).

        A path that servers read in different ways (dot segments, encoded slashes) is
        not permitted where a list has an URL of that host and port.
        """
        try:
            place = (canonical_host(target.host), target.port)
        except CodecError:
            return False
        if self._deny.has_host(place):
            return False
        asks_paths = place in self._deny.urls or place in self._allow.urls
        segments = _segments(path.partition("?")[0]) if asks_paths else ()
        if segments is None or self._deny.has_url(place, segments):
            return False
        return (
            self._allow.is_empty
            or self._allow.has_host(place)
            or self._allow.has_url(place, segments)
        )


class _Matcher:
    """One list, arranged so that a look-up does not depend on its length."""

    def __init__(self) -> None:
        self.is_empty = True
        self.everywhere: set[int] = set()
        self.hosts: dict[str, set[int]] = {}
        self.below: dict[str, set[int]] = {}
        self.networks: dict[tuple[int, int], dict[int, set[int]]] = {}
        self.urls: dict[tuple[str, int], list[_Segments]] = {}

    def has_host(self, place: tuple[str, int]) -> bool:
        host, port = place
        return any(
            _ANY in ports or port in ports
            for ports in (self.everywhere, *self._ports_of(host))
        )

    def has_url(self, place: tuple[str, int], segments: _Segments) -> bool:
        return any(
            segments[: len(known)] == known for known in self.urls.get(place, ())
        )

    def _ports_of(self, host: str) -> Iterable[set[int]]:
        if host in self.hosts:
            yield self.hosts[host]
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            _, dot, rest = host.partition(".")
            while dot:
                if rest in self.below:
                    yield self.below[rest]
                _, dot, rest = rest.partition(".")
            return
        for (version, length), networks in self.networks.items():
            if version == address.version:
                bits = address.max_prefixlen - length
                ports = networks.get(int(address) >> bits)
                if ports:
                    yield ports


def _compile(entries: Iterable[str]) -> _Matcher:
    matcher = _Matcher()
    for entry in entries:
        try:
            _add(matcher, entry)
        except CodecError as error:
            raise ConfigError(
                f"{entry!r} is no host, network or http:// URL: {error}"
            ) from None
        matcher.is_empty = False
    return matcher


def _add(matcher: _Matcher, entry: str) -> None:
    if entry.lower().startswith(_SCHEME):
        _add_url(matcher, entry[len(_SCHEME) :])
        return
    text, port = _split_port(entry)
    if text == "*":
        matcher.everywhere.add(port)
    elif "/" in text:
        _add_network(matcher, text, port)
    elif text.startswith("*."):
        name = canonical_host(text[2:])
        if Target(name, 0).address is not None:
            raise CodecError("addresses are given as ADDRESS/LENGTH")
        matcher.below.setdefault(name, set()).add(port)
    else:
        matcher.hosts.setdefault(canonical_host(text), set()).add(port)


def _split_port(entry: str) -> tuple[str, int]:
    """Take the port off; without brackets all colons of an IPv6 address are its own."""
    bracketed = re.fullmatch(r"\[(?P<text>.*)\](?::(?P<port>[0-9]{1,5}))?", entry)
    plain = re.fullmatch(r"(?P<text>[^:]*):(?P<port>[0-9]{1,5})", entry)
    found = bracketed or plain
    if not found:
        return entry, _ANY
    if found["port"] is None:
        return found["text"], _ANY
    if not 1 <= int(found["port"]) <= 0xFFFF:
        raise CodecError("a port is 1–65535")
    return found["text"], int(found["port"])


def _add_network(matcher: _Matcher, text: str, port: int) -> None:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise CodecError("no network (host bits must be 0)") from None
    bits = network.max_prefixlen - network.prefixlen
    networks = matcher.networks.setdefault((network.version, network.prefixlen), {})
    networks.setdefault(int(network.network_address) >> bits, set()).add(port)


def _add_url(matcher: _Matcher, rest: str) -> None:
    authority, slash, path = rest.partition("/")
    segments = _segments(slash + path)
    if segments is None or "?" in path or "#" in path:
        raise CodecError("a path without query and dot segments is meant")
    place = split_authority(authority, HTTP_PORT)
    matcher.urls.setdefault(place, []).append(segments)


def _segments(path: str) -> _Segments | None:
    """Return the parts of a path, decoded; None if servers would not read it alike."""
    parts: Sequence[bytes] = [unquote_to_bytes(part) for part in path.split("/")]
    for part in parts:
        if part in (b".", b"..") or any(byte in b"/\\\0;" for byte in part):
            return None
    return tuple(part for part in parts if part)
