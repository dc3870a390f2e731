"""Names of addresses, and the zones of a prefix."""

import ipaddress
import random

import pytest

from meshnode.names.reverse import (
    read_reverse,
    reverse_name,
    reverse_zones,
    zone_depth,
)
from meshnode.types import Prefix


def labels(name: str) -> list[bytes]:
    """Return the labels of a name."""
    return name.encode().split(b".")


@pytest.mark.parametrize(
    ("prefix", "zones"),
    [
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("10.77.0.0/16", ["77.10.in-addr.arpa"]),
        ("10.76.0.0/15", ["76.10.in-addr.arpa", "77.10.in-addr.arpa"]),
        ("fd11:2233:4455::/48", ["5.5.4.4.3.3.2.2.1.1.d.f.ip6.arpa"]),
    ],
)
def test_zones_of_a_prefix(prefix: str, zones: list[str]) -> None:
    """One if it ends with a label, else as many as there are labels in it."""
    assert list(reverse_zones(Prefix.parse(prefix))) == zones


def test_a_small_prefix_has_a_zone_for_each_address() -> None:
    """Others may have the addresses beside it."""
    zones = reverse_zones(Prefix.parse("10.1.2.64/30"))
    assert zones == tuple(f"{n}.2.1.10.in-addr.arpa" for n in range(64, 68))


def test_every_address_has_its_name(rng: random.Random) -> None:
    """The standard library is the oracle, and zones hold the names of theirs."""
    for _ in range(500):
        packed = rng.randbytes(rng.choice((4, 16)))
        address = ipaddress.ip_address(packed)
        assert reverse_name(packed) == address.reverse_pointer
        place = read_reverse(labels(address.reverse_pointer))
        assert place is not None
        assert place.is_sound
        assert place.first == place.last == packed
        length = rng.randint(1, address.max_prefixlen)
        prefix = Prefix.parse(f"{address}/{length}")
        depth = zone_depth(place, prefix)
        assert depth is not None
        name = address.reverse_pointer.split(".")
        if len(reverse_zones(prefix)) <= 8:
            assert ".".join(name[len(name) - depth :]) in reverse_zones(prefix)
        other = Prefix(
            prefix.version,
            prefix.network ^ 1 << (address.max_prefixlen - length),
            length,
        )
        assert zone_depth(place, other) is None


@pytest.mark.parametrize(
    "name",
    [
        "01.0.77.10.in-addr.arpa",
        "256.0.77.10.in-addr.arpa",
        "x.77.10.in-addr.arpa",
        "5.1.0.77.10.in-addr.arpa",
        "10.ip6.arpa",
        "-1.ip6.arpa",
    ],
)
def test_what_no_address_is_called(name: str) -> None:
    """It is told from names of parts of an address."""
    place = read_reverse(labels(name))
    assert place is not None
    assert not place.is_sound


def test_part_of_an_address_is_a_range() -> None:
    """From the lowest to the highest that begins so."""
    place = read_reverse(labels("77.10.in-addr.arpa"))
    assert place is not None
    assert place.first == bytes([10, 77, 0, 0])
    assert place.last == bytes([10, 77, 255, 255])
    assert zone_depth(place, Prefix.parse("10.77.128.0/17")) is None


def test_other_names_are_none() -> None:
    """Nor is the top alone."""
    assert read_reverse(labels("anna.home.mesh")) is None
    assert read_reverse([b"arpa"]) is None
    assert read_reverse([]) is None
