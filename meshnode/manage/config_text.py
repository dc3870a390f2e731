"""A network's configuration as TOML: read strictly, written with a comment a section.

An error names the file, the key and the remedy; nothing of a text with an error is
used.
"""

from collections.abc import Sequence
from pathlib import Path

from meshnode.codec.names import check_label
from meshnode.codec.records import MAX_ROUTES
from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError, UsageError
from meshnode.forwarding import MAX_INNER, MAX_WORKERS
from meshnode.manage.config_values import (
    CIPHER_CHOICES,
    DEFAULT_MTU,
    DEFAULT_PORT,
    LOG_LEVELS,
    AnnouncedRoute,
    DnsSettings,
    ExitSettings,
    HostPort,
    NetworkConfig,
    TlsSettings,
    WireguardPeer,
)
from meshnode.manage.dns_text import dns_section, read_dns
from meshnode.manage.exit_text import exit_section, read_exit
from meshnode.manage.paths import check_interface_name
from meshnode.manage.proxy_text import proxy_section, read_proxies
from meshnode.manage.steer_text import read_rules, rule_section
from meshnode.manage.tls_text import read_tls, tls_section
from meshnode.manage.toml_reader import (
    Table,
    boolean,
    choice,
    integer,
    parse_document,
    prefix,
    quote,
    quote_all,
    text,
)
from meshnode.offloads import AUTO, CHOICES, UNFORCED, Offloads
from meshnode.types import Prefix

_AUTO = "auto"


def parse_config(data: bytes, path: Path) -> NetworkConfig:
    """Return the configuration in *data*, the content of the file *path*.

    Raises:
        ConfigError: naming file, key and remedy.
    """
    document = parse_document(data, str(path))
    node = document.table("node")
    routes = document.table("routes")
    metrics = document.table("metrics")
    config = NetworkConfig(
        interface=node.get("interface", _interface, _default_interface(path.stem)),
        listen_port=node.get("listen_port", integer(0, 65535), DEFAULT_PORT),
        advertise=node.items("advertise", _host_port),
        mtu=node.get("mtu", integer(1280, 65535), DEFAULT_MTU),
        max_mtu=node.get("max_mtu", integer(0, MAX_INNER), 0),
        table=_automatic(node, "table", least=1),
        fwmark=_automatic(node, "fwmark", least=0),
        engine=node.get("engine", choice("reference", "fast"), "reference"),
        cipher=node.get("cipher", choice(*CIPHER_CHOICES), "auto"),
        workers=node.get("workers", integer(1, MAX_WORKERS), 1),
        log_level=node.get("log_level", choice(*LOG_LEVELS), "info"),
        bootstrap=node.items("bootstrap", _host_port),
        port_mapping=node.get("port_mapping", boolean, True),
        lan_discovery=node.get("lan_discovery", boolean, True),
        relay=node.get("relay", boolean, True),
        accept_routes=_accepted(routes),
        announced=tuple(map(_announced, routes.tables("announce"))),
        wireguard=tuple(map(_wireguard_peer, document.tables("wireguard"))),
        metrics=metrics.optional("listen", _numeric_host_port),
        offload=_offloads(document.table("offload")),
        tls=read_tls(document.table("tls")),
        exit=read_exit(document.table("exit")),
        proxies=read_proxies(document),
        dns=read_dns(document.table("dns")),
        steer=read_rules(document),
    )
    if 0 < config.max_mtu < config.mtu:
        raise node.error("max_mtu", f"is less than mtu, {config.mtu}; leave it out")
    if config.exit.use and config.fwmark == 0:
        # Every packet bears that one, and so would pass by the tunnel.
        raise node.error("fwmark", "must not be 0 where an exit is used")
    if len(config.announced) > MAX_ROUTES:
        raise routes.error("announce", f"has more than {MAX_ROUTES} prefixes")
    _refuse_twice(routes, "announce", [route.prefix for route in config.announced])
    _refuse_twice(document, "wireguard", [peer.name for peer in config.wireguard])
    keys = [peer.public_key for peer in config.wireguard]
    _refuse_twice(document, "wireguard", keys)
    for table in (node, routes, metrics, document):
        table.finish()
    return config


