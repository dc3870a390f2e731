"""Running commands: in this process, and as a program."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshnode.cli.main import cli
from meshnode.cli.run import run
from meshnode.crypto import passphrase
from meshnode.manage import api_client
from meshnode.manage.paths import Directories
from meshnode.node import authority, running
from tests.founded_node import RunningNode, found_home


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


class FakeNode:
    """Answers in the place of a running node; an exception is raised.

    `asked` has the network, verb and arguments of every call, in order.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def call(
        self, directories: Any, network: str, verb: str, /, **args: Any
    ) -> dict[str, Any]:
        """Stand for `manage.api_client.call`."""
        args.pop("reply_timeout", None)
        self.asked.append((network, verb, args))
        answer = self.answers.get(verb)
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise api_client.NotRunningError(f"network {network} is not up")
        return dict(answer)

    def stream(
        self, directories: Any, network: str, verb: str, /, **args: Any
    ) -> Iterator[dict[str, Any]]:
        """Stand for `manage.api_client.stream`."""
        self.asked.append((network, verb, args))
        yield from self.answers[verb]

    def of(self, verb: str) -> dict[str, Any]:
        """Return the arguments of the only call with this verb."""
        (args,) = [args for _, asked, args in self.asked if asked == verb]
        return args


def _replace_call(
    monkeypatch: pytest.MonkeyPatch, call: Callable[..., dict[str, Any]]
) -> None:
    # Everywhere at once: a module first imported while the name is another's would
    # keep that for all tests to come.
    for module in (api_client, authority, running):
        monkeypatch.setattr(module, "call", call)


@pytest.fixture
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Directories:
    """The directories of every command in the test."""
    for kind in ("config", "state", "run", "uapi"):
        path = tmp_path / kind
        path.mkdir(mode=0o700)
        monkeypatch.setenv(f"MESHNODE_{kind.upper()}_DIR", str(path))
    return Directories.from_environment(os.environ)


@pytest.fixture
def home(directories: Directories) -> Path:
    """The configuration of the network `home`, the only one of this host."""
    path = directories.config_file("home")
    path.write_text('[node]\ninterface = "home"\nlisten_port = 51820\n')
    path.chmod(0o600)
    return path


@pytest.fixture
def node(home: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    """The node of `home`, which is down until it has answers."""
    fake = FakeNode()
    _replace_call(monkeypatch, fake.call)
    monkeypatch.setattr(api_client, "stream", fake.stream)
    return fake


@pytest.fixture
def gate(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningNode]:
    """The founder of `home`, up: its verbs are the real ones."""
    found_home(directories)
    running = RunningNode(directories)
    _replace_call(monkeypatch, running.call)
    yield running
    running.close()
