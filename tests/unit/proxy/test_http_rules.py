"""Lists of allow and deny: what they match, and that no spelling walks around them."""

import ipaddress
import random

import pytest

from meshnode.errors import ConfigError
from meshnode.proxy.http_rules import RuleBook
from meshnode.types import Target


def denied(entry: str, host: str, port: int = 443) -> bool:
    """Whether a list of *entry* alone denies a tunnel; it must allow that, too."""
    target = Target(host, port)
    is_denied = not RuleBook(deny=[entry]).permits(target)
    assert RuleBook(allow=[entry]).permits(target) == is_denied
    return is_denied


def test_without_lists_all_is_permitted() -> None:
    """But for what is no host."""
    assert RuleBook().permits(Target("a", 1))
    assert RuleBook().permits_url(Target("a", 80), "/a/../b")
    assert not RuleBook().permits(Target("a b", 1))
    assert not RuleBook().permits_url(Target("a b", 1), "/")


def test_names() -> None:
    """A name is that name alone, below it is below it alone."""
    assert denied("example.org", "EXAMPLE.org.")
    assert not denied("example.org", "www.example.org")
    assert not denied("example.org", "notexample.org")
    assert denied("*.example.org", "a.b.example.org")
    assert not denied("*.example.org", "example.org")
    assert not denied("*.example.org", "badexample.org")
    assert denied("*.ORG.", "example.org")
    assert denied("münchen.example", "XN--MNCHEN-3YA.example")
    assert denied("*", "anything")
    assert denied("*", "10.0.0.1")


def test_ports() -> None:
    """One port, or all."""
    assert denied("example.org:443", "example.org")
    assert not denied("example.org:443", "example.org", 80)
    assert denied("*:25", "a", 25)
    assert not denied("*:25", "a", 26)
    assert denied("*.a:1", "x.a", 1)
    assert denied("[2001:db8::1]:443", "2001:db8:0::1")
    assert not denied("[2001:db8::1]:443", "2001:db8::1", 80)
    assert denied("[2001:db8::]", "2001:db8::")
    assert denied("2001:db8::1", "[2001:db8::1]", 7)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "017700000001",
        "::ffff:127.0.0.1",
        "0",
        "::1",
    ],
)
def test_loopback_has_many_spellings(host: str) -> None:
    """None of them passes."""
    book = RuleBook(deny=["127.0.0.0/8", "::1/128"])
    assert not book.permits(Target(host, 1))
    assert not book.permits_url(Target(host, 80), "/")


def test_networks() -> None:
    """Both families, any length, with a port or not."""
    assert denied("10.0.0.0/8", "10.255.0.1")
    assert not denied("10.0.0.0/8", "11.0.0.1")
    assert denied("0.0.0.0/0", "192.0.2.1")
    assert not denied("0.0.0.0/0", "2001:db8::1")
    assert not denied("0.0.0.0/0", "example.org")
    assert denied("[2001:db8::/32]:443", "2001:db8:1::1")
    assert denied("10.0.0.0/8:443", "10.0.0.1")
    assert not denied("10.0.0.0/8:443", "10.0.0.1", 80)


def test_networks_agree_with_an_oracle(rng: random.Random) -> None:
    """Many networks of all lengths at once."""
    networks = [
        ipaddress.ip_network((rng.getrandbits(32) & 0xFF00FFFF, length), strict=False)
        for length in range(8, 33)
    ]
    book = RuleBook(deny=map(str, networks))
    for _ in range(2000):
        base = int(rng.choice(networks).network_address)
        address = ipaddress.IPv4Address(base ^ rng.getrandbits(rng.randint(0, 25)))
        expected = not any(address in network for network in networks)
        if not address.is_unspecified:
            assert book.permits(Target(str(address), 1)) == expected


def test_deny_wins() -> None:
    """Whatever the order, and however exact the other."""
    book = RuleBook(allow=["*.example.org"], deny=["bad.example.org"])
    assert book.permits(Target("good.example.org", 1))
    assert not book.permits(Target("bad.example.org", 1))
    assert not book.permits(Target("example.com", 1))


def test_urls() -> None:
    """A path is it and all below; the query means nothing."""
    book = RuleBook(deny=["http://a.example/private/", "HTTP://b.example:8080"])
    a, b = Target("A.example", 80), Target("b.example", 8080)
    assert book.permits_url(a, "/")
    assert book.permits_url(a, "/privateer?/private/")
    for path in ("/private", "/private/", "/private?x", "//private/x", "/%70rivate/x"):
        assert not book.permits_url(a, path)
    assert not book.permits_url(b, "/anything")
    assert book.permits_url(Target("b.example", 80), "/")


@pytest.mark.parametrize(
    "path",
    ["/x/../private", "/x/%2e%2E/private", "/private%2fx", "/./x", "/x%5c..", "/x;/.."],
)
def test_paths_of_two_meanings_are_refused_where_paths_matter(path: str) -> None:
    """Elsewhere they are the server's business."""
    deny = RuleBook(deny=["http://a/private"])
    allow = RuleBook(allow=["http://a/x", "b"])
    for book in (deny, allow):
        assert not book.permits_url(Target("a", 80), path)
        assert book.permits_url(Target("b", 80), path)


def test_urls_and_tunnels() -> None:
    """A tunnel is not looked into: no URL allows one, and one that is denied denies."""
    assert not RuleBook(allow=["http://a/x"]).permits(Target("a", 80))
    assert RuleBook(allow=["http://a/x"]).permits_url(Target("a", 80), "/x/y")
    assert not RuleBook(allow=["http://a/x"]).permits_url(Target("a", 80), "/y")
    assert not RuleBook(deny=["http://a/x"]).permits(Target("a", 80))
    assert RuleBook(deny=["http://a/x"]).permits(Target("a", 443))


@pytest.mark.parametrize(
    "entry",
    [
        *("", "a b", "a:0", "a:99999", "10.0.0.1/8", "10.0.0.0/33", "*.10.0.0.0"),
        *("https://a/", "http://", "http://a/?q", "http://a/../b", "http://u@a/", "*a"),
        *("a.*", "a/b", "[::1", "*.", "http://a/#x"),
    ],
)
def test_bad_entries_are_named(entry: str) -> None:
    """In one line."""
    with pytest.raises(ConfigError) as found:
        RuleBook(deny=["good.example", entry])
    assert repr(entry) in str(found.value)
    assert "\n" not in str(found.value)


def test_long_lists_are_fast() -> None:
    """A look-up walks the labels of a name, not the list."""
    names = [f"x{number}.example" for number in range(50_000)]
    book = RuleBook(deny=names)
    for _ in range(10_000):
        assert book.permits(Target("a.b.c.d.example", 1))
    assert not book.permits(Target("x49999.example", 1))
