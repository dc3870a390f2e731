"""Values of userspace-API lines against the standard library as oracle."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import ConfigError
from meshnode.manage.uapi_values import (
    format_prefix,
    parse_endpoint,
    parse_number,
    parse_prefix,
    parse_text,
    parse_true,
)
from meshnode.types import Endpoint, Prefix


def no_zone(name: str) -> int:
    """There is no interface at all."""
    raise OSError


def oracle_prefix(text: str) -> Prefix | None:
    """What `ipaddress` makes of it, netmasks and odd lengths excepted."""
    address, slash, length = text.partition("/")
    if not slash or length not in {str(n) for n in range(129)} or "%" in address:
        return None
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return Prefix(network.version, int(network.network_address), network.prefixlen)


def parsed_prefix(text: str) -> Prefix | None:
    """What we make of it, None for a refusal."""
    try:
        return parse_prefix(text.encode())
    except ConfigError:
        return None


octets = st.sampled_from(
    [
        "0",
        "1",
        "9",
        "10",
        "99",
        "255",
        "256",
        "01",
        "00",
        "+1",
        "",
        " 1",
        "1_0",
        "-1",
        "²",
    ]
)
groups = st.sampled_from(["0", "1", "ff", "FFFF", "00a0", "12345", "", "g", "1.2.3.4"])
lengths = st.sampled_from(
    ["0", "1", "24", "32", "33", "128", "129", "-1", "08", "", "x"]
)


@given(st.lists(octets, min_size=3, max_size=5).map(".".join), lengths)
def test_ipv4_prefix_is_read_as_ipaddress_does(address: str, length: str) -> None:
    """Every IPv4 spelling is accepted or refused as by `ipaddress`."""
    text = f"{address}/{length}"
    assert parsed_prefix(text) == oracle_prefix(text)


@given(st.lists(groups, min_size=1, max_size=9).map(":".join), lengths)
def test_ipv6_prefix_is_read_as_ipaddress_does(address: str, length: str) -> None:
    """Every IPv6 spelling is accepted or refused as by `ipaddress`."""
    text = f"{address}/{length}"
    assert parsed_prefix(text) == oracle_prefix(text)


@given(st.text(alphabet="0123456789abcdef.:/%-+ ", max_size=24))
def test_any_text_is_read_as_ipaddress_does(text: str) -> None:
    """Whatever looks like a prefix is read as by `ipaddress`."""
    assert parsed_prefix(text) == oracle_prefix(text)


@given(
    st.one_of(
        st.tuples(st.just(4), st.integers(0, 2**32 - 1), st.integers(0, 32)),
        st.tuples(st.just(6), st.integers(0, 2**128 - 1), st.integers(0, 128)),
    )
)
def test_prefix_survives_a_round_trip(parts: tuple[int, int, int]) -> None:
    """What is written is read back, with the host bits masked."""
    version, address, length = parts
    bits = 32 if version == 4 else 128
    masked = address >> (bits - length) << (bits - length)
    assert parse_prefix(format_prefix(Prefix(*parts)).encode()) == Prefix(
        version, masked, length
    )
    assert format_prefix(Prefix(*parts)) == str(Prefix(*parts))


def test_a_bare_address_is_no_prefix() -> None:
    """The length is never left out on this interface."""
    assert parsed_prefix("10.0.0.1") is None
    assert parsed_prefix("::1") is None


@pytest.mark.parametrize("text", [b"0", b"1", b"65535", b"0001"])
def test_number_in_range_is_read(text: bytes) -> None:
    """Decimal digits up to the maximum are a number."""
    assert parse_number(text, 65535) == int(text)


@pytest.mark.parametrize(
    "text", [b"", b"65536", b"-1", b"+1", b"1 ", b"1_0", b"0x1", b"\xb2", b"9" * 5000]
)
def test_other_numbers_are_refused(text: bytes) -> None:
    """Nothing but decimal digits in range is a number."""
    with pytest.raises(ConfigError):
        parse_number(text, 65535)


@pytest.mark.parametrize("text", [b"", b"True", b"1", b"false", b"true "])
def test_only_true_is_true(text: bytes) -> None:
    """Flags cannot be spelled otherwise, nor unset."""
    assert parse_true(b"true") is True
    with pytest.raises(ConfigError):
        parse_true(text)


@pytest.mark.parametrize("text", [b"a b", b"a\rb", b"\x00", b"\xff", b"caf\xc3\xa9"])
def test_unprintable_text_is_refused(text: bytes) -> None:
    """Control characters, spaces and other alphabets are in no value."""
    with pytest.raises(ConfigError):
        parse_text(text)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (b"1.2.3.4:5", Endpoint("1.2.3.4", 5)),
        (b"[2001:DB8::1]:65535", Endpoint("2001:db8::1", 65535)),
        (b"[fe80::1%3]:7", Endpoint("fe80::1", 7, 3)),
        (b"[fe80::1%wan0]:7", Endpoint("fe80::1", 7, 42)),
    ],
)
def test_endpoint_is_read(text: bytes, endpoint: Endpoint) -> None:
    """Numeric addresses are read; a zone may be a number or an interface."""
    assert parse_endpoint(text, {"wan0": 42}.__getitem__) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        b"host.example:5",
        b"1.2.3.4",
        b"1.2.3.4:0",
        b"1.2.3.4:65536",
        b"2001:db8::1:5",
        b"[1.2.3.4]:5",
        b"[fe80::1%nosuch]:7",
        b"[fe80::1%-5]:7",
        b"[fe80::1%4294967296]:7",
        b"[fe80::1%]:7",
        b"1.2.3.4%1:5",
        b"",
    ],
)
def test_other_endpoints_are_refused(text: bytes) -> None:
    """Names, missing ports, bad brackets and unknown zones are refused."""
    with pytest.raises(ConfigError):
        parse_endpoint(text, no_zone)
