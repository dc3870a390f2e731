"""The filter language of `meshnode capture`: the words of tcpdump that matter here.

    host 10.7.0.2 and tcp port 443
    not (net 10.7.0.0/16 or icmp) and peer paris
    dropped or relayed

`and` binds closer than `or`; `not`, or "!", closest. Words are those of `_WORDS` and:

    [src | dst] host ADDRESS          [src | dst] net PREFIX
    [tcp | udp] [src | dst] port N    N may be a range: 8000-8099
    proto N       peer NAME           less N, greater N: bytes of the whole packet

A packet without what a word asks for (ports of a later fragment) does not match it.
Unlike tcpdump's, `icmp` means that of both IP versions, and `src host` looks at the
packet and not at who sent it through the tunnel: that is `peer`.
"""

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Final

from meshnode.capture.headers import ICMP, ICMPV6, TCP, UDP
from meshnode.capture.seen import Seen
from meshnode.codec.tap import FORWARDED
from meshnode.errors import UsageError
from meshnode.values import frozen

MAX_FILTER: Final = 4096
"""Characters of a filter."""

MAX_DEPTH: Final = 50
"""Parentheses and negations inside each other."""

Test = Callable[[Seen], bool]

_TOKEN: Final = re.compile(r"[()!]|&&|\|\||[^\s()!&|]+|\S")
_DIRECTIONS: Final = ("src", "dst")
_PROTOCOLS: Final = {"tcp": TCP, "udp": UDP}

_WORDS: Final[dict[str, Test]] = {
    "ip": lambda seen: seen.headers.version == 4,
    "ip6": lambda seen: seen.headers.version == 6,
    "tcp": lambda seen: seen.headers.protocol == TCP,
    "udp": lambda seen: seen.headers.protocol == UDP,
    "icmp": lambda seen: seen.headers.protocol in (ICMP, ICMPV6),
    "in": lambda seen: seen.is_inbound,
    "out": lambda seen: not seen.is_inbound,
    "tunnel": lambda seen: not seen.is_underlay,
    "underlay": lambda seen: seen.is_underlay,
    "dropped": lambda seen: seen.is_dropped,
    "relayed": lambda seen: bool(seen.channel) or seen.verdict == FORWARDED,
}


@frozen
class Filter:
    """A test of packets; `peers` are the names that it speaks of."""

    matches: Test
    peers: tuple[str, ...]


def parse_filter(text: str) -> Filter:
    """Return what *text* means; nothing at all matches everything.

    Raises:
        UsageError: naming the word that cannot be understood.
    """
    if len(text) > MAX_FILTER:
        raise UsageError(f"filter: longer than {MAX_FILTER} characters")
    words = _TOKEN.findall(text)
    parser = _Parser(words)
    test = parser.parse() if words else _everything
    return Filter(test, tuple(parser.peers))


def _everything(seen: Seen) -> bool:
    return True


