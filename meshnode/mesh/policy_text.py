"""The access policy as people write it: TOML to values, with precise errors.

    default = "deny"

    [[rule]]
    from = ["group:staff", "laptop", "192.168.7.0/24"]
    to = ["group:servers"]
    allow = ["tcp:22", "tcp:8000-8100", "udp:53", "icmp"]

    [[test]]
    from = ["laptop"]
    to = ["db"]
    allow = ["tcp:22"]
    deny = ["tcp:5432"]

Selectors: `*` (everybody), `group:NAME`, a member's name, or a prefix; one selector
needs no list. A service is `any`, `icmp`, `tcp` or `udp`, the last two perhaps with a
port or a range. Names of members and groups are not looked up here: they may come
later than the policy.
"""

import re
import tomllib
from typing import Final

from meshnode.codec.names import check_label
from meshnode.codec.records import (
    MAX_GROUP_BYTES,
    MAX_NAME_BYTES,
    MAX_POLICY_BYTES,
)
from meshnode.errors import ConfigError
from meshnode.hostplan import Service, Transport
from meshnode.types import Prefix
from meshnode.values import frozen

MAX_RULES: Final = 512
"""Rules and tests together: each is compared with every member."""


@frozen
class Everybody:
    """`*`: whatever comes out of the network, or everything a node receives for."""

    def __str__(self) -> str:
        return "*"


@frozen
class InGroup:
    """The members whose certificate has this group."""

    group: str

    def __str__(self) -> str:
        return f"group:{self.group}"


@frozen
class Named:
    """The member with this name."""

    name: str

    def __str__(self) -> str:
        return self.name


Selector = Everybody | InGroup | Named | Prefix


@frozen
class Rule:
    """Let `sources` use these services of `destinations`."""

    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    allow: tuple[Service, ...]


@frozen
class PolicyTest:
    """What a policy must allow and deny, for every source and destination."""

    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    allow: tuple[Service, ...]
    deny: tuple[Service, ...]


@frozen
class AccessPolicy:
    """A whole policy; with `is_open` everything is allowed and there are no rules."""

    is_open: bool
    rules: tuple[Rule, ...] = ()
    tests: tuple[PolicyTest, ...] = ()


OPEN: Final = AccessPolicy(is_open=True)
"""What holds while there is no policy."""

_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*')
_SERVICE = re.compile(r"(tcp|udp)(?::([0-9]{1,5})(?:-([0-9]{1,5}))?)?")


