"""The options of a node without privileges."""

import click
import pytest
from click.testing import CliRunner

from meshnode.cli.rootless import rootless_options
from meshnode.errors import UsageError
from meshnode.node.resources import Rootless, rootless


def value(*words: str) -> Rootless | None:
    """Return what the options stand for."""
    found: list[Rootless | None] = []

    @click.command()
    @rootless_options
    def command(rootless: Rootless | None) -> None:
        found.append(rootless)

    CliRunner().invoke(command, words, catch_exceptions=False)
    return found[0]


def test_nothing_is_rootless_unless_that_is_said() -> None:
    """The value itself says so."""
    assert value() is None
    assert value("--rootless") == Rootless()


def test_ports_are_read() -> None:
    """In the order of their kinds."""
    words = ("--publish", "udp:53:5353", "--forward", "tcp:1:2", "--forward", "tcp:3:4")
    expected = rootless(["tcp:1:2", "tcp:3:4"], ["udp:53:5353"])
    assert value("--rootless", *words) == expected


@pytest.mark.parametrize(
    "words", [("--forward", "tcp:1:2"), ("--rootless", "--publish", "tcp:1")]
)
def test_bad_ports_are_refused(words: tuple[str, ...]) -> None:
    """Also good ones of a node that has the host's network."""
    with pytest.raises(UsageError):
        value(*words)
