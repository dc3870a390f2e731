"""The netlink messages about one interface, byte by byte."""

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.host import rtnetlink
from meshnode.host.rtnetlink import LinkState, Message

pytestmark = pytest.mark.skipif(
    sys.byteorder != "little", reason="the vectors are those of a little-endian host"
)

IFINFO = bytes.fromhex("0000feff07000000 c1100100 00000000".replace(" ", ""))
NAME = bytes.fromhex("08000300") + b"wg0\0"
MTU = bytes.fromhex("08000400 8c050000".replace(" ", ""))


def test_link_request_by_name() -> None:
    """RTM_GETLINK asks for a name, which ends with a zero and is padded."""
    assert rtnetlink.get_link("wg0", None, 5).hex(" ", 4) == (
        "28000000 12000100 05000000 00000000"
        " 00000000 00000000 00000000 00000000 08000300 77673000"
    )


def test_link_request_beyond_our_namespace() -> None:
    """The other namespace is named by its id, in IFLA_TARGET_NETNSID."""
    assert rtnetlink.get_link("wg0", 3, 5).hex(" ", 4).endswith("08002e00 03000000")


def test_namespace_requests() -> None:
    """An id is asked for, and assigned, by descriptor."""
    assert rtnetlink.get_nsid(9, 1).hex(" ", 4) == (
        "1c000000 5a000100 01000000 00000000 00000000 08000300 09000000"
    )
    assert rtnetlink.new_nsid(9, 1).hex(" ", 4) == (
        "24000000 58000500 01000000 00000000 00000000"
        " 08000100 ffffffff 08000300 09000000"
    )


def test_link_is_read() -> None:
    """Index, flags, name and MTU make a state."""
    assert rtnetlink.parse_link(IFINFO + NAME + MTU) == LinkState(7, "wg0", 1420, True)
    assert rtnetlink.parse_link_index(IFINFO) == 7


def test_up_is_the_administrative_flag() -> None:
    """Running without being up is not up."""
    body = IFINFO[:8] + struct.pack("=I", 0x40) + IFINFO[12:] + NAME + MTU
    state = rtnetlink.parse_link(body)
    assert state is not None
    assert not state.up


@pytest.mark.parametrize(
    "body", [b"", IFINFO[:-1], IFINFO, IFINFO + NAME, IFINFO + MTU]
)
def test_incomplete_link_is_none(body: bytes) -> None:
    """Without name and MTU there is no state."""
    assert rtnetlink.parse_link(body) is None


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [("0800010003000000", 3), ("08000100ffffffff", None), ("", None)],
)
def test_namespace_id_is_read(attribute: str, expected: int | None) -> None:
    """Minus one stands for no id."""
    assert rtnetlink.parse_nsid(bytes(4) + bytes.fromhex(attribute)) == expected


def test_error_is_a_positive_errno() -> None:
    """The kernel sends minus errno, and zero for an acknowledgement."""
    assert rtnetlink.parse_error(struct.pack("=i", -19) + bytes(16)) == 19
    assert rtnetlink.parse_error(bytes(20)) == 0


def message(kind: int, sequence: int, body: bytes) -> bytes:
    """Serialise one message with its padding."""
    header = struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0)
    return header + body + bytes(-len(body) % 4)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9), st.binary())))
def test_messages_follow_each_other(parts: list[tuple[int, int, bytes]]) -> None:
    """Padded messages in one datagram are told apart."""
    data = b"".join(message(*part) for part in parts)
    assert rtnetlink.parse_messages(data) == [Message(*part) for part in parts]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_error(data: bytes) -> None:
    """Every parser takes every input."""
    rtnetlink.parse_link(data)
    rtnetlink.parse_nsid(data)
    rtnetlink.parse_error(data)
    rtnetlink.parse_link_index(data)
    assert len(rtnetlink.parse_messages(data)) <= len(data) // 16


def test_message_that_lies_about_its_length_ends_the_list() -> None:
    """What claims to be longer than the datagram, or shorter than a header, is out."""
    good = message(16, 1, b"")
    for length in (0, 15, 17, 2**32 - 1):
        bad = struct.pack("=IHHII", length, 16, 0, 2, 0)
        assert rtnetlink.parse_messages(good + bad) == [Message(16, 1, b"")]
