"""`meshnode cleanup`, over a journal that only remembers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.errors import HostError
from meshnode.host import journal
from meshnode.node import cleanup as node_cleanup


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories that were cleaned up."""
    seen: list[Path] = []

    def cleanup(directory: Path) -> list[str]:
        seen.append(directory)
        return ["removed x", "removed y"]

    monkeypatch.setattr(journal, "cleanup", cleanup)
    monkeypatch.setattr(node_cleanup, "lift_unwanted", lambda directories: [])
    return seen


def test_what_was_undone_is_told(
    meshnode: Callable[..., Any], seen: list[Path], tmp_path: Path
) -> None:
    """One line for each change."""
    result = meshnode("cleanup", "--run-dir", str(tmp_path))
    assert (result.code, result.out) == (0, "removed x\nremoved y\n")
    assert seen == [tmp_path]


def test_the_directory_may_come_from_the_environment(
    meshnode: Callable[..., Any], seen: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MESHNODE_RUN_DIR moves it; else it is the usual one."""
    meshnode("cleanup")
    monkeypatch.setenv("MESHNODE_RUN_DIR", "/somewhere")
    meshnode("cleanup")
    assert seen == [Path("/run/meshnode"), Path("/somewhere")]


def test_programs_get_json(meshnode: Callable[..., Any], seen: list[Path]) -> None:
    """The same lines, with a schema."""
    result = meshnode("cleanup", "--json")
    assert json.loads(result.out) == {
        "schema": 1,
        "undone": ["removed x", "removed y"],
    }


def test_a_failure_is_told(
    meshnode: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be undone is an error."""

    def refuse(directory: Path) -> list[str]:
        raise HostError("wg0.journal: no")

    monkeypatch.setattr(journal, "cleanup", refuse)
    result = meshnode("cleanup")
    assert (result.code, result.err) == (1, "meshnode: wg0.journal: no\n")


def test_nothing_to_undo_is_no_error(
    meshnode: Callable[..., Any], tmp_path: Path
) -> None:
    """The real journal finds nothing in an empty directory."""
    result = meshnode("cleanup", "--run-dir", str(tmp_path))
    assert (result.code, result.out, result.err) == (0, "", "")
