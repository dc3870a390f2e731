"""`meshnode network authority`: keys are added, listed and removed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.manage.paths import Directories
from tests.founded_node import RunningNode, found_home

Run = Callable[..., Any]


def test_an_authority_comes_and_goes(meshnode: Run, gate: RunningNode) -> None:
    """What stands on one is told; by mistake it does not go."""
    added = meshnode("network", "authority", "add")
    assert added.code == 0
    assert "authority-2.key: move it to a safe place" in added.err
    key = added.out.strip()
    first, second = meshnode("network", "authority", "list").out.splitlines()[1:]
    assert first.split()[1:3] == ["gate", "0"]
    assert second.startswith(key)
    assert second.endswith("authority-2.key")
    listed = json.loads(meshnode("network", "authority", "list", "--json").out)
    assert "chain" not in listed
    old = listed["authorities"][0]["key"]
    stays = meshnode("network", "authority", "remove", old)
    assert stays.code == 1
    assert "--force" in stays.err
    gone = meshnode("network", "authority", "remove", key[:10])
    assert (gone.code, gone.err) == (0, f"removed {key}\n")
    forced = meshnode("network", "authority", "remove", old, "--force", "--json")
    assert forced.code == 1  # it is the last


def test_a_key_somewhere_else_is_named(
    meshnode: Run, gate: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By option or environment."""
    safe = tmp_path / "safe"
    safe.mkdir(mode=0o700)
    kept = gate.directories.state_dir("home") / "authority.key"
    moved = kept.rename(safe / "mine.key")
    missing = meshnode("network", "authority", "add")
    assert missing.code == 3
    assert "--authority-key" in missing.err
    monkeypatch.setenv("MESHNODE_AUTHORITY_KEY", str(moved))
    assert meshnode("network", "authority", "add", "--json").code == 0
    moved.chmod(0o644)
    open_to_all = meshnode("network", "authority", "add")
    assert open_to_all.code == 1
    assert "chmod 600" in open_to_all.err


def test_a_sealed_key_needs_its_passphrase(
    meshnode: Run, directories: Directories, passphrase_file: str, tmp_path: Path
) -> None:
    """The node need not be up; the passphrase is never an argument."""
    found_home(directories, b"correct horse")
    without = meshnode("network", "authority", "add")
    assert without.code == 2
    assert "--passphrase-file" in without.err
    wrong = tmp_path / "wrong"
    wrong.write_text("incorrect\n")
    refused = meshnode("network", "authority", "add", "--passphrase-file", str(wrong))
    assert refused.code == 1
    added = meshnode(
        "network", "authority", "add", "--passphrase-file", passphrase_file
    )
    assert added.code == 0
    shown = json.loads(meshnode("network", "show", "--json").out)
    assert [one["key"] for one in shown["authorities"]][1:] == [added.out.strip()]
