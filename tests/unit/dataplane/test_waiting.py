"""Tests of the waiter that engines sleep in."""

import select
import socket
from collections.abc import Iterator

import pytest

from meshnode.dataplane.waiting import Waiter


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Three links."""
    made = [socket.socketpair() for _ in range(3)]
    yield made
    for ends in made:
        for one in ends:
            one.close()


def test_it_names_what_is_ready(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    """And only that."""
    waiter = Waiter()
    watched = {ours.fileno(): select.POLLIN for ours, _ in pairs}
    pairs[1][1].send(b"x")
    assert waiter.wait(watched) == [pairs[1][0].fileno()]


def test_it_follows_what_is_wanted(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    """Other events, fewer descriptors, other ones of the same number."""
    waiter = Waiter()
    first, second = pairs[0][0], pairs[1][0]
    both = select.POLLIN | select.POLLOUT
    assert waiter.wait({first.fileno(): both}) == [first.fileno()]
    pairs[1][1].send(b"x")
    watched = {first.fileno(): select.POLLIN, second.fileno(): select.POLLIN}
    assert waiter.wait(watched) == [second.fileno()]
    number = second.fileno()
    second.close()
    pairs[2][1].send(b"y")
    with socket.socket(fileno=pairs[2][0].detach()) as third:
        assert waiter.wait({third.fileno(): select.POLLIN}) == [third.fileno()]
    assert number not in waiter._watched


def test_a_hang_up_is_ready(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """Or nobody would learn of it."""
    pairs[0][1].close()
    watched = {pairs[0][0].fileno(): select.POLLIN}
    assert Waiter().wait(watched) == [pairs[0][0].fileno()]
