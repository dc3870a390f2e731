"""What a node will be is said in the same words wherever one is made."""

from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from meshnode.cli.node_options import default_name, node_options


@click.command()
@node_options
def show(**values: Any) -> None:
    """Print what was understood."""
    for key in sorted(values):
        click.echo(f"{key}={values[key]!r}")


def run(*words: str, **environment: str) -> list[str]:
    """Return the lines that *show* prints."""
    result = CliRunner().invoke(show, words, env=environment)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host needs to say nothing about itself."""
    name = SimpleNamespace(nodename="Paris.example.org")
    monkeypatch.setattr("os.uname", lambda: name)
    assert default_name() == "paris"
    assert run() == [
        "accept_routes=False",
        "advertise=()",
        "interface=None",
        "listen_port=51820",
        "node_name='paris'",
    ]


def test_options_and_environment_say_the_same() -> None:
    """Each has a variable."""
    said = run(
        *("--name", "rome", "--listen-port", "0", "--interface", "mesh0"),
        *("--advertise", "192.0.2.1:5", "--accept-routes"),
    )
    assert said == run(
        MESHNODE_NAME="rome",
        MESHNODE_LISTEN_PORT="0",
        MESHNODE_INTERFACE="mesh0",
        MESHNODE_ADVERTISE="192.0.2.1:5",
        MESHNODE_ACCEPT_ROUTES="1",
    )


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_is_a_port(port: str) -> None:
    """Anything else is wrong usage."""
    assert CliRunner().invoke(show, ["--listen-port", port]).exit_code == 2
