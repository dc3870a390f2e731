"""The policy as text: what is read, and what every mistake is told."""

import pytest

from meshnode.errors import ConfigError
from meshnode.hostplan import Service, Transport
from meshnode.mesh.policy_text import (
    MAX_RULES,
    OPEN,
    AccessPolicy,
    Everybody,
    InGroup,
    Named,
    PolicyTest,
    Rule,
    parse_policy,
    parse_selector,
    parse_service,
)
from meshnode.types import Prefix

EXAMPLE = """
# Who may use what.
default = "deny"

[[rule]]
from = ["group:staff", "laptop", "192.168.7.0/24"]
to = "group:servers"
allow = ["tcp:22", "tcp:8000-8100", "icmp"]

[[test]]
from = "laptop"
to = ["db"]
allow = ["tcp:22"]
deny = ["udp", "tcp:5432"]
"""


def test_whole_policy_is_read() -> None:
    """Rules and tests, with lists or single words."""
    assert parse_policy(EXAMPLE) == AccessPolicy(
        is_open=False,
        rules=(
            Rule(
                (InGroup("staff"), Named("laptop"), Prefix.parse("192.168.7.0/24")),
                (InGroup("servers"),),
                (
                    Service(Transport.TCP, 22, 22),
                    Service(Transport.TCP, 8000, 8100),
                    Service(Transport.ICMP),
                ),
            ),
        ),
        tests=(
            PolicyTest(
                (Named("laptop"),),
                (Named("db"),),
                (Service(Transport.TCP, 22, 22),),
                (Service(Transport.UDP), Service(Transport.TCP, 5432, 5432)),
            ),
        ),
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", 'default = "allow"'])
def test_empty_policy_is_open(text: str) -> None:
    """Without rules everything passes."""
    assert parse_policy(text) == OPEN


def test_deny_without_rules_closes_everything() -> None:
    """It must be said, though."""
    assert parse_policy('default = "deny"') == AccessPolicy(is_open=False)


def test_rules_without_default_deny_the_rest() -> None:
    """Whoever writes a rule means that the rest is not allowed."""
    text = '[[rule]]\nfrom = "*"\nto = "*"\nallow = "icmp"\n'
    assert not parse_policy(text).is_open


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("*", Everybody()),
        ("group:ops", InGroup("ops")),
        ("db-1", Named("db-1")),
        ("group", Named("group")),
        ("10.0.0.0/8", Prefix(4, 10 << 24, 8)),
        ("10.0.0.1", Prefix(4, (10 << 24) + 1, 32)),
        ("fd00::/8", Prefix(6, 0xFD << 120, 8)),
    ],
)
def test_selectors(word: str, expected: object) -> None:
    """Each kind, and it shows itself as it was written."""
    assert parse_selector(word) == expected
    if "/" in word or "." not in word:
        assert str(parse_selector(word)) == word


@pytest.mark.parametrize(
    "word",
    [
        *("", "group:", "Group:x", "Laptop", "a_b", "-a", "10.0.0.1/24", "10.0.0/8"),
        *("1.2.3.4/33", "fe80::1%1", "group:a.b", "a" * 64, "group:" + "a" * 33, "**"),
    ],
)
def test_bad_selectors_are_refused(word: str) -> None:
    """Neither a name, nor a group, nor a prefix without host bits."""
    with pytest.raises(ConfigError):
        parse_selector(word)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("any", Service(Transport.ANY)),
        ("icmp", Service(Transport.ICMP)),
        ("tcp", Service(Transport.TCP)),
        ("udp", Service(Transport.UDP)),
        ("tcp:1", Service(Transport.TCP, 1, 1)),
        ("udp:1-65535", Service(Transport.UDP, 1, 65535)),
    ],
)
def test_services(word: str, expected: Service) -> None:
    """Transport, perhaps with a port or a range."""
    assert parse_service(word) == expected


@pytest.mark.parametrize(
    "word",
    [
        *("", "tcp:", "tcp:0", "tcp:65536", "tcp:2-1", "tcp:-5", "tcp:1-", "TCP:1"),
        *("icmp:8", "any:1", "sctp", "tcp:1,2", "tcp: 1", "tcp:１", "tcp:1\n"),
    ],
)
def test_bad_services_are_refused(word: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigError):
        parse_service(word)


RULE = '[[rule]]\nfrom = "*"\nto = "*"\nallow = "any"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RULE + RULE.replace('"*"', '"A"', 1), "rule 2: from: the name of a member"),
        (RULE.replace("any", "tcp:x"), 'rule 1: allow: "tcp:x" is no service'),
        (RULE.replace("to", "too"), 'rule 1: unknown key "too"'),
        ('[[rule]]\nto = "*"\nallow = "any"', "rule 1: from: name somebody"),
        ('[[rule]]\nfrom = "*"\nto = "*"', "rule 1: allow: name a service"),
        ('[[test]]\nfrom = "*"\nto = "*"', "test 1: give it a service"),
        (RULE.replace('"any"', "22"), "rule 1: allow: write a list"),
        (RULE.replace('"any"', "[22]"), 'rule 1: allow: "22" is no string'),
        ('default = "maybe"', 'say "allow" or "deny", not "maybe"'),
        ("default = 1", 'not "1"'),
        ('default = "allow"\n' + RULE, "rules would change nothing"),
        ('defualt = "deny"', 'unknown key "defualt"'),
        ("rule = 5", r"begin each with a line \[\[rule\]\]"),
        ("[rule]", r"begin each with a line \[\[rule\]\]"),
        ("rule = [1]", "rule: begin each"),
        ("default = ", "not TOML"),
        ("a.b = 1", "line 1: a dot outside quotes"),
        ('# 1.2\nx = "a.b"\n\ny = 1.5', "line 4: a dot outside quotes"),
        ('x = """a"""', "several lines"),
        ("x = " + "[" * 5000, "nested too deep"),
        (RULE * (MAX_RULES + 1), "more than 512 rules"),
        ("#" * 65537, "more than 65536 bytes"),
        ("#é" * 22000, "more than 65536 bytes"),
        ('x\x1b = "1"', "not TOML"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    """Rule, key and word; never more than one line, nor an escape sequence."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_policy(text)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_dotted_keys_cost_nothing() -> None:
    """The parser takes the square of their number: it never sees them."""
    with pytest.raises(ConfigError, match="a dot outside quotes"):
        parse_policy("a" + ".a" * 30000 + " = 1")
