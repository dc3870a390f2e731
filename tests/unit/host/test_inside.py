"""A thread inside another network namespace."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from meshnode.errors import HostError
from meshnode.host import inside as module
from meshnode.host.inside import Inside


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    """A thread that has entered nothing."""
    entered: list[int] = []
    monkeypatch.setattr(module, "enter_namespace", entered.append)
    made = Inside(7, lambda: entered.append(-1))
    assert entered == [7, -1]
    yield made
    made.close()


def test_calls_are_made_in_one_thread_of_its_own(inside: Inside) -> None:
    """Results and errors come back."""
    threads = {inside.call(threading.get_ident) for _ in range(3)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    with pytest.raises(ZeroDivisionError):
        inside.call(lambda: 1 // 0)


def test_sockets_are_ready_for_an_event_loop(inside: Inside) -> None:
    """Non-blocking, and an unknown family is one line."""
    with inside.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        assert not one.getblocking()
    with pytest.raises(HostError, match="the mesh's network"):
        inside.open_socket(255, socket.SOCK_DGRAM)  # type: ignore[arg-type]


def test_its_namespaces_can_be_opened(inside: Inside) -> None:
    """By who may look at this process."""
    for path in inside.namespaces:
        os.close(os.open(path, os.O_RDONLY))


def test_no_thread_is_left_where_it_cannot_enter() -> None:
    """A descriptor of something else is refused."""
    threads = threading.active_count()
    with open(os.devnull, "rb") as file, pytest.raises(HostError):
        Inside(file.fileno(), lambda: None)
    assert threading.active_count() == threads
