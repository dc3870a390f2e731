"""Channels as endpoints: both ways, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.channels import channel_of, endpoint_of, is_channel_host
from meshnode.types import Endpoint


@given(st.integers(1, 2**32 - 1))
def test_every_number_comes_back(channel: int) -> None:
    """From an endpoint that is a real value, in canonical form."""
    endpoint = endpoint_of(channel)
    assert channel_of(endpoint) == channel
    assert Endpoint.parse(str(endpoint)) == endpoint


def test_channels_have_addresses_that_nobody_else_has() -> None:
    """All of the discard prefix, as far as its text begins alike."""
    assert is_channel_host(endpoint_of(2**32 - 1).host)
    assert is_channel_host("100::1:0:0")
    for host in ("192.0.2.1", "2001:db8::1", "1000::1", "::1", "::ffff:100.0.0.1"):
        assert not is_channel_host(host)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "2001:db8::1", "100::", "100::1:0:0", "1000::1", "::1"]
)
def test_addresses_are_no_channels(host: str) -> None:
    """Neither is the discard prefix beyond 32 bits."""
    assert channel_of(Endpoint(host, 9)) == 0
