"""Forwarded ports survive being written and read."""

from hypothesis import given
from hypothesis import strategies as st

from meshnode.proxy.forwards import Forward, Transport, Way
from meshnode.types import Endpoint

_ENDPOINTS = st.builds(
    lambda address, port: Endpoint(str(address), port),
    st.ip_addresses().filter(lambda one: "%" not in str(one)),
    st.integers(1, 65535),
)


@given(
    st.builds(
        Forward,
        st.sampled_from(Way),
        st.sampled_from(Transport),
        _ENDPOINTS,
        _ENDPOINTS,
    )
)
def test_text_means_the_same(forward: Forward) -> None:
    """Every value has a text that reads as it, without a comma that would part it."""
    text = str(forward)
    assert Forward.parse(text) == forward
    assert "," not in text
