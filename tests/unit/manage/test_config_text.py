"""The text of a configuration: every key, and what an error about it says."""

from pathlib import Path

import pytest

from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError
from meshnode.manage.config_text import parse_config, serialise_config
from meshnode.manage.config_values import (
    AnnouncedRoute,
    HostPort,
    NetworkConfig,
    WireguardPeer,
)
from meshnode.offloads import Offloads
from meshnode.types import Prefix

PATH = Path("/etc/meshnode/home.toml")
KEY = PublicKey(b"\x01" * 32)
OTHER_KEY = PublicKey(b"\x02" * 32)

WHOLE = f"""
[node]
interface = "wg7"
listen_port = 0
advertise = ["vpn.example.org:51820", "[2001:db8::1]:1"]
mtu = 9000
max_mtu = 65455
table = 77
fwmark = 0
engine = "fast"
cipher = "chacha20-poly1305"
workers = 4
log_level = "debug"
bootstrap = ["192.0.2.1:51820"]
port_mapping = false
lan_discovery = false
relay = false

[routes]
accept = ["10.0.0.0/8", "fd00::/8"]

[[routes.announce]]
prefix = "10.1.0.0/24"
metric = 5
weight = 2
masquerade = false
map = "192.168.1.0/24"

[[routes.announce]]
prefix = "0.0.0.0/0"

[[wireguard]]
name = "phone"
public_key = "{KEY}"
endpoint = "192.0.2.9:1"
allowed_ips = ["10.9.0.0/16"]
preshared_key_file = "/etc/meshnode/keys/phone.psk"
keepalive = 25

[[wireguard]]
name = "tablet"
public_key = "{OTHER_KEY}"

[metrics]
listen = "127.0.0.1:9105"

[offload]
udp-segmentation = "whole"
udp-coalescing = "off"
tun-tcp = "auto"
tun-udp = "off"
"""

EXPECTED = NetworkConfig(
    interface="wg7",
    listen_port=0,
    advertise=(HostPort("vpn.example.org", 51820), HostPort("2001:db8::1", 1)),
    mtu=9000,
    max_mtu=65455,
    table=77,
    fwmark=0,
    engine="fast",
    cipher="chacha20-poly1305",
    workers=4,
    log_level="debug",
    bootstrap=(HostPort("192.0.2.1", 51820),),
    port_mapping=False,
    lan_discovery=False,
    relay=False,
    accept_routes=(Prefix.parse("10.0.0.0/8"), Prefix.parse("fd00::/8")),
    announced=(
        AnnouncedRoute(
            Prefix.parse("10.1.0.0/24"), 5, 2, False, Prefix.parse("192.168.1.0/24")
        ),
        AnnouncedRoute(Prefix.parse("0.0.0.0/0")),
    ),
    wireguard=(
        WireguardPeer(
            "phone",
            KEY,
            HostPort("192.0.2.9", 1),
            (Prefix.parse("10.9.0.0/16"),),
            Path("/etc/meshnode/keys/phone.psk"),
            25,
        ),
        WireguardPeer("tablet", OTHER_KEY),
    ),
    metrics=HostPort("127.0.0.1", 9105),
    offload=Offloads(udp_segmentation="whole", udp_coalescing="off", tun_udp="off"),
)


def parse(text: str, path: Path = PATH) -> NetworkConfig:
    """The configuration in *text*."""
    return parse_config(text.encode(), path)


def test_every_key_is_read() -> None:
    """A file with everything in it, and what is not said is as by default."""
    assert parse(WHOLE) == EXPECTED


def test_an_empty_file_is_all_defaults() -> None:
    """Only the interface comes from elsewhere: the network's name."""
    config = parse("")
    assert config == NetworkConfig("home")
    assert (config.listen_port, config.mtu, config.table) == (51820, 1420, None)
    assert config.accept_routes is False


def test_auto_is_the_default() -> None:
    """It can be written out."""
    assert parse('[node]\ntable = "auto"\nfwmark = "auto"\n') == parse("")


def test_the_interface_must_be_named_if_the_network_cannot_lend_its_name() -> None:
    """An interface has at most 15 characters."""
    path = Path("/etc/meshnode/a-rather-long-name.toml")
    with pytest.raises(ConfigError, match=r"node\.interface: is missing"):
        parse("", path)
    assert parse('[node]\ninterface = "wg0"', path).interface == "wg0"


@pytest.mark.parametrize("accept", ["true", "false", "[]", '["10.0.0.0/8"]'])
def test_routes_are_accepted_all_none_or_some(accept: str) -> None:
    """An empty list is none, and stays a list."""
    found = parse(f"[routes]\naccept = {accept}\n").accept_routes
    assert (
        found
        == {
            "true": True,
            "false": False,
            "[]": (),
            '["10.0.0.0/8"]': (Prefix.parse("10.0.0.0/8"),),
        }[accept]
    )


def test_what_is_written_is_read_back() -> None:
    """With everything, and with nothing, and a comment above each section."""
    for config in (EXPECTED, NetworkConfig("home"), NetworkConfig("home", mtu=1280)):
        written = serialise_config(config)
        assert parse(written) == config
        lines = written.splitlines()
        for number, line in enumerate(lines):
            if line.startswith("["):
                assert lines[number - 1].startswith("# ")


def test_defaults_are_not_written() -> None:
    """So that a later version's defaults count."""
    written = serialise_config(NetworkConfig("home"))
    for word in (
        *("mtu", "engine", "workers", "table", "routes", "metrics", "offload"),
    ):
        assert word not in written


