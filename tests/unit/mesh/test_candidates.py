"""Candidates of others: which may be dialled, and which are traps."""

import pytest

from meshnode.channels import endpoint_of
from meshnode.mesh.candidates import CandidateFilter, tellable
from meshnode.types import Endpoint, Prefix

OVERLAY = (Prefix.parse("10.9.0.0/16"), Prefix.parse("fd12:3456:789a::/48"))
HOST = CandidateFilter(OVERLAY, ("192.0.2.7", "127.0.0.1"))
ALONE = CandidateFilter(OVERLAY, ("127.0.0.1", "::1"))


@pytest.mark.parametrize(
    "host",
    [
        *("192.0.2.1", "10.8.255.255", "10.10.0.0", "192.168.1.1", "169.254.1.1"),
        *("100.64.0.1", "2001:db8::1", "fd12:3456:789b::1", "fd00::1"),
        "64:ff9b::c000:201",
    ],
)
def test_addresses_of_other_hosts_pass(host: str) -> None:
    """Public, private, link-local IPv4, unique local, and IPv4 behind a NAT64."""
    candidate = Endpoint(host, 51820)
    assert HOST.usable([candidate]) == (candidate,)


@pytest.mark.parametrize(
    "host",
    [
        *("10.9.0.1", "10.9.255.255", "fd12:3456:789a::1"),  # our own tunnel
        *("0.0.0.0", "::", "0.1.2.3"),  # nobody
        *("224.0.0.1", "239.255.255.255", "ff02::1"),  # many
        *("240.0.0.1", "255.255.255.255"),  # reserved, broadcast
        *("127.0.0.1", "127.9.9.9", "::1"),  # ourselves
        *("fe80::1", "fe80::1%2"),  # on a link of another host
        *("::ffff:192.0.2.1", "::192.0.2.1", "100::1", "4000::1"),
        *("2001:DB8::1", "192.0.2.01", "example.org", ""),
    ],
)
def test_traps_do_not_pass(host: str) -> None:
    """Each is left out, whatever its port."""
    assert HOST.usable([Endpoint(host, 51820)]) == ()


def test_ports_and_zones_are_looked_at() -> None:
    """Port 0, ports beyond 65535 and zones are left out."""
    assert (
        HOST.usable(
            [
                Endpoint("192.0.2.1", 0),
                Endpoint("192.0.2.1", 65536),
                Endpoint("2001:db8::1", 1, 3),
            ]
        )
        == ()
    )


def test_loopback_passes_on_a_host_that_has_nothing_else() -> None:
    """In a laboratory on one machine nodes find each other; nowhere else."""
    candidates = (Endpoint("127.0.0.1", 1), Endpoint("::1", 2))
    assert ALONE.usable(candidates) == candidates
    assert CandidateFilter(OVERLAY).usable(candidates) == ()


def test_order_stays_each_once_and_at_most_eight() -> None:
    """A record with many, doubled and bad ones gives the first eight good ones."""
    good = [Endpoint("192.0.2.1", port) for port in range(1, 12)]
    bad = Endpoint("127.0.0.1", 1)
    assert HOST.usable([bad, good[0], good[0], bad, *good[1:]]) == tuple(good[:8])


def test_of_our_own_configuration_only_the_overlay_is_left_out() -> None:
    """The user may name loopback or link-local endpoints, but no tunnel in a tunnel."""
    mine = (Endpoint("127.0.0.1", 1), Endpoint("fe80::1", 2, 3))
    inside = (Endpoint("10.9.0.1", 1), Endpoint("fd12:3456:789a::1", 1))
    assert HOST.outside([*inside, *mine]) == mine


def test_others_are_told_no_zone_and_no_channel() -> None:
    """They mean something on this host only."""
    outside = Endpoint("192.0.2.1", 1)
    assert tellable(outside) is outside
    assert tellable(None) is None
    assert tellable(Endpoint("fe80::1", 1, 2)) is None
    assert tellable(endpoint_of(7)) is None
