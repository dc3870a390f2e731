"""Bytes between control and the process that carries what is steered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.steer_link import (
    MAX_MESSAGE_BYTES,
    Answer,
    CarrierMessage,
    CloseDoor,
    ControlMessage,
    OpenDoor,
    Started,
    WantSocket,
    decode_from_carrier,
    decode_from_control,
    encode,
)
from meshnode.errors import CodecError
from meshnode.types import Target

TARGETS = st.builds(
    Target,
    st.sampled_from(["192.0.2.1", "2001:db8::1", "proxy.example.org"]),
    st.integers(1, 65535),
)
NUMBERS = st.integers(0, 2**32 - 1)
FROM_CONTROL = st.one_of(
    st.builds(
        OpenDoor,
        st.integers(1, 30),
        st.sampled_from(["socks5", "http"]),
        st.lists(TARGETS, max_size=4, unique=True).map(tuple),
        st.just("bob"),
        st.just("hidden"),
        st.lists(st.sampled_from(["tcp", "udp"]), max_size=4).map(tuple),
    ),
    st.builds(CloseDoor, st.integers(1, 30)),
    st.builds(Answer, NUMBERS, st.just("no")),
)
FROM_CARRIER = st.one_of(
    st.just(Started()), st.builds(WantSocket, NUMBERS, st.sampled_from([4, 6]))
)


@given(FROM_CONTROL)
def test_what_control_says_comes_back(message: ControlMessage) -> None:
    """Whole, and short enough."""
    data = encode(message)
    assert len(data) <= MAX_MESSAGE_BYTES
    assert decode_from_control(data) == message


@given(FROM_CARRIER)
def test_what_the_carrier_says_comes_back(message: CarrierMessage) -> None:
    """In the other direction it would mean something else."""
    assert decode_from_carrier(encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        CloseDoor(0),
        CloseDoor(31),
        OpenDoor(1, "socks5", (Target("x", 0),), "", ""),
        OpenDoor(1, "socks5", (), "", "", ("tcp",) * 5),
        OpenDoor(1, "socks5", (), "", "", ("icmp",)),
        OpenDoor(1, "socks5", (), "u" * 256, ""),
    ],
)
def test_what_is_out_of_range_is_not_said(message: ControlMessage) -> None:
    """Or at least not understood."""
    with pytest.raises(CodecError):
        decode_from_control(encode(message))


def test_a_password_is_not_shown() -> None:
    """Not in a log, nor in a trace."""
    assert "hidden" not in repr(OpenDoor(1, "http", (), "bob", "hidden"))
