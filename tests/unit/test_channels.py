"""Channels as endpoints: both ways, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.channels import channel_of, endpoint_of
from meshnode.types import Endpoint


@given(st.integers(1, 2**32 - 1))
def test_every_number_comes_back(channel: int) -> None:
    """From an endpoint that is a real value, in canonical form."""
    endpoint = endpoint_of(channel)
    assert channel_of(endpoint) == channel
    assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "2001:db8::1", "100::", "100::1:0:0", "1000::1", "::1"]
)
def test_addresses_are_no_channels(host: str) -> None:
    """Neither is the discard prefix beyond 32 bits."""
    assert channel_of(Endpoint(host, 9)) == 0
