"""The tables `[[steer]]` of a network's configuration."""

import re
from typing import Final

from meshnode.codec.names import check_label
from meshnode.errors import ConfigError
from meshnode.hostplan import Service, Transport
from meshnode.manage.config_values import HostPort
from meshnode.manage.toml_reader import Table, prefix, quote, quote_all, text
from meshnode.steering import (
    MAX_DOORS,
    MAX_RULES,
    SteerRule,
    Via,
    ViaDirect,
    ViaExit,
    ViaMesh,
    ViaNowhere,
    ViaProxy,
    normal_name,
)

_VIA_REMEDY: Final = (
    'is not "mesh", "exit:NAME", "socks5://[USER@]HOST:PORT", "http://[USER@]HOST:PORT"'
    ', "direct" or "refuse"'
)
_WORDS: Final[dict[str, Via]] = {
    "mesh": ViaMesh(),
    "direct": ViaDirect(),
    "refuse": ViaNowhere(),
}
_URL: Final = re.compile(r"(http|socks5)://(?:([^/@\s]*)@)?([^/@\s]+)/?")
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"
    r"(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*",
    re.ASCII,
)
_PORTS: Final = re.compile(r"(tcp|udp):([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?", re.ASCII)
_GROUP: Final = re.compile(r"(/[A-Za-z0-9_.:@\\-]+)+", re.ASCII)
_MAX_UID: Final = 2**32 - 2


def read_rules(document: Table) -> tuple[SteerRule, ...]:
    """Return the rules of a whole document, in its order.

    Raises:
        ConfigError: naming the key and the remedy.
    """
    rules = tuple(map(_read_rule, document.tables("steer")))
    if len(rules) > MAX_RULES:
        raise document.error("steer", f"has more than {MAX_RULES} rules: join some")
    doors = {rule.via for rule in rules if isinstance(rule.via, ViaExit | ViaProxy)}
    if len(doors) > MAX_DOORS:
        raise document.error("steer", f"names more than {MAX_DOORS} exits and proxies")
    return rules


def parse_via(word: str) -> Via:
    """Read where a rule sends traffic; raises `ConfigError` that does not repeat it."""
    if word in _WORDS:
        return _WORDS[word]
    kind, colon, name = word.partition(":")
    if kind == "exit" and colon:
        try:
            return ViaExit(check_label(name, "an exit"))
        except ConfigError as error:
            raise ConfigError(f"names no member: {error}") from None
    match = _URL.fullmatch(word)
    if match is None:
        raise ConfigError(_VIA_REMEDY)
    scheme, user, place = match.groups()
    if ":" in (user or ""):
        raise ConfigError("has a password: write it to a file, password_file")
    try:
        found = HostPort.parse(place)
    except ConfigError:
        raise ConfigError(_VIA_REMEDY) from None
    return ViaProxy(scheme, found.host, found.port, user or "")


def rule_section(rule: SteerRule) -> str:
    """Return the section of one rule as it stands in a file."""
    lines = [
        "# Which traffic of this host goes where; the first that fits.",
        "[[steer]]",
    ]
    for key, values in (
        ("to", rule.to),
        ("domains", rule.domains),
        ("ports", tuple(map(port_text, rule.ports))),
        ("users", rule.users),
        ("groups", rule.groups),
    ):
        if values:
            lines.append(f"{key} = {quote_all(values)}")
    lines.append(f"via = {quote(str(rule.via))}")
    if isinstance(rule.via, ViaProxy) and rule.via.password_file:
        lines.append(f"password_file = {quote(rule.via.password_file)}")
    return "\n".join(lines) + "\n"


def port_text(service: Service) -> str:
    """Return ports as they are written, such as `tcp:443` or `udp:1000-2000`."""
    more = "" if service.first == service.last else f"-{service.last}"
    return f"{service.transport.value}:{service.first}{more}"


def _read_rule(table: Table) -> SteerRule:
    word = table.get("via", text, None)
    try:
        via = parse_via(word)
    except ConfigError as error:
        # The reader would show the word, and that may hold a password.
        raise table.error("via", str(error)) from None
    password_file = table.optional("password_file", _absolute)
    if password_file is not None:
        if not isinstance(via, ViaProxy) or not via.user:
            raise table.error("password_file", "needs a proxy with a user")
        via = ViaProxy(via.scheme, via.host, via.port, via.user, password_file)
    rule = SteerRule(
        via,
        to=table.items("to", prefix),
        domains=table.items("domains", _domain),
        ports=table.items("ports", _port),
        users=table.items("users", _user),
        groups=table.items("groups", _group),
    )
    table.finish()
    return rule


def _domain(value: object) -> str:
    name = normal_name(text(value))
    if name.startswith("*."):
        raise ConfigError(f'means all below it anyway; write "{name[2:]}"')
    if not _NAME.fullmatch(name):
        raise ConfigError("is not a name of the DNS")
    return name


def _port(value: object) -> Service:
    match = _PORTS.fullmatch(text(value))
    if match is not None:
        first = int(match[2])
        last = int(match[3] or first)
        if 1 <= first <= last <= 65535:
            return Service(Transport(match[1]), first, last)
    raise ConfigError("is not tcp:PORT, udp:PORT or tcp:FIRST-LAST")


def _user(value: object) -> str:
    word = text(value)
    if word.isascii() and word.isdigit():
        if int(word) > _MAX_UID:
            raise ConfigError("is no user id")
        return str(int(word))
    if not _USER.fullmatch(word):
        raise ConfigError("is no user's name or id")
    return word


def _group(value: object) -> str:
    word = text(value)
    if not _GROUP.fullmatch(word) or ".." in word.split("/"):
        raise ConfigError("is not the path of a control group, such as /user.slice")
    return word


def _absolute(value: object) -> str:
    word = text(value)
    if not word.startswith("/"):
        raise ConfigError("is not an absolute path")
    return word
