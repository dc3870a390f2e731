"""Any text as a forwarded port: one or one refusal."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import UsageError
from meshnode.proxy.forwards import Forward, Way

_PIECES = ("tcp", "udp", ":", "[", "]", "::1", "10.0.0.1", "80", "0", "65536", "%", "²")


@given(
    st.sampled_from(Way),
    st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from(_PIECES), max_size=12).map("".join),
    ),
)
def test_any_text(way: Way, text: str) -> None:
    """What is taken is whole, and means the same when it is written again."""
    forward = None
    with suppress(UsageError):
        forward = Forward.from_option(way, text)
    if forward is None:
        return
    assert Forward.parse(str(forward)) == forward
    assert 1 <= forward.listen.port <= 65535
    assert 1 <= forward.target.port <= 65535
