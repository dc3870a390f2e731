"""`meshnode key encrypt`, `decrypt` and `rotate`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Meshnode = Callable[..., Any]


@pytest.fixture
def public(meshnode: Meshnode, key_dir: Path) -> str:
    """The line of the public key of a stored key `home`."""
    return str(meshnode("key", "gen", "home").out)


def test_encrypt_and_decrypt_are_inverse(
    meshnode: Meshnode, public: str, key_dir: Path, passphrase_file: str
) -> None:
    """The file is sealed and comes back; the public key stays the same."""
    source = ("--passphrase-file", passphrase_file)
    clear = (key_dir / "home.key").read_bytes()
    assert meshnode("key", "encrypt", "home", *source).code == 0
    sealed = (key_dir / "home.key").read_bytes()
    assert clear.strip() not in sealed
    assert meshnode("key", "pub", "home").out == public
    assert meshnode("key", "decrypt", "home", *source).code == 0
    assert (key_dir / "home.key").read_bytes() == clear


@pytest.mark.usefixtures("cheap_passphrase")
def test_the_passphrase_may_come_from_a_descriptor(
    meshnode: Meshnode, public: str
) -> None:
    """A pipe leaves no trace on a disk."""
    for verb in ("encrypt", "decrypt"):
        reader, writer = os.pipe()
        os.write(writer, b"secret\n")
        os.close(writer)
        result = meshnode("key", verb, "home", "--passphrase-fd", str(reader))
        assert result.code == 0, result.err


def test_what_is_so_already_is_an_error(
    meshnode: Meshnode, public: str, passphrase_file: str
) -> None:
    """Nothing is sealed twice, nor opened when it is open."""
    source = ("--passphrase-file", passphrase_file)
    assert meshnode("key", "decrypt", "home", *source).code == 1
    meshnode("key", "encrypt", "home", *source)
    assert meshnode("key", "encrypt", "home", *source).code == 1


def test_a_wrong_passphrase_changes_nothing(
    meshnode: Meshnode,
    public: str,
    key_dir: Path,
    passphrase_file: str,
    tmp_path: Path,
) -> None:
    """Neither decrypt nor rotate goes on with it."""
    meshnode("key", "encrypt", "home", "--passphrase-file", passphrase_file)
    before = (key_dir / "home.key").read_bytes()
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    for verb in ("decrypt", "rotate"):
        result = meshnode("key", verb, "home", "--passphrase-file", str(wrong))
        assert result.code == 1
        assert "wrong passphrase" in result.err
    assert [path.name for path in key_dir.iterdir()] == ["home.key"]
    assert (key_dir / "home.key").read_bytes() == before


def test_a_passphrase_is_never_an_argument(meshnode: Meshnode, public: str) -> None:
    """There is no option to put it on the command line."""
    assert meshnode("key", "encrypt", "home", "--passphrase", "secret").code == 2


def test_rotate_prints_the_new_public_key_and_keeps_the_old(
    meshnode: Meshnode, public: str, key_dir: Path
) -> None:
    """Until it is finished, when only the new one is left."""
    new = meshnode("key", "rotate", "home").out
    assert new != public
    assert meshnode("key", "pub", "home").out == new
    old = (key_dir / "home.old").read_bytes()
    assert meshnode("pubkey", stdin=old).out == public
    assert meshnode("key", "rotate", "home").code == 1
    assert meshnode("key", "rotate", "home", "--finish").out == new
    assert [path.name for path in key_dir.iterdir()] == ["home.key"]


def test_rotate_can_be_undone(meshnode: Meshnode, public: str, key_dir: Path) -> None:
    """The old key is back."""
    meshnode("key", "rotate", "home")
    assert meshnode("key", "rotate", "home", "--back").out == public
    assert [path.name for path in key_dir.iterdir()] == ["home.key"]
    assert meshnode("key", "rotate", "home", "--back").code == 1


def test_finish_and_back_exclude_each_other(meshnode: Meshnode, public: str) -> None:
    """Which is meant is not guessed."""
    meshnode("key", "rotate", "home")
    assert meshnode("key", "rotate", "home", "--finish", "--back").code == 2
    assert "rotating" in meshnode("key", "list").out


def test_an_encrypted_key_is_followed_by_an_encrypted_one(
    meshnode: Meshnode, public: str, key_dir: Path, passphrase_file: str
) -> None:
    """The same passphrase opens both; no key is in clear."""
    source = ("--passphrase-file", passphrase_file)
    meshnode("key", "encrypt", "home", *source)
    new = meshnode("key", "rotate", "home", *source).out
    for name in ("home.key", "home.old"):
        assert (key_dir / name).read_text().startswith("meshnode sealed key 1\n")
    private = meshnode("key", "show", "home", "--reveal", "private", *source).out
    assert meshnode("pubkey", stdin=private.encode()).out == new


def test_an_unknown_key_ends_with_3(meshnode: Meshnode, key_dir: Path) -> None:
    """For each of the verbs, and before any question."""
    for arguments in (
        ["encrypt", "home"],
        ["decrypt", "home"],
        ["rotate", "home"],
        ["rotate", "home", "--finish"],
        ["rotate", "home", "--back"],
    ):
        assert meshnode("key", *arguments).code == 3
