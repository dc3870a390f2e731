"""How large the packets of a tunnel may be, by the links of this host."""

import pytest

from meshnode.host.underlay import OVERHEAD, Underlay, largest_inner, links_of_host


def link(mtu: int, *, is_up: bool = True, is_ethernet: bool = True) -> Underlay:
    """Return a link."""
    return Underlay("eth0", mtu, is_up=is_up, is_ethernet=is_ethernet)


@pytest.mark.parametrize(
    ("links", "size"),
    [
        ([], 0),
        ([link(1500)], 1420),
        ([link(1500), link(9000), link(4000)], 8920),
        ([link(1500), link(9000, is_up=False)], 1420),
        ([link(1500), link(65536, is_ethernet=False)], 1420),
    ],
)
def test_the_widest_link_in_use_decides(links: list[Underlay], size: int) -> None:
    """Neither loopback nor tunnels, nor what is down."""
    assert largest_inner(links) == size
    assert OVERHEAD == 80


def test_loopback_is_no_underlay() -> None:
    """It is on every host, and up."""
    [loopback] = [one for one in links_of_host() if one.name == "lo"]
    assert loopback.mtu > 1500
    assert not loopback.is_ethernet
