"""The PAC file is run, as a browser does."""

import ipaddress
import random

import pytest
import quickjs

from meshnode.proxy.http_pac import pac_file
from meshnode.types import Prefix

PREFIXES = ["10.77.0.0/16", "192.0.2.128/25", "fd00:1::/48", "2001:db8::8/126"]


def choices(pac: str, hosts: list[str]) -> list[str]:
    """What a browser does for a URL of each of *hosts*."""
    context = quickjs.Context()
    context.eval(pac)
    find = context.get("FindProxyForURL")
    return [find(f"http://{host}/", host) for host in hosts]


def test_names_and_addresses_of_the_mesh() -> None:
    """They go through the proxy, all else does not."""
    pac = pac_file("127.0.0.1:3128", map(Prefix.parse, PREFIXES), ["home.mesh."])
    through = ["home.mesh", "a.HOME.mesh", "a.b.home.mesh.", "10.77.3.4", "fd00:1::"]
    through += ["192.0.2.129", "fd00:1:0:9:8:7:6:5", "[fd00:1::5]", "2001:db8::b"]
    direct = [
        "example.org",
        "xhome.mesh",
        "home.mesh.example",
        "10.78.0.1",
        "fd00:2::1",
    ]
    direct += ["192.0.2.1", "::1", "2001:db8::c", "10.77.1", "mesh"]
    assert choices(pac, through) == ["PROXY 127.0.0.1:3128"] * len(through)
    assert choices(pac, direct) == ["DIRECT"] * len(direct)


def test_addresses_agree_with_an_oracle(rng: random.Random) -> None:
    """Any address, near a prefix or not."""
    networks = [ipaddress.ip_network(text) for text in PREFIXES]
    addresses = []
    for _ in range(500):
        network = rng.choice(networks)
        bits = network.max_prefixlen
        value = int(network.network_address) ^ rng.getrandbits(rng.randint(1, bits))
        kind = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
        addresses.append(kind(value))
    expected = [
        "PROXY p:1" if any(address in network for network in networks) else "DIRECT"
        for address in addresses
    ]
    pac = pac_file("p:1", map(Prefix.parse, PREFIXES), [])
    assert choices(pac, list(map(str, addresses))) == expected


def test_everything() -> None:
    """For a listener with an exit."""
    pac = pac_file("p:1", map(Prefix.parse, ["0.0.0.0/0", "::/0"]), [])
    assert choices(pac, ["example.org", "1.2.3.4"]) == ["PROXY p:1"] * 2


@pytest.mark.parametrize("hostile", ['";alert(1);"', "</script>", "a\nb", "\\"])
def test_nothing_ends_a_string(hostile: str) -> None:
    """Whatever a name is, the file stays a program that says DIRECT."""
    pac = pac_file("p:1", [], [hostile])
    assert choices(pac, ["example.org"]) == ["DIRECT"]
