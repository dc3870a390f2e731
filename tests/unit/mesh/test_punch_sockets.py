"""What the shell is asked to do with sockets."""

from meshnode.mesh.punch_sockets import (
    MAX_KEPT,
    CloseSocket,
    CloseSockets,
    KeepSocket,
    OpenSockets,
    SearchSockets,
)

ONE, OTHER = bytes([1]) * 32, bytes([2]) * 32


def test_one_search_has_them_at_a_time() -> None:
    """The next gets none until they are closed."""
    sockets = SearchSockets()
    assert sockets.ask(64, ONE)
    assert not sockets.ask(64, OTHER)
    sockets.choose(OTHER, 7)
    sockets.choose(ONE, 0)
    assert sockets.ask(256, OTHER)
    assert sockets.take_orders() == [OpenSockets(64), CloseSockets(), OpenSockets(256)]
    assert sockets.take_orders() == []


def test_the_winner_is_kept_until_it_is_released() -> None:
    """A later one of the same member takes its place."""
    sockets = SearchSockets()
    for port in (7, 8):
        sockets.ask(64, ONE)
        sockets.choose(ONE, port)
    sockets.release(ONE)
    sockets.release(ONE)
    assert sockets.take_orders() == [
        *(OpenSockets(64), KeepSocket(7, ONE), CloseSockets()),
        *(OpenSockets(64), CloseSocket(7), KeepSocket(8, ONE), CloseSockets()),
        CloseSocket(8),
    ]


def test_one_lies_aside_while_others_search() -> None:
    """It stays open as long as it is of use, and a search at its end closes it."""
    sockets = SearchSockets()
    sockets.ask(1, ONE)
    sockets.set_aside(OTHER, 9)
    assert sockets.user == ONE
    sockets.set_aside(ONE, 9)
    sockets.ask(64, OTHER)
    sockets.choose(OTHER, 0)
    sockets.drop_aside()
    assert sockets.take_orders() == [
        *(OpenSockets(1), CloseSockets(9), OpenSockets(64), CloseSockets(9)),
        CloseSockets(),
    ]
    sockets.ask(1, ONE)
    sockets.set_aside(ONE, 9)
    sockets.ask(64, OTHER)
    sockets.take_orders()
    sockets.drop_aside()
    assert sockets.take_orders() == []
    sockets.choose(OTHER, 0)
    assert sockets.take_orders() == [CloseSockets()]


def test_no_more_are_kept_than_the_workers_take() -> None:
    """There is no search then."""
    sockets = SearchSockets()
    for number in range(MAX_KEPT):
        key = bytes([number]) * 32
        assert sockets.ask(64, key)
        sockets.choose(key, 1000 + number)
    assert not sockets.ask(64, bytes([99]) * 32)
    sockets.release(bytes(32))
    assert sockets.ask(64, bytes([99]) * 32)
