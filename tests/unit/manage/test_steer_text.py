"""The tables `[[steer]]`: what is taken, what is refused, and what is written."""

from pathlib import Path

import pytest

from meshnode.errors import ConfigError
from meshnode.hostplan import Service, Transport
from meshnode.manage.config_text import parse_config, serialise_config
from meshnode.manage.config_values import NetworkConfig
from meshnode.manage.steer_text import parse_via, port_text
from meshnode.steering import (
    MAX_DOORS,
    MAX_RULES,
    SteerRule,
    ViaDirect,
    ViaExit,
    ViaMesh,
    ViaNowhere,
    ViaProxy,
)
from meshnode.types import Prefix

FILE = Path("/etc/meshnode/home.toml")


def read(text: str) -> tuple[SteerRule, ...]:
    """Return the rules of a file."""
    return parse_config(text.encode(), FILE).steer


def test_rules_are_written_and_read() -> None:
    """All of them, in their order."""
    rules = (
        SteerRule(
            ViaExit("paris"),
            to=(Prefix.parse("198.51.100.0/24"), Prefix.parse("2001:db8::/32")),
            domains=("example.org", "_dmarc.example.net"),
            ports=(Service(Transport.TCP, 443, 443), Service(Transport.UDP, 1, 2000)),
            users=("alice", "1000"),
            groups=("/system.slice/x.service", "/user.slice"),
        ),
        SteerRule(ViaProxy("socks5", "2001:db8::1", 1080, "bob", "/root/secret")),
        SteerRule(ViaProxy("http", "proxy.example.org", 3128)),
        SteerRule(ViaMesh()),
        SteerRule(ViaDirect()),
        SteerRule(ViaNowhere()),
    )
    text = serialise_config(NetworkConfig("home", steer=rules))
    assert read(text) == rules


def test_words_become_the_usual_ones() -> None:
    """Names in lower case, users' numbers without zeros, single addresses."""
    (rule,) = read(
        '[[steer]]\nto = ["192.0.2.1"]\ndomains = ["Example.ORG."]\n'
        'users = ["0017"]\nports = ["tcp:80"]\nvia = "mesh"\n'
    )
    assert rule.to == (Prefix.parse("192.0.2.1/32"),)
    assert (rule.domains, rule.users) == (("example.org",), ("17",))
    assert [port_text(one) for one in rule.ports] == ["tcp:80"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ('to = ["192.0.2.0/24"]', r"steer\[0\]\.via: is missing"),
        ('via = "exit:"', r"steer\[0\]\.via: names no member"),
        ('via = "exit:Paris"', "names no member"),
        ('via = "socks4://x:1"', 'is not "mesh"'),
        ('via = "socks5://x"', 'is not "mesh"'),
        ('via = "socks5://bob:hidden@x:1"', "password_file"),
        ('via = "http://x:1"\npassword_file = "/x"', "needs a proxy with a user"),
        ('via = "http://u@x:1"\npassword_file = "x"', "absolute"),
        ('via = "mesh"\nto = ["192.0.2.1/24"]', "host bits; write"),
        ('via = "mesh"\nto = ["x"]', "IP prefix"),
        ('via = "mesh"\ndomains = ["*.example.org"]', "example.org"),
        ('via = "mesh"\ndomains = ["a..b"]', "name of the DNS"),
        ('via = "mesh"\nports = ["tcp"]', "tcp:PORT"),
        ('via = "mesh"\nports = ["icmp:1"]', "tcp:PORT"),
        ('via = "mesh"\nports = ["udp:9-3"]', "tcp:PORT"),
        ('via = "mesh"\nports = ["udp:0"]', "tcp:PORT"),
        ('via = "mesh"\nusers = ["4294967295"]', "user id"),
        ('via = "mesh"\nusers = ["a b"]', "user's name"),
        ('via = "mesh"\ngroups = ["user.slice"]', "control group"),
        ('via = "mesh"\ngroups = ["/a/../b"]', "control group"),
        ('via = "mesh"\ngroups = ["/a\\"; flush"]', "control group"),
        ('via = "mesh"\nuser = ["a"]', "did you mean users"),
    ],
)
def test_mistakes_are_named(lines: str, why: str) -> None:
    """With the key, and without a password."""
    with pytest.raises(ConfigError, match=why) as caught:
        read(f"[[steer]]\n{lines}\n")
    assert "hidden" not in str(caught.value)


def test_there_may_not_be_too_many() -> None:
    """Rules, and different proxies."""
    rule = '[[steer]]\nvia = "mesh"\n'
    assert len(read(rule * MAX_RULES)) == MAX_RULES
    with pytest.raises(ConfigError, match="more than 100 rules"):
        read(rule * (MAX_RULES + 1))
    proxies = [f'[[steer]]\nvia = "http://x:{n}"\n' for n in range(1, MAX_DOORS + 2)]
    assert len(read("".join(proxies[1:]))) == MAX_DOORS
    with pytest.raises(ConfigError, match="more than 30 exits"):
        read("".join(proxies))


def test_a_way_is_read_alone() -> None:
    """A command may name one, too."""
    assert parse_via("exit:paris") == ViaExit("paris")
    with pytest.raises(ConfigError):
        parse_via("")
