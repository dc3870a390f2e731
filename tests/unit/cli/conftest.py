"""Running commands: in this process, and as a program."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshnode.cli.main import cli
from meshnode.cli.run import run
from meshnode.crypto import passphrase


@dataclass(frozen=True)
class Result:
    """What became of a command."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("MESHNODE_", "WG_", "LOG_LEVEL")):
            monkeypatch.delenv(name)


@pytest.fixture
def key_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key directory of every command in the test."""
    path = tmp_path / "keys"
    monkeypatch.setenv("MESHNODE_KEY_DIR", str(path))
    return path


@pytest.fixture
def meshnode(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Run `meshnode` with these arguments in this process."""

    def invoke(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "argv", ["meshnode", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(cli, "meshnode")
        return Result(code, *capfd.readouterr())

    return invoke


@pytest.fixture
def spawn() -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
    """Run `python -m meshnode` with these arguments as a program."""

    def run_program(
        *arguments: str, stdin: bytes = b""
    ) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [sys.executable, "-m", "meshnode", *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
        )

    return run_program


@pytest.fixture
def cheap_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passphrases cost next to nothing in this process."""
    monkeypatch.setattr(passphrase, "OPERATIONS", 1)
    monkeypatch.setattr(passphrase, "MEMORY", 8192)


@pytest.fixture
def passphrase_file(tmp_path: Path, cheap_passphrase: None) -> str:
    """A file with a passphrase."""
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    return str(path)
