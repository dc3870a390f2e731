"""The policy at work: filters, verdicts, tests and warnings."""

import pytest

from meshnode.hostplan import Allow, Filter, Service, Transport
from meshnode.mesh.policy import (
    Directory,
    PolicyMember,
    Verdict,
    compile_filter,
    describe_service,
    explain,
    failed_tests,
    warnings,
)
from meshnode.mesh.policy_text import OPEN, parse_policy, parse_service
from meshnode.types import Prefix


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    """Return prefixes."""
    return tuple(map(Prefix.parse, texts))


def person(number: int, name: str, *groups: str) -> PolicyMember:
    """Return the member 10.99.0.NUMBER."""
    return PolicyMember(
        name, groups, prefixes(f"10.99.0.{number}/32", f"fd99::{number}/128")
    )


DIRECTORY = Directory(
    [
        person(1, "db", "servers"),
        person(2, "web", "servers", "front"),
        person(3, "laptop", "staff"),
        person(4, "phone", "staff"),
    ]
)
DB = prefixes("10.99.0.1/32", "fd99::1/128")
ANY = Service(Transport.ANY)
SSH = Service(Transport.TCP, 22, 22)


def policy(*rules: tuple[str, str, str], tests: str = "") -> str:
    """Return the text of a policy of such rules."""
    return tests + "".join(
        f'[[rule]]\nfrom = "{source}"\nto = "{target}"\nallow = "{service}"\n'
        for source, target, service in rules
    )


def filter_of(*rules: tuple[str, str, str], ours: tuple[Prefix, ...] = DB) -> Filter:
    """Return what the node with *ours* lets in."""
    compiled = compile_filter(parse_policy(policy(*rules)), DIRECTORY, ours)
    assert compiled is not None
    return compiled


def test_open_policy_needs_no_filter() -> None:
    """None stands for everything."""
    assert compile_filter(OPEN, DIRECTORY, DB) is None


def test_closed_policy_without_rules_lets_nothing_in() -> None:
    """A filter without a rule is not the same as none."""
    closed = parse_policy('default = "deny"')
    assert compile_filter(closed, DIRECTORY, DB) == Filter(())


def test_rule_names_addresses_of_both_versions() -> None:
    """A group becomes the overlay addresses of its members, in order."""
    assert filter_of(("group:staff", "db", "tcp:22")) == Filter(
        (
            Allow(
                prefixes("10.99.0.3/32", "10.99.0.4/32", "fd99::3/128", "fd99::4/128"),
                DB,
                (SSH,),
            ),
        )
    )


def test_only_what_concerns_this_node_is_compiled() -> None:
    """Rules for others vanish; of a group of receivers only we are left."""
    found = filter_of(
        ("laptop", "web", "tcp:22"),
        ("laptop", "group:servers", "tcp:22"),
        ("group:nobody", "db", "any"),
    )
    assert [allow.destinations for allow in found.allows] == [DB]


def test_everybody_as_receiver_is_all_that_is_ours() -> None:
    """Our addresses, and what we forward to."""
    ours = (*DB, *prefixes("192.168.7.0/24"))
    [allow] = filter_of(("*", "*", "any"), ours=ours).allows
    assert allow.sources == prefixes("0.0.0.0/0", "::/0")
    assert set(allow.destinations) == set(ours)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("192.168.7.5/32", "192.168.7.5/32"),
        ("192.168.0.0/16", "192.168.7.0/24"),
        ("192.168.7.0/24", "192.168.7.0/24"),
    ],
)
def test_receiving_prefix_is_cut_to_ours(selector: str, expected: str) -> None:
    """Never more than the rule says, never more than we receive for."""
    ours = prefixes("192.168.7.0/24", "192.168.9.0/24")
    if selector == "192.168.0.0/16":
        ours = ours[:1]
    [allow] = filter_of(("laptop", selector, "any"), ours=ours).allows
    assert allow.destinations == prefixes(expected)
    assert allow.sources == prefixes("10.99.0.3/32"), "only IPv4 can meet IPv4"


def test_equal_rules_are_compiled_once() -> None:
    """Also when different names mean the same."""
    found = filter_of(("10.99.0.3", "db", "tcp"), ("10.99.0.3/32", "db", "tcp"))
    assert len(found.allows) == 1


def ask(text: str, source: str, target: str, service: str) -> Verdict:
    """Return the verdict on one flow."""
    return explain(
        parse_policy(text),
        DIRECTORY,
        Prefix.parse(source),
        Prefix.parse(target),
        parse_service(service),
    )


RULES = policy(
    ("group:staff", "db", "tcp:8000-8100"),
    ("laptop", "group:servers", "icmp"),
    ("web", "10.99.0.1/32", "tcp"),
)


@pytest.mark.parametrize(
    ("source", "target", "service", "expected"),
    [
        ("10.99.0.3", "10.99.0.1", "tcp:8000", Verdict(True, 1)),
        ("10.99.0.3", "10.99.0.1", "tcp:8000-8100", Verdict(True, 1)),
        ("10.99.0.3", "10.99.0.1", "tcp:8000-8101", Verdict(False, None)),
        ("10.99.0.3", "10.99.0.1", "tcp", Verdict(False, None)),
        ("10.99.0.3", "10.99.0.1", "udp:8000", Verdict(False, None)),
        ("fd99::3", "fd99::2", "icmp", Verdict(True, 2)),
        ("fd99::4", "fd99::2", "icmp", Verdict(False, None)),
        ("10.99.0.3", "fd99::1", "udp:8000", Verdict(False, None)),
        ("10.99.0.2", "10.99.0.1", "tcp:5", Verdict(True, 3)),
        ("10.99.0.2", "10.99.0.1", "tcp", Verdict(True, 3)),
        ("10.99.0.2", "10.99.0.1", "any", Verdict(False, None)),
        ("10.99.0.2", "fd99::1", "tcp", Verdict(False, None)),
        ("10.99.0.0/24", "10.99.0.1", "tcp:8000", Verdict(False, None)),
    ],
)
def test_verdicts(source: str, target: str, service: str, expected: Verdict) -> None:
    """The first rule that allows all of it, or none."""
    assert ask(RULES, source, target, service) == expected


