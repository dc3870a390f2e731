"""The table `[tls]`: what is taken, what is refused, and that it is written back."""

from pathlib import Path

import pytest

from meshnode.errors import ConfigError
from meshnode.manage.config_text import parse_config, serialise_config
from meshnode.manage.config_values import HostPort, NetworkConfig, TlsSettings
from meshnode.manage.tls_text import Proxy, check_tls, parse_proxy

FILE = Path("/etc/meshnode/home.toml")


@pytest.mark.parametrize(
    "settings",
    [
        TlsSettings(),
        TlsSettings("off", 8443, "environment"),
        TlsSettings("192.0.2.1:443", proxy="http://proxy.example.org:3128"),
        TlsSettings(
            "[2001:db8::1]:443",
            proxy="socks5://carol@[2001:db8::9]:1080",
            proxy_password_file=Path("/root/secret"),
        ),
    ],
)
def test_settings_are_written_and_read(settings: TlsSettings) -> None:
    """What a command writes is what the node finds."""
    config = NetworkConfig("home", tls=settings)
    assert parse_config(serialise_config(config).encode(), FILE).tls == settings


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('listen = "example.org:443"', "ADDRESS:PORT"),
        ("port = 0", "1 to 65535"),
        ('proxy = "ftp://proxy:1"', r"tls\.proxy: is not http://"),
        ('proxy = "http://carol:hidden@proxy:1"', "proxy_password_file"),
        ('proxy = "http://carol:hidden@proxy"', "is not http://"),
        ('proxy_password_file = "/root/secret"', "needs a proxy"),
        ('proxy_password_file = "secret"', "absolute"),
        ("prot = 443", "did you mean port"),
    ],
)
def test_mistakes_are_named(line: str, why: str) -> None:
    """With the key, and without a password."""
    with pytest.raises(ConfigError, match=why) as caught:
        parse_config(f"[tls]\n{line}\n".encode(), FILE)
    assert "hidden" not in str(caught.value)


def test_proxies() -> None:
    """A variable of the environment may have a password; it is not printed."""
    proxy = parse_proxy("http://carol:a:b@proxy.example.org:3128/")
    place = HostPort("proxy.example.org", 3128)
    assert proxy == Proxy("http", place, "carol", "a:b")
    assert "a:b" not in repr(proxy)


def test_options_of_a_command() -> None:
    """Checked as the table is, and named as options are."""
    settings = check_tls(port=443, proxy="", proxy_password_file=None)
    assert settings == TlsSettings()
    with pytest.raises(ConfigError, match="--proxy is not"):
        check_tls(port=443, proxy="proxy:3128", proxy_password_file=None)