class _Parser:
    """One pass over the words; each method takes what it understands."""

    def __init__(self, words: list[str]) -> None:
        self.peers: list[str] = []
        self._words = words
        self._at = 0
        self._depth = 0

    def parse(self) -> Test:
        test = self._either()
        if (word := self._peek()) is not None:
            raise _error(word, "is not expected here; join tests with and, or")
        return test

    def _peek(self) -> str | None:
        return self._words[self._at] if self._at < len(self._words) else None

    def _take(self, wanted: str) -> str:
        word = self._peek()
        if word is None:
            raise UsageError(f"filter: ends where {wanted} should be")
        self._at += 1
        return word

    def _accept(self, *words: str) -> str | None:
        """Take the next word if it is one of these."""
        word = self._peek()
        if word not in words:
            return None
        self._at += 1
        return word

    def _either(self) -> Test:
        tests = [self._both()]
        while self._accept("or", "||"):
            tests.append(self._both())
        if len(tests) == 1:
            return tests[0]
        return lambda seen: any(test(seen) for test in tests)

    def _both(self) -> Test:
        tests = [self._negated()]
        while self._accept("and", "&&"):
            tests.append(self._negated())
        if len(tests) == 1:
            return tests[0]
        return lambda seen: all(test(seen) for test in tests)

    def _negated(self) -> Test:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UsageError(f"filter: nested more than {MAX_DEPTH} times")
        try:
            if self._accept("not", "!"):
                test = self._negated()
                return lambda seen: not test(seen)
            if self._accept("("):
                test = self._either()
                closing = self._take('")"')
                if closing != ")":
                    raise _error(closing, 'stands where ")" should')
                return test
            return self._primitive()
        finally:
            self._depth -= 1

    def _primitive(self) -> Test:
        word = self._take("a test")
        if word in _PROTOCOLS and self._peek() in (*_DIRECTIONS, "port"):
            direction = self._accept(*_DIRECTIONS)
            if not self._accept("port"):
                raise _error(self._peek() or word, "stands where port should")
            ports, protocol = self._ports(direction), _PROTOCOLS[word]
            return lambda seen: seen.headers.protocol == protocol and ports(seen)
        if word in _WORDS:
            return _WORDS[word]
        if word in _DIRECTIONS:
            kind = self._take("host, net or port")
            if kind not in ("host", "net", "port"):
                raise _error(kind, f"cannot follow {word}; host, net and port can")
            return self._placed(kind, word)
        if word in ("host", "net", "port"):
            return self._placed(word, None)
        return self._other(word)

    def _placed(self, kind: str, direction: str | None) -> Test:
        return self._ports(direction) if kind == "port" else self._net(kind, direction)

    def _other(self, word: str) -> Test:
        if word == "peer":
            name = self._take("the name of a peer")
            self.peers.append(name)
            return lambda seen: seen.peer == name
        if word == "proto":
            number = self._number("a protocol number", 255)
            return lambda seen: seen.headers.protocol == number
        if word in ("less", "greater"):
            number = self._number("a number of bytes", 2**31)
            if word == "less":
                return lambda seen: seen.length <= number
            return lambda seen: seen.length >= number
        raise _error(word, "is no test; see: meshnode capture --help")

    def _number(self, wanted: str, most: int) -> int:
        word = self._take(wanted)
        if not word.isascii() or not word.isdigit() or int(word) > most:
            raise _error(word, f"is not {wanted} up to {most}")
        return int(word)

    def _ports(self, direction: str | None) -> Test:
        word = self._take("a port")
        first, _, last = word.partition("-")
        numbers = [first, last] if "-" in word else [first, first]
        if not all(n.isascii() and n.isdigit() and int(n) < 65536 for n in numbers):
            raise _error(word, "is no port, and no range such as 8000-8099")
        low, high = map(int, numbers)
        if direction == "src":
            return lambda seen: low <= seen.headers.source_port <= high
        if direction == "dst":
            return lambda seen: low <= seen.headers.destination_port <= high
        return lambda seen: (
            low <= seen.headers.source_port <= high
            or low <= seen.headers.destination_port <= high
        )

    def _net(self, kind: str, direction: str | None) -> Test:
        word = self._take("an address")
        try:
            if kind == "host" and "/" in word:
                raise ValueError
            net = ip_network(word)
        except ValueError:
            example = "address" if kind == "host" else "prefix such as 10.0.0.0/8"
            raise _error(word, f"is no {example}") from None
        size = net.max_prefixlen // 8
        shift = net.max_prefixlen - net.prefixlen
        wanted = int(net.network_address) >> shift

        def is_inside(address: bytes) -> bool:
            if len(address) != size:
                return False
            return int.from_bytes(address) >> shift == wanted

        if direction == "src":
            return lambda seen: is_inside(seen.headers.source)
        if direction == "dst":
            return lambda seen: is_inside(seen.headers.destination)
        return lambda seen: (
            is_inside(seen.headers.source) or is_inside(seen.headers.destination)
        )


def _error(word: str, fault: str) -> UsageError:
    return UsageError(f"filter: {word!r} {fault}")
