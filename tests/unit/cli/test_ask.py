"""Asking the node, reading what was given, and talking to a terminal."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from meshnode.cli.ask import MAX_INPUT_CHARACTERS, ask, read_input, say
from meshnode.errors import UsageError
from meshnode.manage.networks import NoSuchNetworkError
from meshnode.manage.paths import Directories


def test_the_only_network_is_asked(node: Any, directories: Directories) -> None:
    """With the arguments as they are."""
    node.answers["status"] = {"a": 1}
    assert ask(None, directories, "status", b=2) == {"a": 1}
    assert node.asked == [("home", "status", {"b": 2})]


def test_an_unknown_network_is_not_asked(node: Any, directories: Directories) -> None:
    """The error comes from the configuration."""
    with pytest.raises(NoSuchNetworkError):
        ask("office", directories, "status")
    assert node.asked == []


def test_input_is_a_file_or_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dash is standard input."""
    (tmp_path / "x").write_text("from a file")
    assert read_input(str(tmp_path / "x")) == "from a file"
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a pipe"))
    assert read_input("-") == "from a pipe"


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"\xff\xfe", "is not text"), (b"x" * (MAX_INPUT_CHARACTERS + 1), "too long")],
)
def test_what_cannot_be_meant_is_wrong_usage(
    tmp_path: Path, data: bytes, problem: str
) -> None:
    """Before anybody is asked."""
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UsageError, match=problem):
        read_input(str(tmp_path / "x"))


def test_progress_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script reads nothing of it."""
    say("starting")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    say("starting")
    assert capsys.readouterr() == ("", "starting\n")
