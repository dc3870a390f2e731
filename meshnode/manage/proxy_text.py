"""The tables `[[proxy]]` of a configuration: where applications are served."""

import ipaddress
from pathlib import Path
from typing import Final

from meshnode.codec.names import check_label
from meshnode.errors import ConfigError
from meshnode.manage.toml_reader import Table, choice, quote, quote_all, text
from meshnode.proxy.http_changes import HeaderChanges
from meshnode.proxy.http_rules import RuleBook
from meshnode.types import Endpoint
from meshnode.values import frozen

KINDS: Final = ("mixed", "socks", "http")
MAX_LISTENERS: Final = 32
MAX_EXITS: Final = 8
MAX_RULES: Final = 1000
MAX_HEADERS: Final = 50

_MAX_RULE: Final = 2000
_MAX_HEADER: Final = 1000
_UNIX: Final = "unix:"
_MAX_UNIX_PATH: Final = 107
"""Bytes of a path in `sockaddr_un`, less the NUL."""

_MODES: Final = ("0600", "0660", "0666")
_DEFAULT_MODE: Final = "0600"


@frozen
class ProxyListener:
    """One listener for applications.

    `listen` is an address with a port, or the path of a Unix socket, whose `mode` is
    one of 0600, 0660, 0666 in octal digits. `kind` is one of `KINDS`. `exit` are names
    of members, in order; none: connections leave from this host. `users_file` says who
    may use it, None for everybody who reaches it. `allow` and `deny` are rules for
    hosts and URLs, none for no limit. Fields of HTTP requests are changed by
    `set_headers`, of the form `NAME: VALUE`, and `remove_headers`.
    """

    listen: Endpoint | Path
    kind: str = "mixed"
    exit: tuple[str, ...] = ()
    users_file: Path | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    set_headers: tuple[str, ...] = ()
    remove_headers: tuple[str, ...] = ()
    mode: str = _DEFAULT_MODE

    @property
    def place(self) -> str:
        """Where it is, as it is written and shown."""
        if isinstance(self.listen, Path):
            return f"{_UNIX}{self.listen}"
        return str(self.listen)


def parse_place(listen: str) -> Endpoint | Path:
    """Read where a listener is; raises `ConfigError` if that is no such place."""
    if listen.startswith(_UNIX):
        path = Path(listen.removeprefix(_UNIX))
        if not path.is_absolute() or path.name in ("", "..") or ".." in path.parts:
            raise ConfigError("is not unix: and an absolute path")
        if len(str(path).encode()) > _MAX_UNIX_PATH:
            raise ConfigError(f"is longer than {_MAX_UNIX_PATH} bytes")
        return path
    try:
        return Endpoint.parse(listen)
    except ConfigError:
        raise ConfigError(
            "is not ADDRESS:PORT with a numeric address, nor unix:/PATH"
        ) from None


def is_private(listen: Endpoint | Path) -> bool:
    """Whether only this host can reach a listener there."""
    if isinstance(listen, Path):
        return True
    return ipaddress.ip_address(listen.host).is_loopback


def require_users(listen: Endpoint | Path, users_file: Path | None) -> None:
    """Refuse a listener that others could use; raises `ConfigError`."""
    if users_file is None and not is_private(listen):
        raise ConfigError(
            f"{listen} is no address of loopback, so others could use it: give "
            "users_file"
        )


def read_proxies(document: Table) -> tuple[ProxyListener, ...]:
    """Return the listeners of a document; raises `ConfigError` with key and remedy."""
    listeners = tuple(map(_listener, document.tables("proxy")))
    if len(listeners) > MAX_LISTENERS:
        raise document.error("proxy", f"has more than {MAX_LISTENERS} listeners")
    places = [one.place for one in listeners]
    for place in places:
        if places.count(place) > 1:
            raise document.error("proxy", f"{place} is there twice; leave one")
    return listeners


def _listener(table: Table) -> ProxyListener:
    listener = ProxyListener(
        listen=table.get("listen", lambda value: parse_place(text(value)), None),
        kind=table.get("kind", choice(*KINDS), "mixed"),
        exit=table.items("exit", _member),
        users_file=table.optional("users_file", _file),
        allow=table.items("allow", _rule),
        deny=table.items("deny", _rule),
        set_headers=table.items("set_headers", _set_header),
        remove_headers=table.items("remove_headers", _removed_header),
        mode=table.get("mode", choice(*_MODES), _DEFAULT_MODE),
    )
    table.finish()
    try:
        require_users(listener.listen, listener.users_file)
    except ConfigError as error:
        raise table.error("listen", str(error)) from None
    if len(set(listener.exit)) != len(listener.exit):
        raise table.error("exit", "has a member twice; leave one")
    if len(listener.exit) > MAX_EXITS:
        raise table.error("exit", f"has more than {MAX_EXITS} members")
    if len(listener.allow) + len(listener.deny) > MAX_RULES:
        raise table.error("allow", f"and deny have more than {MAX_RULES} rules")
    changed = listener.set_headers + listener.remove_headers
    if changed and listener.kind == "socks":
        raise table.error("set_headers", "is for HTTP; leave it out with kind socks")
    if len(changed) > MAX_HEADERS:
        raise table.error("set_headers", f"and removed are more than {MAX_HEADERS}")
    if listener.mode != _DEFAULT_MODE and not isinstance(listener.listen, Path):
        raise table.error("mode", "is for a Unix socket; leave it out")
    return listener


def proxy_section(listener: ProxyListener) -> str:
    """Return the section as it stands in a file; what is as by default is left out."""
    default = ProxyListener(listener.listen)
    lines = [
        "# Where applications find a proxy into the mesh.",
        "[[proxy]]",
        f"listen = {quote(listener.place)}",
    ]
    if listener.kind != default.kind:
        lines.append(f"kind = {quote(listener.kind)}")
    if listener.exit:
        lines.append(f"exit = {quote_all(listener.exit)}")
    if listener.users_file is not None:
        lines.append(f"users_file = {quote(str(listener.users_file))}")
    if listener.allow:
        lines.append(f"allow = {quote_all(listener.allow)}")
    if listener.deny:
        lines.append(f"deny = {quote_all(listener.deny)}")
    if listener.set_headers:
        lines.append(f"set_headers = {quote_all(listener.set_headers)}")
    if listener.remove_headers:
        lines.append(f"remove_headers = {quote_all(listener.remove_headers)}")
    if listener.mode != default.mode:
        lines.append(f"mode = {quote(listener.mode)}")
    return "\n".join(lines) + "\n"


def _member(value: object) -> str:
    try:
        return check_label(text(value), "it")
    except ConfigError as error:
        raise ConfigError(f"is no name of a member: {error}") from None


def _rule(value: object) -> str:
    rule = text(value)
    if len(rule) > _MAX_RULE:
        raise ConfigError(f"is longer than {_MAX_RULE} characters")
    RuleBook([rule])
    return rule


def _set_header(value: object) -> str:
    field = _short(value)
    HeaderChanges.parse([field], [])
    return field


def _removed_header(value: object) -> str:
    name = _short(value)
    HeaderChanges.parse([], [name])
    return name


def _short(value: object) -> str:
    field = text(value)
    if len(field) > _MAX_HEADER:
        raise ConfigError(f"is longer than {_MAX_HEADER} characters")
    return field


def _file(value: object) -> Path | None:
    """Read a path; "" is what nobody wrote."""
    if value == "":
        return None
    path = Path(text(value))
    if not path.is_absolute():
        raise ConfigError("is not an absolute path")
    return path