def test_verdicts_in_words() -> None:
    """For `trace`."""
    assert str(ask("", "10.0.0.1", "10.0.0.2", "any")) == "allowed: the policy is open"
    assert str(ask(RULES, "10.99.0.2", "10.99.0.1", "tcp")) == "allowed by rule 3"
    assert str(ask(RULES, "10.99.0.2", "10.99.0.1", "udp")) == "denied: no rule"


def failures(text: str, tests: str) -> tuple[str, ...]:
    """Return what the tests of a policy find."""
    return failed_tests(parse_policy(tests + text), DIRECTORY)


def case(source: str, target: str, allow: str = "", deny: str = "") -> str:
    """Return the text of a test."""
    lines = [f'[[test]]\nfrom = "{source}"\nto = "{target}"\n']
    lines += [f'allow = "{allow}"\n'] if allow else []
    lines += [f'deny = "{deny}"\n'] if deny else []
    return "".join(lines)


@pytest.mark.parametrize(
    "test",
    [
        case("laptop", "db", "tcp:8000-8050", "udp"),
        case("group:staff", "db", "tcp:8000", "tcp:22"),
        case("laptop", "group:servers", "icmp"),
        case("web", "fd99::1", deny="any"),
        case("phone", "web", deny="any"),
        case("group:later", "db", "tcp:1"),
    ],
)
def test_tests_that_hold(test: str) -> None:
    """For every pair; who is not there yet is left out."""
    assert failures(RULES, test) == ()


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            case("laptop", "db", "tcp:22"),
            "test 1: 10.99.0.3/32 to 10.99.0.1/32 by tcp:22 should be allowed and is "
            "not",
        ),
        (
            case("group:staff", "web", "icmp"),
            "test 1: 10.99.0.4/32 to 10.99.0.2/32 by icmp should be allowed and is not",
        ),
        (
            case("web", "db", "tcp:1"),
            "test 1: fd99::2/128 to fd99::1/128 by tcp:1 should be allowed and is not",
        ),
        (
            case("*", "db", deny="tcp:8050"),
            "test 1: 0.0.0.0/0 to 10.99.0.1/32 by tcp:8050 should be denied, but "
            "rule 1 allows it",
        ),
        (
            case("laptop", "db", deny="tcp"),
            "test 1: 10.99.0.3/32 to 10.99.0.1/32 by tcp should be denied, but rule 1 "
            "allows it",
        ),
        (
            case("group:servers", "10.0.0.0/8", deny="any"),
            "test 1: 10.99.0.2/32 to 10.0.0.0/8 by any should be denied, but rule 3 "
            "allows it",
        ),
    ],
)
def test_tests_that_fail(test: str, message: str) -> None:
    """Each names a pair for which it does not hold."""
    assert failures(RULES, test) == (message,)


def test_part_of_a_prefix_is_not_the_whole() -> None:
    """A prefix that a rule holds does not speak for one that the rule is inside."""
    text = policy(("10.1.0.0/16", "db", "icmp"), ("10.2.3.0/24", "db", "icmp"))
    test = case("10.1.0.0/16", "db", "icmp").replace(
        '"10.1.0.0/16"', '["10.1.0.0/16", "10.2.0.0/16"]'
    )
    rule = (
        '[[rule]]\nfrom = ["10.1.0.0/16", "10.2.3.0/24"]\nto = "db"\nallow = "icmp"\n'
    )
    for one in (text, rule):
        [found] = failures(one, test)
        assert found.startswith("test 1: 10.2.0.0/16 to 10.99.0.1/32 by icmp")


def test_deny_fails_under_an_open_policy() -> None:
    """So a policy that was emptied by mistake is not applied."""
    [found] = failures("", case("laptop", "db", deny="tcp:22"))
    assert found.endswith("should be denied, but the policy is open")
    assert failures("", case("laptop", "db", allow="tcp:22")) == ()


def test_unknown_names_are_warnings() -> None:
    """They are named with their place, and select nobody."""
    text = policy(("group:x", "db", "any"), ("laptop", "y", "any"))
    found = warnings(parse_policy(case("z", "db", "icmp") + text), DIRECTORY)
    assert found == (
        'rule 1: from: no member is in group "x" yet',
        'rule 2: to: no member is called "y" yet',
        'test 1: from: no member is called "z" yet',
    )
    assert warnings(parse_policy(RULES), DIRECTORY) == ()


@pytest.mark.parametrize("word", ["any", "icmp", "tcp", "udp:53", "tcp:1-9"])
def test_services_are_shown_as_written(word: str) -> None:
    """What is read can be read again."""
    assert describe_service(parse_service(word)) == word


def test_large_groups_are_compared_by_kind() -> None:
    """A million pairs that the rules treat alike are looked at once."""
    members = [
        PolicyMember(
            f"m{n}",
            ("left",) if n % 2 else ("right",),
            (Prefix(4, (10 << 24) + n, 32),),
        )
        for n in range(2000)
    ]
    directory = Directory(members)
    text = case("group:left", "group:right", "tcp:22", "tcp:23") + policy(
        ("group:left", "group:right", "tcp:22"), ("m7", "m8", "udp")
    )
    assert failed_tests(parse_policy(text), directory) == ()
