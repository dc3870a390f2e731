"""The values of a configuration, and what commands make of them."""

import pytest

from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError
from meshnode.manage.config_values import (
    AnnouncedRoute,
    HostPort,
    NetworkConfig,
    NotConfiguredError,
    WireguardPeer,
    with_announced,
    with_wireguard_peer,
    without_announced,
    without_wireguard_peer,
)
from meshnode.types import Prefix

A, B = Prefix.parse("10.1.0.0/24"), Prefix.parse("10.2.0.0/24")
PHONE = WireguardPeer("phone", PublicKey(b"\x01" * 32))
TABLET = WireguardPeer("tablet", PublicKey(b"\x02" * 32))


@pytest.mark.parametrize(
    ("text", "host", "port", "is_numeric"),
    [
        ("1.2.3.4:5", "1.2.3.4", 5, True),
        ("[2001:DB8::1]:65535", "2001:db8::1", 65535, True),
        ("vpn.example.org:51820", "vpn.example.org", 51820, False),
        ("VPN.example.org.:1", "vpn.example.org.", 1, False),
        ("localhost:1", "localhost", 1, False),
        ("3com.example:1", "3com.example", 1, False),
    ],
)
def test_hosts_and_ports_are_read(
    text: str, host: str, port: int, is_numeric: bool
) -> None:
    """Addresses and names alike, in canonical form."""
    found = HostPort.parse(text)
    assert (found.host, found.port, found.is_numeric) == (host, port, is_numeric)
    assert HostPort.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", ":1", "a", "a:", "a:0", "a:65536", "a:-1", "a:x", "a:1 ", "a:१"),
        *("1.2.3:4", "1.2.3.256:1", "::1:5", "[1.2.3.4]:5", "[a]:1", "[::1]", "[::1:5"),
        *("[fe80::1%eth0]:1", "a b:1", "-a:1", "a-:1", "a..b:1", ".a:1", "é.org:1"),
        *(f"{'a' * 64}:1", f"{'a.' * 127}aa:1", "a\n:1", "a:1\n", "a.1:1", "a:00001x"),
    ],
)
def test_what_is_no_host_and_port_is_refused(text: str) -> None:
    """Half an address is not taken for a name."""
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        HostPort.parse(text)


def test_routes_are_added_changed_and_removed() -> None:
    """A prefix is announced once."""
    config = NetworkConfig("wg0")
    config = with_announced(config, AnnouncedRoute(A))
    config = with_announced(config, AnnouncedRoute(B))
    config = with_announced(config, AnnouncedRoute(A, metric=5))
    assert config.announced == (AnnouncedRoute(A, metric=5), AnnouncedRoute(B))
    config = without_announced(config, A)
    assert config.announced == (AnnouncedRoute(B),)
    with pytest.raises(NotConfiguredError, match=r"10\.1\.0\.0/24 is not announced"):
        without_announced(config, A)


def test_peers_are_added_changed_and_removed() -> None:
    """A name stands for one peer."""
    config = with_wireguard_peer(NetworkConfig("wg0"), PHONE)
    config = with_wireguard_peer(config, TABLET)
    changed = WireguardPeer("phone", PHONE.public_key, keepalive=25)
    config = with_wireguard_peer(config, changed)
    assert config.wireguard == (changed, TABLET)
    config = without_wireguard_peer(config, "phone")
    assert config.wireguard == (TABLET,)
    with pytest.raises(NotConfiguredError) as caught:
        without_wireguard_peer(config, "phone")
    assert caught.value.exit_code == 3
