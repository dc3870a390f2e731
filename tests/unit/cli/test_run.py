"""What becomes of a command: exit codes, one line of error, traces on demand."""

import errno
import subprocess
import sys
from pathlib import Path

import click
import pytest

from meshnode.cli.run import run
from meshnode.errors import ConfigError, MeshnodeError, PrivilegeError, UsageError


class NoSuchThing(MeshnodeError):
    """An error with an exit code of its own."""

    exit_code = 3


def ending(error: BaseException | None, result: object = None) -> click.Command:
    """A command that ends like this."""

    @click.command()
    def command() -> object:
        if error is not None:
            raise error
        return result

    return command


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["prog"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("bad value"), 1, "prog: bad value"),
        (UsageError("bad word"), 2, "prog: bad word"),
        (NoSuchThing("not there"), 3, "prog: not there"),
        (PrivilegeError("not root", errno=1), 5, "prog: not root"),
        (PermissionError(errno.EACCES, "Denied", "/x"), 5, "prog: /x: Denied"),
        (FileNotFoundError(errno.ENOENT, "Gone", "/x"), 1, "prog: /x: Gone"),
        (OSError(errno.EIO, "Broken"), 1, "prog: Broken"),
        (OSError("odd"), 1, "prog: odd"),
        (ConfigError("two\nlines"), 1, "prog: two lines"),
        (
            ZeroDivisionError("by zero"),
            1,
            "prog: unexpected ZeroDivisionError: by zero (trace: MESHNODE_DEBUG=1)",
        ),
        (click.Abort(), 1, "prog: aborted"),
    ],
)
def test_an_error_is_one_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind of error has its code and its line on standard error."""
    assert run(ending(error), "prog") == code
    assert capsys.readouterr() == ("", line + "\n")


def test_wrong_usage_is_told_by_click(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors of the command line end with 2."""
    assert run(ending(click.UsageError("no")), "prog") == 2
    assert "Error: no" in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (7, 7)])
def test_a_command_may_choose_its_code(result: int | None, code: int) -> None:
    """What it returns is the exit code; nothing is success."""
    assert run(ending(None, result), "prog") == code


@pytest.mark.parametrize("error", [ConfigError("bad"), ZeroDivisionError("bad")])
def test_the_trace_is_shown_on_demand(
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """MESHNODE_DEBUG=1 shows where an error came from."""
    monkeypatch.setenv("MESHNODE_DEBUG", "1")
    assert run(ending(error), "prog") == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_ends_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupted command says nothing and ends as shells expect."""
    assert run(ending(KeyboardInterrupt()), "prog") == 130
    assert capsys.readouterr().err.strip() == ""


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """A reader that has seen enough, like `head`, is not told off."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, click\n"
        "from meshnode.cli.run import run\n"
        "@click.command()\n"
        "def command():\n"
        "    for _ in range(100000):\n"
        "        click.echo('x' * 100)\n"
        "sys.exit(run(command, 'prog'))\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 1
