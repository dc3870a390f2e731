"""Permissions to issue that were given away are remembered, each once."""

import random
from pathlib import Path

import pytest

from meshnode.errors import ConfigError
from meshnode.manage.delegated import add_delegated, load_delegated
from meshnode.manage.secret_dir import create_secret_dir


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A state directory as a node has one."""
    path = tmp_path / "home"
    create_secret_dir(path)
    return path


def test_nothing_was_given_away_at_first(state_dir: Path) -> None:
    """A missing file is no error."""
    assert load_delegated(state_dir) == ()


def test_each_is_remembered_once(state_dir: Path, rng: random.Random) -> None:
    """In the order they were given."""
    first, second = rng.randbytes(200), rng.randbytes(300)
    for envelope in (first, second, first):
        add_delegated(state_dir, envelope)
    assert load_delegated(state_dir) == (first, second)


def test_a_damaged_file_is_named(state_dir: Path) -> None:
    """Two issuers with one pool must not come of it in silence."""
    add_delegated(state_dir, b"x")
    (state_dir / "delegated").write_bytes(b"???\n")
    with pytest.raises(ConfigError, match="delegated is damaged"):
        load_delegated(state_dir)
