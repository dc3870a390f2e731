"""The proxy as configured: its addresses, and who we are to it."""

from pathlib import Path

import pytest

from meshnode.codec.proxies import Credentials
from meshnode.errors import ConfigError, HostError
from meshnode.manage.config_values import TlsSettings
from meshnode.node.tls_proxy import Way, find_way
from meshnode.types import Endpoint


def test_no_proxy() -> None:
    """The usual thing, whatever the environment says."""
    assert find_way(TlsSettings(), {"HTTPS_PROXY": "http://192.0.2.1:1"}) == Way()
    assert find_way(TlsSettings(proxy="environment"), {}) == Way()


def test_password_comes_from_its_file(tmp_path: Path) -> None:
    """Without the line's end, and never printed."""
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    way = find_way(
        TlsSettings(proxy="socks5://carol@192.0.2.1:1080", proxy_password_file=file)
    )
    assert way == Way(
        "socks5", (Endpoint("192.0.2.1", 1080),), Credentials("carol", "s3cret")
    )
    assert "s3cret" not in repr(way)


def test_environment_may_name_everything() -> None:
    """If it was asked for."""
    way = find_way(
        TlsSettings(proxy="environment"),
        {"https_proxy": "http://carol:s3cret@[2001:db8::1]:3128"},
    )
    assert way.endpoints == (Endpoint("2001:db8::1", 3128),)
    assert way.credentials == Credentials("carol", "s3cret")
    with pytest.raises(ConfigError, match="HTTPS_PROXY is not"):
        find_way(TlsSettings(proxy="environment"), {"HTTPS_PROXY": "proxy"})


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """The file, or the name."""
    file = tmp_path / "none"
    settings = TlsSettings(proxy="http://c@192.0.2.1:1", proxy_password_file=file)
    with pytest.raises(ConfigError, match="no password of the proxy"):
        find_way(settings)
    file.write_text("x" * 256)
    with pytest.raises(ConfigError, match="longer than"):
        find_way(settings)
    with pytest.raises(HostError, match="cannot resolve the proxy"):
        find_way(TlsSettings(proxy="http://name.invalid:1"))
