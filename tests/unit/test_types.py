"""Addresses, paths and prefixes, against `ipaddress` as the oracle."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import ConfigError
from meshnode.types import Cipher, Endpoint, Prefix, Target

PORTS = st.integers(1, 65535)


@given(st.ip_addresses(), PORTS)
def test_an_endpoint_reads_back(address, port):
    """Parsing the text form gives the endpoint again, in canonical form."""
    endpoint = Endpoint(str(address), port)
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert endpoint.version == address.version


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.1:51820", Endpoint("192.0.2.1", 51820)),
        ("[2001:DB8:0::1]:1", Endpoint("2001:db8::1", 1)),
        ("[fe80::1%3]:65535", Endpoint("fe80::1", 65535, 3)),
    ],
)
def test_what_is_an_endpoint(text, endpoint):
    """Both versions, an IPv6 zone by number, any spelling of the address."""
    assert Endpoint.parse(text) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
        "192.0.2.1:+1",
        "192.0.2.1: 1",
        "192.0.2.1:１",
        "192.0.2.256:1",
        "192.0.2.1%1:1",
        "[192.0.2.1]:1",
        "2001:db8::1:1",
        "[2001:db8::1]",
        "[2001:db8::1]:x",
        "[fe80::1%eth0]:1",
        "[fe80::1%-5]:1",
        f"[fe80::1%{2**32}]:1",
        "example.org:1",
    ],
)
def test_what_is_no_endpoint(text):
    """Names, wrong ports, wrong brackets and zones by name are refused."""
    with pytest.raises(ConfigError, match="is not ADDRESS:PORT"):
        Endpoint.parse(text)


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_prefix_is_masked_and_reads_back(address, length):
    """Host bits go; the text form is that of `ipaddress`."""
    length = min(length, address.max_prefixlen)
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    prefix = Prefix.parse(f"{address}/{length}")
    assert prefix == Prefix(
        network.version, int(network.network_address), network.prefixlen
    )
    assert str(prefix) == str(network)
    assert Prefix.parse(str(prefix)) == prefix


def test_a_bare_address_is_a_host():
    """As in AllowedIPs."""
    assert str(Prefix.parse("10.0.0.1")) == "10.0.0.1/32"
    assert str(Prefix.parse("fd00::1")) == "fd00::1/128"


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0/33", "10.0.0/8", "fe80::%1/64", "::/129", "x/8", "/8"]
)
def test_what_is_no_prefix(text):
    """It is said with the text that was given."""
    with pytest.raises(ConfigError, match="is not an IP prefix"):
        Prefix.parse(text)


def test_ciphers_are_numbered_as_their_messages() -> None:
    """Both ends depend on it; the labels are those of NET.toml."""
    assert [(int(one), one.label) for one in Cipher] == [
        (4, "chacha20-poly1305"),
        (8, "aes-256-gcm"),
    ]


@given(st.ip_addresses(), PORTS)
def test_a_target_is_an_address_or_a_name(address, port):
    """What is numeric says so; its text form is that of an endpoint."""
    target = Target(str(address), port)
    assert target.address == address
    assert str(target) == str(Endpoint(str(address), port))
    assert Target("example.org", port).address is None
