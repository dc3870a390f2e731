"""Links between processes: boundaries, back-pressure and descriptors."""

import os
import socket
from collections.abc import Iterator

import pytest

from meshnode.errors import HostError
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a link of 64 KiB."""
    ends = seqpacket_pair(buffer_bytes=65536)
    yield ends
    for end in ends:
        end.close()


def test_messages_keep_their_boundaries(pair: Pair) -> None:
    """Two messages arrive as two, in order, and then there is nothing."""
    left, right = pair
    assert send_with_fds(left, b"one")
    assert send_with_fds(left, b"two")
    received = [recv_with_fds(right, max_bytes=100) for _ in range(3)]
    assert received == [(b"one", []), (b"two", []), None]


def test_ends_do_not_block_and_are_not_inherited(pair: Pair) -> None:
    """Both ends are non-blocking and closed on exec."""
    for end in pair:
        assert not end.getblocking()
        assert not end.get_inheritable()


def test_descriptors_arrive_and_are_not_inherited(pair: Pair) -> None:
    """A passed pipe works at the other end and is closed on exec."""
    reading, writing = os.pipe()
    assert send_with_fds(pair[0], b"pipe", [writing])
    os.close(writing)
    received = recv_with_fds(pair[1], max_bytes=100, max_fds=4)
    assert received is not None
    [passed] = received[1]
    assert not os.get_inheritable(passed)
    os.write(passed, b"hello")
    assert os.read(reading, 10) == b"hello"
    for fd in (reading, passed):
        os.close(fd)


def test_full_link_refuses_and_recovers(pair: Pair) -> None:
    """A full link answers False; room made by the reader is usable again."""
    left, right = pair
    sent = 0
    while send_with_fds(left, bytes(1000)):
        sent += 1
    assert 10 < sent < 200
    for _ in range(sent):
        assert recv_with_fds(right, max_bytes=1000) == (bytes(1000), [])
    assert recv_with_fds(right, max_bytes=1000) is None
    assert send_with_fds(left, b"again")


def test_buffer_size_decides_how_much_fits() -> None:
    """A link made larger holds more."""
    capacities = []
    for size in (32768, 262144):
        left, right = seqpacket_pair(buffer_bytes=size)
        count = 0
        while send_with_fds(left, bytes(1000)):
            count += 1
        capacities.append(count)
        left.close()
        right.close()
    assert capacities[1] > 4 * capacities[0]


def test_end_of_link_is_an_empty_message(pair: Pair) -> None:
    """The reader sees the end as b"", which can therefore not be sent."""
    left, right = pair
    with pytest.raises(ValueError, match="empty"):
        send_with_fds(left, b"")
    left.close()
    assert recv_with_fds(right, max_bytes=10) == (b"", [])


def test_sending_to_a_closed_end_is_an_error(pair: Pair) -> None:
    """A link without a reader breaks with EPIPE."""
    pair[1].close()
    with pytest.raises(HostError) as caught:
        send_with_fds(pair[0], b"x")
    assert caught.value.errno == 32


def test_too_long_message_is_refused_and_leaks_nothing(pair: Pair) -> None:
    """A truncated message is lost, and so are its descriptors."""
    before = set(os.listdir("/proc/self/fd"))
    with open(os.devnull, "rb") as file:
        assert send_with_fds(pair[0], bytes(50), [file.fileno()])
        with pytest.raises(HostError) as caught:
            recv_with_fds(pair[1], max_bytes=10, max_fds=1)
    assert caught.value.errno == 90
    assert set(os.listdir("/proc/self/fd")) == before


def test_too_many_descriptors_are_refused_and_closed(pair: Pair) -> None:
    """More descriptors than expected make the message invalid."""
    before = set(os.listdir("/proc/self/fd"))
    with open(os.devnull, "rb") as file:
        assert send_with_fds(pair[0], b"x", [file.fileno()] * 8)
        with pytest.raises(HostError):
            recv_with_fds(pair[1], max_bytes=10, max_fds=1)
    assert set(os.listdir("/proc/self/fd")) == before


def test_message_larger_than_the_link_is_an_error() -> None:
    """What can never fit is not reported as a full link."""
    left, right = seqpacket_pair(buffer_bytes=8192)
    with left, right, pytest.raises(HostError) as caught:
        send_with_fds(left, bytes(1 << 20))
    assert caught.value.errno == 90
