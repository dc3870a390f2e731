"""Prefixes inside, overlapping, and apart."""

import pytest

from meshnode.mesh.prefixes import (
    contains,
    host_prefix,
    minimal,
    overlaps,
    part_of,
)
from meshnode.types import Prefix


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    """Return prefixes."""
    return tuple(map(Prefix.parse, texts))


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.0.0.0/8", "10.0.0.0/8", True),
        ("10.1.0.0/16", "10.0.0.0/8", False),
        ("10.0.0.0/8", "11.0.0.0/16", False),
        ("0.0.0.0/0", "192.0.2.1/32", True),
        ("::/0", "192.0.2.1/32", False),
        ("fd00::/8", "fdff::/16", True),
        ("fd00::/8", "fe00::/16", False),
        ("10.0.0.1/32", "10.0.0.1/32", True),
    ],
)
def test_contains(outer: str, inner: str, expected: bool) -> None:
    """A prefix contains itself and what is longer with the same head."""
    assert contains(Prefix.parse(outer), Prefix.parse(inner)) is expected


def test_overlap_is_symmetric() -> None:
    """Whichever is the larger one."""
    large, small, other = prefixes("10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8")
    assert overlaps(large, small)
    assert overlaps(small, large)
    assert not overlaps(large, other)


def test_address_becomes_a_prefix() -> None:
    """Four bytes are IPv4, sixteen IPv6."""
    assert str(host_prefix(bytes([10, 9, 0, 1]))) == "10.9.0.1/32"
    assert str(host_prefix(bytes([0xFD, *bytes(14), 1]))) == "fd00::1/128"


def test_minimal_drops_what_is_inside_another() -> None:
    """Sorted, IPv4 first, without nested ones or copies; neighbours stay apart."""
    given = prefixes(
        *("fd00::/8", "10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "9.0.0.0/8"),
        *("fd00:1::/32", "11.0.0.0/8"),
    )
    assert minimal(given) == prefixes(
        "9.0.0.0/8", "10.0.0.0/8", "11.0.0.0/8", "fd00::/8"
    )


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("10.2.3.0/24", ["10.2.3.0/24"]),
        ("10.2.0.0/16", ["10.2.0.0/16"]),
        ("10.0.0.0/8", ["10.2.0.0/16", "10.4.0.0/16"]),
        ("10.3.0.0/16", []),
        ("9.0.0.0/8", []),
        ("0.0.0.0/0", ["10.2.0.0/16", "10.4.0.0/16", "12.0.0.1/32"]),
        ("::/0", ["fd00::/8"]),
        ("255.0.0.0/8", []),
    ],
)
def test_part_of(prefix: str, expected: list[str]) -> None:
    """The prefix itself if one holds it, else those inside it."""
    some = prefixes("10.2.0.0/16", "10.4.0.0/16", "12.0.0.1/32", "fd00::/8")
    found = part_of(some, Prefix.parse(prefix))
    assert [str(one) for one in found] == expected


@pytest.mark.parametrize(
    ("one", "other", "is_outer", "is_inner"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", True, False),
        ("10.0.0.0/8", "10.0.0.0/8", True, True),
        ("10.0.0.0/8", "11.0.0.0/8", False, False),
        ("0.0.0.0/0", "192.0.2.1/32", True, False),
        ("0.0.0.0/0", "::/0", False, False),
        ("::/0", "2001:db8::/32", True, False),
        ("2001:db8::/33", "2001:db8:8000::/33", False, False),
        ("0.0.0.0/0", "0.0.0.0/0", True, True),
    ],
)
def test_prefixes_contain_and_overlap(
    one: str, other: str, is_outer: bool, is_inner: bool
) -> None:
    """Containment is one-sided, overlap is not; families never meet."""
    a, b = Prefix.parse(one), Prefix.parse(other)
    assert contains(a, b) is is_outer
    assert contains(b, a) is is_inner
    assert overlaps(a, b) is overlaps(b, a) is (is_outer or is_inner)
