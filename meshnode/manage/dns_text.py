"""The table `[dns]` of a network's configuration."""

import ipaddress
from typing import Final

from meshnode.errors import ConfigError
from meshnode.hostplan import DnsManager
from meshnode.manage.config_values import DnsSettings
from meshnode.manage.toml_reader import Table, boolean, choice, quote, quote_all, text
from meshnode.types import Endpoint

DNS_PORT: Final = 53
MAX_UPSTREAMS: Final = 8
_MANAGERS: Final = tuple(manager.value for manager in DnsManager)


def read_dns(table: Table) -> DnsSettings:
    """Return what the table says; raises `ConfigError` naming key and remedy."""
    default = DnsSettings()
    settings = DnsSettings(
        resolver=table.get("resolver", boolean, default.resolver),
        manager=DnsManager(
            table.get("manage", choice(*_MANAGERS), default.manager.value)
        ),
        upstream=table.items("upstream", _resolver),
        search=table.get("search", boolean, default.search),
    )
    if len(settings.upstream) > MAX_UPSTREAMS:
        raise table.error("upstream", f"has more than {MAX_UPSTREAMS} resolvers")
    if len(set(settings.upstream)) < len(settings.upstream):
        raise table.error("upstream", "has a resolver twice; leave one")
    table.finish()
    return settings


def dns_section(settings: DnsSettings) -> str:
    """Return the section as it stands in a file; what is as by default is left out."""
    default = DnsSettings()
    lines = ["# The names of the network.", "[dns]"]
    if settings.resolver != default.resolver:
        lines.append(f"resolver = {str(settings.resolver).lower()}")
    if settings.manager != default.manager:
        lines.append(f"manage = {quote(settings.manager.value)}")
    if settings.upstream:
        lines.append(f"upstream = {quote_all(settings.upstream)}")
    if settings.search != default.search:
        lines.append(f"search = {str(settings.search).lower()}")
    return "\n".join(lines) + "\n"


def _resolver(value: object) -> Endpoint:
    """Read `ADDRESS` or `ADDRESS:PORT`; a name could not be looked up."""
    written = text(value)
    try:
        return Endpoint(str(ipaddress.ip_address(written)), DNS_PORT)
    except ValueError:
        pass
    try:
        return Endpoint.parse(written)
    except ConfigError:
        raise ConfigError(
            "is not ADDRESS or ADDRESS:PORT; write [ADDRESS]:PORT for IPv6"
        ) from None