def parse_policy(text: str) -> AccessPolicy:
    """Read a policy; an empty one lets everything through.

    Raises:
        ConfigError: naming the rule or test, the key and the word that is wrong.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_POLICY_BYTES:
        raise ConfigError(f"the policy has more than {MAX_POLICY_BYTES} bytes")
    table = _parse_toml(text)
    _check_keys(table, {"default", "rule", "test"}, "the policy")
    rules = _tables(table, "rule")
    tests = _tables(table, "test")
    if len(rules) + len(tests) > MAX_RULES:
        raise ConfigError(f"the policy has more than {MAX_RULES} rules and tests")
    default = table.get("default", "deny" if rules else "allow")
    if default not in ("allow", "deny"):
        raise ConfigError(f'default: say "allow" or "deny", not {_quoted(default)}')
    if default == "allow" and rules:
        raise ConfigError(
            'default: "allow" lets everything through, so rules would change nothing: '
            'say default = "deny", or remove the rules'
        )
    return AccessPolicy(
        default == "allow",
        tuple(_parse_rule(rule, f"rule {n}") for n, rule in enumerate(rules, 1)),
        tuple(_parse_test(test, f"test {n}") for n, test in enumerate(tests, 1)),
    )


def parse_selector(word: str) -> Selector:
    """Read one selector.

    Raises:
        ConfigError: if it is none.
    """
    if word == "*":
        return Everybody()
    if word.startswith("group:"):
        return InGroup(check_label(word[6:], "the name of a group", MAX_GROUP_BYTES))
    if any(mark in word for mark in "./:"):
        prefix = Prefix.parse(word)
        if "/" in word and Prefix.parse(word.split("/")[0]).network != prefix.network:
            raise ConfigError(f'"{word}" has bits beyond its length: write "{prefix}"')
        return prefix
    return Named(check_label(word, "the name of a member", MAX_NAME_BYTES))


def parse_service(word: str) -> Service:
    """Read one service, such as `tcp:8000-8100`.

    Raises:
        ConfigError: if it is none.
    """
    if word in ("any", "icmp"):
        return Service(Transport(word))
    match = _SERVICE.fullmatch(word)
    if match is None:
        raise ConfigError(
            f"{_quoted(word)} is no service: write tcp:PORT, udp:FIRST-LAST, tcp, "
            "udp, icmp or any"
        )
    transport = Transport(match[1])
    if match[2] is None:
        return Service(transport)
    first, last = int(match[2]), int(match[3] or match[2])
    if not 1 <= first <= last <= 65535:
        raise ConfigError(f'"{word}": ports are 1 to 65535, the lower one first')
    return Service(transport, first, last)


def _parse_toml(text: str) -> dict[str, object]:
    # The language needs no dot outside strings. Dotted keys are refused before the
    # parser sees them, as it takes the square of their number.
    bare = _STRING_OR_COMMENT.sub("", text)
    if "'''" in text or '"""' in text:
        raise ConfigError("the policy may have no strings of several lines")
    if "." in bare:
        line = bare[: bare.index(".")].count("\n") + 1
        raise ConfigError(f"line {line}: a dot outside quotes")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise ConfigError(f"the policy is not TOML: {reason}") from None


def _parse_rule(table: dict[str, object], where: str) -> Rule:
    _check_keys(table, {"from", "to", "allow"}, where)
    rule = Rule(
        _selectors(table, "from", where),
        _selectors(table, "to", where),
        _services(table, "allow", where),
    )
    if not rule.allow:
        raise ConfigError(f"{where}: allow: name a service")
    return rule


def _parse_test(table: dict[str, object], where: str) -> PolicyTest:
    _check_keys(table, {"from", "to", "allow", "deny"}, where)
    test = PolicyTest(
        _selectors(table, "from", where),
        _selectors(table, "to", where),
        _services(table, "allow", where),
        _services(table, "deny", where),
    )
    if not test.allow and not test.deny:
        raise ConfigError(f"{where}: give it a service to allow or to deny")
    return test


def _selectors(table: dict[str, object], key: str, where: str) -> tuple[Selector, ...]:
    words = _words(table, key, where)
    if not words:
        raise ConfigError(f'{where}: {key}: name somebody ("*" is everybody)')
    try:
        return tuple(parse_selector(word) for word in words)
    except ConfigError as error:
        raise ConfigError(f"{where}: {key}: {error}") from None


def _services(table: dict[str, object], key: str, where: str) -> tuple[Service, ...]:
    try:
        return tuple(parse_service(word) for word in _words(table, key, where))
    except ConfigError as error:
        raise ConfigError(f"{where}: {key}: {error}") from None


def _words(table: dict[str, object], key: str, where: str) -> list[str]:
    value = table.get(key, [])
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list):
        raise ConfigError(f"{where}: {key}: write a list of strings")
    for word in words:
        if not isinstance(word, str):
            raise ConfigError(f"{where}: {key}: {_quoted(word)} is no string")
    return words


def _tables(table: dict[str, object], key: str) -> list[dict[str, object]]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ConfigError(f"{key}: begin each with a line [[{key}]]")
    return value


def _check_keys(table: dict[str, object], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            names = ", ".join(sorted(known))
            raise ConfigError(f"{where}: unknown key {_quoted(key)} (known: {names})")


def _quoted(value: object) -> str:
    """Show what was written, in ASCII and at most 40 characters of it."""
    shown = ascii(value)[1:-1] if isinstance(value, str) else ascii(value)
    return f'"{shown[:40]}"'