def serialise_config(config: NetworkConfig) -> str:
    """Return the text of a file; what is as by default is left out."""
    sections = [_node_section(config)]
    if config.accept_routes is not False:
        sections.append(_routes_section(config.accept_routes))
    sections += map(_announced_section, config.announced)
    sections += map(_wireguard_section, config.wireguard)
    if config.metrics is not None:
        listen = quote(str(config.metrics))
        sections.append(
            f"# Where Prometheus finds the metrics.\n[metrics]\nlisten = {listen}\n"
        )
    if config.offload != UNFORCED:
        sections.append(_offload_section(config.offload))
    if config.tls != TlsSettings():
        sections.append(tls_section(config.tls))
    if config.exit != ExitSettings():
        sections.append(exit_section(config.exit))
    sections += map(proxy_section, config.proxies)
    if config.dns != DnsSettings():
        sections.append(dns_section(config.dns))
    sections += map(rule_section, config.steer)
    return "\n".join(sections)


def _default_interface(network: str) -> str | None:
    """Return the network's name, if an interface can be called so."""
    try:
        return check_interface_name(network)
    except UsageError:
        return None


def _interface(value: object) -> str:
    try:
        return check_interface_name(text(value))
    except UsageError as error:
        raise ConfigError(f"is no interface name ({error})") from None


def _host_port(value: object) -> HostPort:
    return HostPort.parse(text(value))


def _numeric_host_port(value: object) -> HostPort:
    found = _host_port(value)
    if not found.is_numeric:
        raise ConfigError("has a host name; write a numeric address")
    return found


def _automatic(node: Table, key: str, *, least: int) -> int | None:
    """Read `"auto"`, which is None, or a number."""
    number = integer(least, 2**32 - 1)

    def read(value: object) -> int:
        if value == _AUTO:
            return -1
        try:
            return number(value)
        except ValueError as error:
            raise ValueError(f'{error}, nor "{_AUTO}"') from None

    found = node.get(key, read, -1)
    return None if found == -1 else found


def _accepted(routes: Table) -> bool | tuple[Prefix, ...]:
    def read(value: object) -> bool:
        if type(value) is not bool:
            raise ValueError("is not true, false or a list of prefixes")
        return value

    def is_list(value: object) -> bool:
        return type(value) is list

    if routes.get("accept", is_list, False):
        return routes.items("accept", prefix)
    return routes.get("accept", read, False)


def _announced(table: Table) -> AnnouncedRoute:
    route = AnnouncedRoute(
        prefix=table.get("prefix", prefix, None),
        metric=table.get("metric", integer(0, 65535), 100),
        weight=table.get("weight", integer(1, 255), 1),
        masquerade=table.get("masquerade", boolean, True),
        mapped=table.optional("map", prefix),
    )
    table.finish()
    mapped = route.mapped
    if mapped is not None:
        one = (mapped.version, mapped.length)
        if one != (route.prefix.version, route.prefix.length):
            raise table.error(
                "map", f"{mapped} must be as long as prefix, {route.prefix}"
            )
    return route


def _wireguard_peer(table: Table) -> WireguardPeer:
    peer = WireguardPeer(
        name=table.get("name", _label, None),
        public_key=table.get("public_key", _public_key, None),
        endpoint=table.optional("endpoint", _host_port),
        allowed_ips=table.items("allowed_ips", prefix),
        preshared_key_file=table.optional("preshared_key_file", _absolute_path),
        keepalive=table.get("keepalive", integer(0, 65535), 0),
    )
    table.finish()
    return peer


def _offloads(table: Table) -> Offloads:
    values = {key: table.get(key, choice(*CHOICES[key]), AUTO) for key in CHOICES}
    table.finish()
    return Offloads.of(values)


