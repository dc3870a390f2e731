"""The poll loop."""

import os
from collections.abc import Iterator

import pytest

from meshnode.host.clock import boottime
from meshnode.node.loop import PollLoop

Pipe = tuple[int, int]


@pytest.fixture
def pipes() -> Iterator[list[Pipe]]:
    """Two pipes."""
    made = [os.pipe(), os.pipe()]
    yield made
    for pipe in made:
        for end in pipe:
            os.close(end)


def test_handlers_of_readable_descriptors_are_called(pipes: list[Pipe]) -> None:
    """Only what is readable is handled."""
    loop = PollLoop()
    called: list[int] = []
    for number, (reading, _) in enumerate(pipes):
        loop.listen(reading, lambda number=number: called.append(number))
    os.write(pipes[1][1], b"x")
    loop.wait(None)
    assert called == [1]


def test_what_an_earlier_handler_ignored_is_not_called(pipes: list[Pipe]) -> None:
    """A handler may take another one away that was about to be called."""
    loop = PollLoop()
    called: list[int] = []

    def handle(number: int) -> None:
        called.append(number)
        loop.ignore(pipes[1 - number][0])

    for number, (reading, writing) in enumerate(pipes):
        loop.listen(reading, lambda number=number: handle(number))
        os.write(writing, b"x")
    loop.wait(None)
    assert len(called) == 1


def test_a_moment_in_the_past_does_not_sleep(pipes: list[Pipe]) -> None:
    """It returns, and nothing is called."""
    loop = PollLoop()
    loop.listen(pipes[0][0], pytest.fail)
    loop.wait(boottime() - 10)


def test_ignoring_twice_is_harmless(pipes: list[Pipe]) -> None:
    """Forgetting what is not known does nothing."""
    loop = PollLoop()
    loop.listen(pipes[0][0], pytest.fail)
    loop.ignore(pipes[0][0])
    loop.ignore(pipes[0][0])
    os.write(pipes[0][1], b"x")
    loop.wait(boottime())
