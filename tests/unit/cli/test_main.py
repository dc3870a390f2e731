"""The command `meshnode` as a whole: help, version, and what it imports."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from meshnode import __version__
from meshnode.cli.main import cli

HEAVY = {
    "asyncio",
    "hypothesis",
    "logging",
    "meshnode.codec",
    "meshnode.dataplane",
    "meshnode.host",
    "meshnode.mesh",
    "meshnode.node",
    "msgpack",
    "pyroute2",
    "segno",
    "trio",
}


MESH = (
    *("network", "invite", "join", "up", "down", "restart", "reload", "run"),
    *("status", "peers", "routes", "ping", "wait", "watch", "steer", "trace", "why"),
    *("netcheck", "capture", "flows", "proxy", "route", "exit", "dns"),
    *("cert", "issuer", "policy", "peer", "import", "metrics", "service"),
)


def commands(
    group: click.Group = cli,
    path: tuple[str, ...] = (),
) -> list[tuple[tuple[str, ...], click.Command]]:
    """All commands with their paths, the group itself first."""
    found: list[tuple[tuple[str, ...], click.Command]] = [(path, group)]
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    """Both spellings show the same help; commands show how they are used."""
    long = CliRunner().invoke(cli, [*path, "--help"], prog_name="meshnode")
    short = CliRunner().invoke(cli, [*path, "-h"], prog_name="meshnode")
    assert long.exit_code == 0
    assert long.output == short.output
    if path:
        example = long.output.partition("\n  Example")[2]
        assert f"meshnode {' '.join(path)}" in example


def test_every_command_of_the_mesh_is_there() -> None:
    """Each can be called by its name, and in the order they are told."""
    assert tuple(cli.list_commands(click.Context(cli)))[: len(MESH)] == MESH


def test_help_of_the_mesh_needs_no_cryptography() -> None:
    """Libsodium takes long to load; who only asks for help does without."""
    script = (
        "import sys\n"
        "from meshnode.cli.main import cli\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        cli.main([*path.split(), '--help'], prog_name='meshnode')\n"
        "    except SystemExit:\n"
        "        pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *MESH], capture_output=True, check=True
    )
    imported = set(done.stderr.decode().split())
    assert not imported & {*HEAVY, "nacl"}


def test_the_table_of_exit_codes_is_in_the_help() -> None:
    """The help tells what each exit code means."""
    output = CliRunner().invoke(cli, ["--help"]).output
    for line in ("0  done", "2  wrong usage", "5  permission denied"):
        assert line in output


def test_every_option_with_a_default_names_its_variable() -> None:
    """Settings of the environment are told where the option is."""
    for path, command in commands():
        for option in command.params:
            if isinstance(option, click.Option) and option.envvar:
                assert option.show_envvar, (path, option.name)
                names = option.envvar
                first = names if isinstance(names, str) else names[0]
                assert first.startswith("MESHNODE_"), (path, option.name)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["key", "--help"],
        ["key", "gen"],
        ["key", "gen", "home"],
        ["genkey"],
        ["genpsk"],
        ["pubkey"],
        ["key", "list"],
        ["key", "show", "--help"],
        ["wg", "--help"],
        ["cleanup", "--help"],
        *[[name, "--help"] for name in MESH],
        *[["cert", "request", "--help"], ["network", "authority", "add", "--help"]],
    ],
    ids=" ".join,
)
def test_small_commands_import_little(arguments: list[str], key_dir: Any) -> None:
    """The shell of the node is imported by those who run it only."""
    script = (
        "import sys\n"
        "from meshnode.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(*sys.modules, file=sys.stderr)\n"
    )
    key = b"yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        input=key,
        capture_output=True,
        check=True,
    )
    imported = set(done.stderr.decode().split())
    assert "click" in imported
    assert not imported & HEAVY


@pytest.mark.parametrize("verb", ["status", "peers", "down home", "network list"])
def test_asking_a_node_imports_nothing_of_what_it_is_made_of(
    verb: str, tmp_path: Path
) -> None:
    """A client needs a socket and JSON: no keys, no Trio, no supervisor."""
    script = (
        "import sys\n"
        "from meshnode.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(*sys.modules, file=sys.stderr)\n"
    )
    (tmp_path / "home.toml").touch()
    places = [f"--{name}-dir={tmp_path}" for name in ("config", "run")]
    done = subprocess.run(
        [sys.executable, "-c", script, *verb.split(), *places],
        capture_output=True,
        check=False,
    )
    imported = set(done.stderr.decode().split())
    # Asking goes by this module of the node's, and by no other.
    assert "meshnode.manage.api_client" in imported
    # `down` looks besides whether a kill switch stays.
    light = {"meshnode.node", *(["meshnode.host"] if verb == "down home" else [])}
    assert not imported & {*HEAVY - light, "nacl", "sqlite3"}
    assert "meshnode.node.supervisor" not in imported


def test_the_version_is_told(spawn: Callable[..., Any]) -> None:
    """`python -m meshnode` is `meshnode`."""
    done = spawn("--version")
    assert done.stdout.decode().split()[-1] == __version__
    assert done.returncode == 0


def test_no_command_shows_the_help(spawn: Callable[..., Any]) -> None:
    """Alone, the program tells what it can do, and that this was not all."""
    done = spawn()
    assert done.returncode == 2
    assert b"Commands:" in done.stdout + done.stderr


def test_an_unknown_command_is_wrong_usage(spawn: Callable[..., Any]) -> None:
    """It ends with 2 and an error."""
    done = spawn("nope")
    assert done.returncode == 2
    assert b"nope" in done.stderr
    assert done.stdout == b""
