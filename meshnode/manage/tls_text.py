"""The table `[tls]` of a network's configuration, and what a proxy's URL says."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from meshnode.errors import ConfigError
from meshnode.manage.config_values import TLS_PORT, HostPort, TlsSettings
from meshnode.manage.toml_reader import Table, integer, quote, text
from meshnode.values import frozen

ENVIRONMENT: Final = "environment"
_WORDS: Final = ("auto", "off")
_URL: Final = re.compile(r"(http|socks5)://(?:([^/@\s]*)@)?([^/@\s]+)/?")
_REMEDY: Final = (
    "is not http://[USER@]HOST:PORT or socks5://[USER@]HOST:PORT, nor environment"
)


@frozen
class Proxy:
    """Where a proxy is, what it speaks ("http" or "socks5"), and who we are to it."""

    scheme: str
    place: HostPort
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.scheme}://{self.place})"


def parse_proxy(url: str) -> Proxy:
    """Read a proxy's URL; it may hold a password, as in a variable of the environment.

    Raises:
        ConfigError: that does not repeat it.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ConfigError(_REMEDY)
    scheme, who, place = match.groups()
    user, _, password = (who or "").partition(":")
    try:
        return Proxy(scheme, HostPort.parse(place), user, password)
    except ConfigError:
        raise ConfigError(_REMEDY) from None


def read_tls(table: Table) -> TlsSettings:
    """Return what the table says; raises `ConfigError` naming key and remedy."""
    settings = TlsSettings(
        listen=table.get("listen", _listen, "auto"),
        port=table.get("port", integer(1, 65535), TLS_PORT),
        proxy=table.get("proxy", text, ""),
        proxy_password_file=table.optional("proxy_password_file", _absolute),
    )
    _check_proxy(settings, table.error)
    table.finish()
    return settings


def check_tls(
    *, port: int, proxy: str, proxy_password_file: Path | None
) -> TlsSettings:
    """Return the settings that the options of a command name; raises `ConfigError`."""
    settings = TlsSettings(
        port=port, proxy=proxy, proxy_password_file=proxy_password_file
    )
    _check_proxy(
        settings,
        lambda key, text: ConfigError(f"--{key.replace('_', '-')} {text}"),
    )
    return settings


def _check_proxy(
    settings: TlsSettings, error: Callable[[str, str], ConfigError]
) -> None:
    """Refuse a proxy that is none; no message shows it, for it may hold a password."""
    if settings.proxy not in ("", ENVIRONMENT):
        try:
            proxy = parse_proxy(settings.proxy)
        except ConfigError as problem:
            raise error("proxy", str(problem)) from None
        if proxy.password:
            raise error(
                "proxy", "has a password: write it to a file, proxy_password_file"
            )
    if settings.proxy_password_file is not None and "@" not in settings.proxy:
        raise error("proxy_password_file", "needs a proxy with a user")


def tls_section(settings: TlsSettings) -> str:
    """Return the section as it stands in a file; what is as by default is left out."""
    default = TlsSettings()
    lines = ["# The way out where UDP is blocked: TLS, to relays.", "[tls]"]
    if settings.listen != default.listen:
        lines.append(f"listen = {quote(settings.listen)}")
    if settings.port != default.port:
        lines.append(f"port = {settings.port}")
    if settings.proxy:
        lines.append(f"proxy = {quote(settings.proxy)}")
    if settings.proxy_password_file is not None:
        lines.append(
            f"proxy_password_file = {quote(str(settings.proxy_password_file))}"
        )
    return "\n".join(lines) + "\n"


def _listen(value: object) -> str:
    listen = text(value)
    if listen in _WORDS:
        return listen
    try:
        place = HostPort.parse(listen)
        ipaddress.ip_address(place.host)
    except (ConfigError, ValueError):
        raise ConfigError('is not "auto", "off" or ADDRESS:PORT') from None
    return str(place)


def _absolute(value: object) -> Path:
    path = Path(text(value))
    if not path.is_absolute():
        raise ConfigError("is not an absolute path")
    return path
