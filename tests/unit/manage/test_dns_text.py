"""The table `[dns]`: read strictly, and written back."""

from pathlib import Path

import pytest

from meshnode.errors import ConfigError
from meshnode.hostplan import DnsManager
from meshnode.manage.config_text import parse_config, serialise_config
from meshnode.manage.config_values import DnsSettings, NetworkConfig
from meshnode.types import Endpoint

PATH = Path("/etc/meshnode/home.toml")


def read(text: str) -> DnsSettings:
    """Return what a file with this table says."""
    return parse_config(f"[dns]\n{text}\n".encode(), PATH).dns


def test_without_a_table_names_are_answered() -> None:
    """And the host is told by resolved, where it runs."""
    assert parse_config(b"", PATH).dns == DnsSettings()
    assert DnsSettings().resolver
    assert DnsSettings().manager is DnsManager.AUTO
    assert "dns" not in serialise_config(NetworkConfig("home"))


def test_everything_can_be_said_and_comes_back() -> None:
    """A port is 53 where none is named."""
    settings = read(
        'resolver = false\nmanage = "resolv.conf"\nsearch = false\n'
        'upstream = ["192.0.2.53", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::2]:54"]'
    )
    assert settings == DnsSettings(
        resolver=False,
        manager=DnsManager.RESOLV_CONF,
        upstream=(
            Endpoint("192.0.2.53", 53),
            Endpoint("192.0.2.1", 5353),
            Endpoint("2001:db8::1", 53),
            Endpoint("2001:db8::2", 54),
        ),
        search=False,
    )
    text = serialise_config(NetworkConfig("home", dns=settings))
    assert parse_config(text.encode(), PATH).dns == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resolver = 1", "resolver"),
        ('manage = "systemd"', "resolv.conf"),
        ('upstream = ["dns.example.org"]', "ADDRESS"),
        ('upstream = ["192.0.2.1", "192.0.2.1:53"]', "twice"),
        ('upstream = ["192.0.2.1:0"]', "ADDRESS"),
        (f"upstream = {[f'192.0.2.{n}' for n in range(9)]}", "than 8"),
        ("servers = []", "servers"),
    ],
)
def test_mistakes_are_told(text: str, said: str) -> None:
    """With the file, the key and the remedy."""
    with pytest.raises(ConfigError, match=said) as caught:
        read(text)
    assert str(PATH) in str(caught.value)
