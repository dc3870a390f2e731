"""The forms of a request's target, and what each must not have."""

import pytest

from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.http_targets import (
    HttpUrl,
    check_host_field,
    is_absolute,
    parse_authority,
    parse_url,
)
from meshnode.types import Target


@pytest.mark.parametrize(
    ("target", "url"),
    [
        (b"http://a/", HttpUrl(Target("a", 80), "a", "/", False)),
        (b"http://a", HttpUrl(Target("a", 80), "a", "/", True)),
        (b"HTTP://A.:80?x", HttpUrl(Target("a", 80), "a", "/?x", False)),
        (
            b"http://a:81/b//../c?d=/",
            HttpUrl(Target("a", 81), "a:81", "/b//../c?d=/", False),
        ),
        (b"http://[::1]:8/%2f", HttpUrl(Target("::1", 8), "[::1]:8", "/%2f", False)),
        (b"http://0x7f.1/", HttpUrl(Target("127.0.0.1", 80), "127.0.0.1", "/", False)),
        (b"http://a/?q=\\|{}^`", HttpUrl(Target("a", 80), "a", "/?q=\\|{}^`", False)),
    ],
)
def test_urls(target: bytes, url: HttpUrl) -> None:
    """The path stays as it was written."""
    assert is_absolute(target)
    assert parse_url(target) == url


@pytest.mark.parametrize(
    "target",
    [
        *(b"https://a/", b"ftp://a/", b"http:/a", b"http:a", b"http:///x", b"http://"),
        *(
            b"http://u@a/",
            b"http://u:p@a/",
            b"http://a@b@c/",
            b"http://a%40b/",
            b"a:80",
        ),
        *(
            b"http://a b/",
            b"http://a/\xff",
            b"http://a/#x",
            b"http://a\\@b/",
            b"/x",
            b"*",
        ),
        *(
            b"http://a/\\x",
            b"http://a/<",
            b'http://a/"',
            b"http://a:0/",
            b"http://a:b/",
        ),
        *(b"http://a/\r\nX: y", b"http://a/\0", b"file:///etc/passwd", b"http://[::1/"),
        *(b"http://1.2.3.4.5/", b"", b":", b"javascript:alert(1)"),
    ],
)
def test_bad_urls(target: bytes) -> None:
    """Each gets a 400 with one line."""
    with pytest.raises(HttpFault) as found:
        parse_url(target)
    assert found.value.status == 400
    assert found.value.text.isprintable()


def test_authorities() -> None:
    """CONNECT has a host and a port."""
    assert parse_authority(b"A:443") == Target("a", 443)
    assert parse_authority(b"[::ffff:1.2.3.4]:22") == Target("1.2.3.4", 22)


@pytest.mark.parametrize(
    "target", [b"a", b"a:", b":1", b"u@a:1", b"http://a:1", b"a:1/", b"a:1?", b"\xff:1"]
)
def test_bad_authorities(target: bytes) -> None:
    """No path, no user, no scheme."""
    with pytest.raises(HttpFault):
        parse_authority(target)


def test_host_fields() -> None:
    """Any host with or without a port, or none."""
    for good in (b"", b"a", b"a:80", b"[::1]:80"):
        check_host_field(good)
    for bad in (b"a b", b"a:x", b"u@a", b"\xff", b"a, b", b"a/b"):
        with pytest.raises(HttpFault):
            check_host_field(bad)