ANNOUNCE = '[[routes.announce]]\nprefix = "10.0.0.0/24"\n'
PEER = f'[[wireguard]]\nname = "a"\npublic_key = "{KEY}"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[routes.announce]]\nprefix = "10.0.0.0/33"',
            'routes.announce[0].prefix: "10.0.0.0/33" is not an IP prefix',
        ),
        (
            '[[routes.announce]]\nprefix = "10.0.0.1/24"',
            'routes.announce[0].prefix: "10.0.0.1/24" has host bits; '
            'write "10.0.0.0/24"',
        ),
        ("[[routes.announce]]", "routes.announce[0].prefix: is missing"),
        (ANNOUNCE + "metric = -1", "routes.announce[0].metric: -1 is not a number"),
        (ANNOUNCE + "metric = 65536", "routes.announce[0].metric: 65536 is not"),
        (ANNOUNCE + "weight = 0", "routes.announce[0].weight: 0 is not a number of 1"),
        (ANNOUNCE + 'map = "10.9.0.0/25"', "routes.announce[0].map: 10.9.0.0/25 must"),
        (ANNOUNCE + 'map = "fd00::/24"', "routes.announce[0].map: fd00::/24 must be"),
        (ANNOUNCE + "masquerade = 1", "routes.announce[0].masquerade: 1 is not true"),
        (ANNOUNCE + "wieght = 1", "routes.announce[0].wieght: is no known key; did"),
        (ANNOUNCE * 2, "routes.announce: 10.0.0.0/24 is there twice"),
        ("[routes]\naccept = 1", "routes.accept: 1 is not true, false or a list"),
        ('[routes]\naccept = ["x"]', 'routes.accept[0]: "x" is not an IP prefix'),
        ("[routes]\naccepts = true", "routes.accepts: is no known key; did you mean"),
        ("[node]\nmtu = 1279", "node.mtu: 1279 is not a number of 1280 to 65535"),
        ("[node]\nlisten_port = 65536", "node.listen_port: 65536 is not a number"),
        (
            "[node]\nmax_mtu = 65456",
            "node.max_mtu: 65456 is not a number of 0 to",
        ),
        ("[node]\nmax_mtu = 1419", "node.max_mtu: is less than mtu, 1420; leave it"),
        ('[node]\ntable = "main"', 'node.table: "main" is not a number of 1 to'),
        ("[node]\ntable = 0", "node.table: 0 is not a number of 1 to 4294967295, nor"),
        ("[node]\nfwmark = 4294967296", "node.fwmark: 4294967296 is not a number"),
        ("[node]\nfwmark = -1", "node.fwmark: -1 is not a number"),
        (
            '[node]\ncipher = "aes-256-gcm"',
            'node.cipher: "aes-256-gcm" is none of auto, chacha20-poly1305',
        ),
        ('[node]\nengine = "quick"', 'node.engine: "quick" is none of reference, fast'),
        ("[node]\nworkers = 0", "node.workers: 0 is not a number of 1 to 16"),
        ("[node]\nworkers = 17", "node.workers: 17 is not a number of 1 to 16"),
        ('[node]\nlog_level = "loud"', 'node.log_level: "loud" is none of debug'),
        ('[node]\ninterface = "a/b"', 'node.interface: "a/b" is no interface name'),
        ('[node]\nadvertise = "a:1"', 'node.advertise: "a:1" is not a list'),
        ('[node]\nadvertise = ["a"]', 'node.advertise[0]: "a" is not HOST:PORT'),
        ('[node]\nbootstrap = ["a:1", "b"]', 'node.bootstrap[1]: "b" is not HOST:PORT'),
        ("[[wireguard]]", "wireguard[0].name: is missing"),
        ('[[wireguard]]\nname = "A"', 'wireguard[0].name: "A" is no name'),
        (
            '[[wireguard]]\nname = "a"\npublic_key = "x"',
            'wireguard[0].public_key: "x" is not a public key',
        ),
        (
            PEER + 'preshared_key_file = "x"',
            'wireguard[0].preshared_key_file: "x" is not an absolute path',
        ),
        (PEER + 'allowed_ips = ["1.2.3.4/8"]', 'wireguard[0].allowed_ips[0]: "1.2.3.4'),
        (PEER + "keepalive = 65536", "wireguard[0].keepalive: 65536 is not a number"),
        (PEER + 'endpoint = "::1:5"', 'wireguard[0].endpoint: "::1:5" is not HOST:PO'),
        (PEER * 2, "wireguard: a is there twice"),
        (PEER + PEER.replace('"a"', '"b"'), f"wireguard: {KEY} is there twice"),
        ('[metrics]\nlisten = "a.org:1"', 'metrics.listen: "a.org:1" has a host name'),
        ("[metrics]\nport = 1", "metrics.port: is no known key; known here are listen"),
        (
            '[offload]\nudp-segmentation = "no"',
            'offload.udp-segmentation: "no" is none of auto, whole, off',
        ),
        ('[offload]\ntun-tcp = "whole"', 'offload.tun-tcp: "whole" is none of auto'),
        (
            "[offload]\ntun_tcp = 1",
            "offload.tun_tcp: is no known key; did you mean tun-",
        ),
        ("[nodes]", "nodes: is no known key; did you mean node?"),
        ("[[node]]", "node: must be a table"),
        ("x = 1", "x: is no known key; known here are "),
    ],
)
def test_errors_name_file_key_and_remedy(text: str, message: str) -> None:
    """Every rule, with the key as it is written."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"{PATH}: {message}")
    assert str(caught.value).isprintable()


def test_no_more_routes_than_a_record_holds() -> None:
    """What could not be announced is refused here."""
    routes = [
        f'[[routes.announce]]\nprefix = "10.{number}.0.0/16"\n' for number in range(17)
    ]
    assert len(parse("".join(routes[:16])).announced) == 16
    with pytest.raises(ConfigError, match=r"routes\.announce: has more than 16"):
        parse("".join(routes))
