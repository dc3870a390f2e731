"""Whatever bytes come between control and carrier, or from the kernel."""

from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.steer_link import decode_from_carrier, decode_from_control, encode
from meshnode.errors import CodecError, HostError
from meshnode.host.cgroups import find_root
from meshnode.host.steering import parse_counters, parse_learnt
from meshnode.proxy.transparent_udp_server import original_destination


@given(st.binary(max_size=200))
def test_links_may_carry_anything(data: bytes) -> None:
    """What is decoded can be said again."""
    for decode in (decode_from_control, decode_from_carrier):
        try:
            message = decode(data)
        except CodecError:
            continue
        assert decode(encode(message)) == message


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 41]),
            st.sampled_from([8, 20, 74]),
            st.binary(max_size=40),
        )
    )
)
def test_control_messages_may_hold_anything(
    messages: list[tuple[int, int, bytes]],
) -> None:
    """There is a destination or none."""
    found = original_destination(messages)
    assert found is None or 0 <= found.port <= 65535


@given(st.text())
def test_texts_of_the_system_may_say_anything(text: str) -> None:
    """They are understood or refused."""
    find_root(text)
    for parse in (parse_counters_of_two, parse_learnt):
        try:
            parse(text)
        except HostError:
            continue


def parse_counters_of_two(text: str) -> None:
    """There are as many as were asked for."""
    assert len(parse_counters(text, 2)) == 2
