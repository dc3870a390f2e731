"""Any configuration is read back as it was written; edits keep what they should."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError
from meshnode.hostplan import Service, Transport
from meshnode.manage.config_text import parse_config, serialise_config
from meshnode.manage.config_values import (
    LOG_LEVELS,
    AnnouncedRoute,
    ExitSettings,
    HostPort,
    NetworkConfig,
    WireguardPeer,
)
from meshnode.manage.network_config import load_config, save_config
from meshnode.offloads import CHOICES, Offloads
from meshnode.steering import (
    SteerRule,
    ViaDirect,
    ViaExit,
    ViaMesh,
    ViaNowhere,
    ViaProxy,
)
from meshnode.types import Prefix

PATH = Path("/etc/meshnode/home.toml")

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
names = st.builds(lambda parts: ".".join([*parts, "example"]), st.lists(labels))
addresses = st.ip_addresses().map(str).filter(lambda text: "%" not in text)
hosts = st.one_of(addresses, names.filter(lambda name: len(name) < 200))
numeric = st.builds(HostPort, addresses, st.integers(1, 65535))
host_ports = st.builds(HostPort, hosts, st.integers(1, 65535))


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    """Any prefix."""
    bits = draw(st.sampled_from([32, 128]))
    length = draw(st.integers(0, bits))
    network = draw(st.integers(0, 2**bits - 1)) >> bits - length << bits - length
    return Prefix(4 if bits == 32 else 6, network, length)


@st.composite
def routes(draw: st.DrawFn) -> AnnouncedRoute:
    """Any announced route; what it is mapped to is as long."""
    prefix = draw(prefixes())
    bits = 32 if prefix.version == 4 else 128
    hosts = bits - prefix.length
    other = draw(st.integers(0, 2**bits - 1)) >> hosts << hosts
    mapped = draw(st.none() | st.just(Prefix(prefix.version, other, prefix.length)))
    return AnnouncedRoute(
        prefix,
        draw(st.integers(0, 65535)),
        draw(st.integers(1, 255)),
        draw(st.booleans()),
        mapped,
    )


peers = st.builds(
    WireguardPeer,
    name=labels,
    public_key=st.binary(min_size=32, max_size=32).map(PublicKey),
    endpoint=st.none() | host_ports,
    allowed_ips=st.lists(prefixes(), max_size=4).map(tuple),
    preshared_key_file=st.none()
    | st.text(min_size=1, max_size=20)
    .filter(str.isprintable)
    .map(lambda text: Path("/keys", text)),
    keepalive=st.integers(0, 65535),
)
lans = st.lists(prefixes().filter(lambda one: one.length > 0), max_size=3).map(tuple)
services = st.builds(
    lambda kind, ends: Service(kind, min(ends), max(ends)),
    st.sampled_from([Transport.TCP, Transport.UDP]),
    st.tuples(st.integers(1, 65535), st.integers(1, 65535)),
)
ways = st.one_of(
    st.sampled_from([ViaMesh(), ViaDirect(), ViaNowhere()]),
    st.builds(ViaExit, labels),
    st.builds(
        lambda scheme, place: ViaProxy(scheme, place.host, place.port),
        st.sampled_from(["socks5", "http"]),
        host_ports,
    ),
    st.builds(
        ViaProxy, st.just("socks5"), st.just("::1"), st.just(1), labels, st.just("/x")
    ),
)
steer_rules = st.builds(
    SteerRule,
    ways,
    to=st.lists(prefixes(), max_size=3).map(tuple),
    domains=st.lists(names.filter(lambda one: len(one) < 200), max_size=2).map(tuple),
    ports=st.lists(services, max_size=2).map(tuple),
    users=st.lists(st.sampled_from(["alice", "0", "www-data"]), max_size=2).map(tuple),
    groups=st.lists(st.sampled_from(["/user.slice", "/a/b@1"]), max_size=2).map(tuple),
)
configs = st.builds(
    NetworkConfig,
    interface=st.from_regex(r"[a-zA-Z0-9_=+.]{1,15}", fullmatch=True).filter(
        lambda name: name not in (".", "..")
    ),
    listen_port=st.integers(0, 65535),
    advertise=st.lists(host_ports, max_size=3).map(tuple),
    mtu=st.integers(1280, 65535),
    table=st.none() | st.integers(1, 2**32 - 1),
    fwmark=st.none() | st.integers(0, 2**32 - 1),
    engine=st.sampled_from(["reference", "fast"]),
    workers=st.integers(1, 16),
    log_level=st.sampled_from(LOG_LEVELS),
    bootstrap=st.lists(host_ports, max_size=3).map(tuple),
    port_mapping=st.booleans(),
    relay=st.booleans(),
    lan_discovery=st.booleans(),
    accept_routes=st.booleans() | st.lists(prefixes(), max_size=3).map(tuple),
    announced=st.lists(routes(), max_size=4, unique_by=lambda r: r.prefix).map(tuple),
    wireguard=st.lists(
        peers, max_size=3, unique_by=(lambda p: p.name, lambda p: p.public_key)
    ).map(tuple),
    metrics=st.none() | numeric,
    offload=st.fixed_dictionaries(
        {key: st.sampled_from(words) for key, words in CHOICES.items()}
    ).map(Offloads.of),
    steer=st.lists(steer_rules, max_size=3).map(tuple),
    exit=st.builds(ExitSettings, offer=st.booleans(), lan=lans)
    | st.builds(
        ExitSettings,
        use=st.lists(labels, min_size=1, max_size=8, unique=True).map(tuple),
        lan=lans,
        kill_switch=st.booleans(),
    ),
).filter(lambda config: not config.exit.use or config.fwmark != 0)


@given(configs)
def test_what_is_written_is_read_back(config: NetworkConfig) -> None:
    """Whatever the values, on every line of it."""
    assert parse_config(serialise_config(config).encode(), PATH) == config


@given(st.lists(configs, min_size=1, max_size=4), st.sampled_from(["", "# ours\n\n"]))
def test_saving_over_anything_means_what_was_saved(
    many: list[NetworkConfig], comment: str
) -> None:
    """A file that went through any number of edits has the last one."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "home.toml")
        path.touch(0o600)
        path.write_text(comment)
        for config in many:
            save_config(path, config)
            assert load_config(path) == config
        assert path.read_text().startswith(comment)


@given(
    st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1"))
)
def test_a_host_and_port_is_canonical(text: str) -> None:
    """What is taken is taken again as it is written, to the same."""
    try:
        found = HostPort.parse(text)
    except ConfigError:
        return
    assert HostPort.parse(str(found)) == found
    assert 1 <= found.port <= 65535
    assert str(found).isascii()
    assert str(found).isprintable()
