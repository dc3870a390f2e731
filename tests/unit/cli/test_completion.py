"""Completion scripts, and what they complete."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(meshnode: Callable[..., Any], shell: str) -> None:
    """The script completes our program by our variable."""
    result = meshnode("completion", shell)
    assert result.code == 0
    assert "_MESHNODE_COMPLETE" in result.out
    assert "meshnode" in result.out


def test_other_shells_are_refused(meshnode: Callable[..., Any]) -> None:
    """There is nothing for them."""
    assert meshnode("completion", "cmd").code == 2


def complete(*words: str) -> list[str]:
    """What a shell is offered after these words."""
    environment = {
        **os.environ,
        "_MESHNODE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    program = "import sys; from meshnode.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.partition(",")[2] for line in done.stdout.split()]


def test_commands_and_keys_are_completed(
    meshnode: Callable[..., Any], key_dir: Path
) -> None:
    """Verbs come from the program, names from the key directory."""
    meshnode("key", "gen", "home")
    meshnode("key", "gen", "away")
    assert "cleanup" in complete("meshnode", "c")
    assert complete("meshnode", "key", "show", "h") == ["home"]
    assert complete("meshnode", "key", "rotate", "") == ["away", "home"]


def test_a_bad_key_directory_completes_nothing(
    meshnode: Callable[..., Any], key_dir: Path
) -> None:
    """A shell shows no errors."""
    meshnode("key", "gen", "home")
    key_dir.chmod(0o755)
    assert complete("meshnode", "key", "show", "") == []
