"""The proxy that TLS goes through, as configured: its addresses, and our password."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from meshnode.codec.proxies import Credentials
from meshnode.errors import ConfigError, HostError
from meshnode.manage.config_values import TlsSettings
from meshnode.manage.tls_text import ENVIRONMENT, Proxy, parse_proxy
from meshnode.types import Endpoint
from meshnode.values import frozen

_MAX_PASSWORD: Final = 255
_VARIABLES: Final = ("HTTPS_PROXY", "https_proxy")


@frozen
class Way:
    """How servers are reached: through the proxy at these endpoints, or directly."""

    scheme: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    credentials: Credentials = Credentials()

    def __repr__(self) -> str:
        return f"Way({self.scheme!r}, {self.endpoints!r})"


def find_way(settings: TlsSettings, environment: Mapping[str, str] = os.environ) -> Way:
    """Return the way that *settings* name; its name is resolved, which may take long.

    Raises:
        ConfigError: if the environment or the password's file are no good.
        HostError: if the proxy's name cannot be resolved.
    """
    proxy = _proxy_of(settings, environment)
    if proxy is None:
        return Way()
    try:
        answers = socket.getaddrinfo(
            proxy.place.host, proxy.place.port, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        raise HostError(f"cannot resolve the proxy {proxy.place}: {error}") from None
    endpoints = dict.fromkeys(
        Endpoint(str(address[0]).partition("%")[0], int(address[1]))
        for *_, address in answers
    )
    password = proxy.password or read_password(settings.proxy_password_file)
    credentials = Credentials(proxy.user, password)
    return Way(proxy.scheme, tuple(endpoints), credentials)


def _proxy_of(settings: TlsSettings, environment: Mapping[str, str]) -> Proxy | None:
    if settings.proxy != ENVIRONMENT:
        return parse_proxy(settings.proxy) if settings.proxy else None
    for name in _VARIABLES:
        if environment.get(name):
            try:
                return parse_proxy(environment[name])
            except ConfigError as error:
                raise ConfigError(f"{name} {error}") from None
    return None


def read_password(file: Path | None) -> str:
    """Return the password of a proxy that is in *file*, "" without one.

    Raises:
        ConfigError: if it cannot be read, or is longer than SOCKS5 can say.
    """
    if file is None:
        return ""
    try:
        password = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: no password of the proxy: {error}") from None
    if len(password.encode()) > _MAX_PASSWORD:
        raise ConfigError(f"{file}: longer than {_MAX_PASSWORD} bytes")
    return password