def _label(value: object) -> str:
    try:
        return check_label(text(value), "it")
    except ConfigError as error:
        raise ConfigError(f"is no name: {error}") from None


def _public_key(value: object) -> PublicKey:
    try:
        return PublicKey.from_base64(text(value))
    except ConfigError:
        raise ConfigError("is not a public key as wg shows it") from None


def _absolute_path(value: object) -> Path:
    path = Path(text(value))
    if not path.is_absolute():
        raise ConfigError("is not an absolute path")
    return path


def _refuse_twice(table: Table, key: str, values: Sequence[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise table.error(key, f"{value} is there twice; leave one")
        seen.add(value)


def _node_section(config: NetworkConfig) -> str:
    default = NetworkConfig(config.interface)
    lines = [
        "# The node: its interface, its UDP port, and whom it asks first.",
        "[node]",
        f"interface = {quote(config.interface)}",
        f"listen_port = {config.listen_port}",
    ]
    if config.advertise:
        lines.append(f"advertise = {quote_all(config.advertise)}")
    if config.mtu != default.mtu:
        lines.append(f"mtu = {config.mtu}")
    if config.max_mtu:
        lines.append(f"max_mtu = {config.max_mtu}")
    if config.table is not None:
        lines.append(f"table = {config.table}")
    if config.fwmark is not None:
        lines.append(f"fwmark = {config.fwmark}")
    if config.engine != default.engine:
        lines.append(f"engine = {quote(config.engine)}")
    if config.cipher != default.cipher:
        lines.append(f"cipher = {quote(config.cipher)}")
    if config.workers != default.workers:
        lines.append(f"workers = {config.workers}")
    if config.log_level != default.log_level:
        lines.append(f"log_level = {quote(config.log_level)}")
    if config.bootstrap:
        lines.append(f"bootstrap = {quote_all(config.bootstrap)}")
    if not config.port_mapping:
        lines.append("port_mapping = false")
    if not config.lan_discovery:
        lines.append("lan_discovery = false")
    if not config.relay:
        lines.append("relay = false")
    return "\n".join(lines) + "\n"


def _routes_section(accepted: bool | tuple[Prefix, ...]) -> str:
    value = "true" if accepted is True else "false"
    if isinstance(accepted, tuple):
        value = quote_all(accepted)
    return f"# Which prefixes of others are used.\n[routes]\naccept = {value}\n"


def _announced_section(route: AnnouncedRoute) -> str:
    lines = [
        "# A prefix of our LAN that we carry traffic to.",
        "[[routes.announce]]",
        f"prefix = {quote(str(route.prefix))}",
        f"metric = {route.metric}",
        f"weight = {route.weight}",
        f"masquerade = {str(route.masquerade).lower()}",
    ]
    if route.mapped is not None:
        lines.append(f"map = {quote(str(route.mapped))}")
    return "\n".join(lines) + "\n"


def _wireguard_section(peer: WireguardPeer) -> str:
    lines = [
        "# A WireGuard peer configured by hand.",
        "[[wireguard]]",
        f"name = {quote(peer.name)}",
        f"public_key = {quote(str(peer.public_key))}",
    ]
    if peer.endpoint is not None:
        lines.append(f"endpoint = {quote(str(peer.endpoint))}")
    lines.append(f"allowed_ips = {quote_all(peer.allowed_ips)}")
    if peer.preshared_key_file is not None:
        lines.append(f"preshared_key_file = {quote(str(peer.preshared_key_file))}")
    if peer.keepalive:
        lines.append(f"keepalive = {peer.keepalive}")
    return "\n".join(lines) + "\n"


def _offload_section(offloads: Offloads) -> str:
    lines = ["# What is not used of the kernel's offloads.", "[offload]"]
    for key, value in offloads.settings().items():
        if value != AUTO:
            lines.append(f"{key} = {quote(value)}")
    return "\n".join(lines) + "\n"
