"""`meshnode key gen`, `pub` and `psk`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Meshnode = Callable[..., Any]


def test_gen_without_a_name_prints_a_private_key(
    meshnode: Meshnode, key_dir: Path
) -> None:
    """As genkey does, and nothing is kept."""
    result = meshnode("key", "gen")
    assert (result.code, len(result.out), result.err) == (0, 45, "")
    assert not key_dir.exists()
    as_json = json.loads(meshnode("key", "gen", "--json").out)
    assert as_json["schema"] == 1
    assert len(as_json["privateKey"]) == 44


def test_gen_keeps_a_key_and_prints_its_public_key(
    meshnode: Meshnode, key_dir: Path
) -> None:
    """The file is what wg reads; the private key is not shown."""
    result = meshnode("key", "gen", "home")
    private = (key_dir / "home.key").read_bytes()
    assert result.out == meshnode("pubkey", stdin=private).out
    assert result.out == meshnode("key", "pub", "home").out
    assert private.decode().strip() not in result.out + result.err


def test_gen_tells_programs_what_it_made(meshnode: Meshnode, key_dir: Path) -> None:
    """Name and public key, in JSON."""
    made = json.loads(meshnode("key", "gen", "home", "--json").out)
    told = json.loads(meshnode("key", "pub", "home", "--json").out)
    assert made == told
    assert set(made) == {"schema", "name", "publicKey"}


@pytest.mark.parametrize("verb", ["gen", "psk"])
def test_an_existing_key_needs_force(
    meshnode: Meshnode, key_dir: Path, verb: str
) -> None:
    """Without it nothing is changed."""
    meshnode("key", verb, "home")
    [path] = key_dir.iterdir()
    before = path.read_bytes()
    result = meshnode("key", verb, "home")
    assert result.code == 1
    assert result.err == f"meshnode: {path} exists; --force overwrites it\n"
    assert path.read_bytes() == before
    assert meshnode("key", verb, "home", "--force").code == 0
    assert path.read_bytes() != before


def test_gen_encrypts_on_demand(
    meshnode: Meshnode, key_dir: Path, passphrase_file: str
) -> None:
    """The file says that it is sealed, and `pub` needs no passphrase."""
    made = meshnode(
        *("key", "gen", "home", "--encrypt", "--passphrase-file", passphrase_file)
    )
    assert made.code == 0
    assert (key_dir / "home.key").read_text().startswith("meshnode sealed key 1\n")
    assert meshnode("key", "pub", "home").out == made.out


def test_gen_without_a_passphrase_keeps_nothing(
    meshnode: Meshnode, key_dir: Path
) -> None:
    """No key is stored in clear because nobody could be asked."""
    result = meshnode("key", "gen", "home", "--encrypt")
    assert result.code == 2
    assert "--passphrase-file" in result.err
    assert not key_dir.exists()


@pytest.mark.parametrize("arguments", [["gen", "--force"], ["gen", "--encrypt"]])
def test_options_of_storing_need_a_name(
    meshnode: Meshnode, key_dir: Path, arguments: list[str]
) -> None:
    """Else a key would seem to be kept."""
    assert meshnode("key", *arguments).code == 2
    assert meshnode("key", "psk", "--force").code == 2


def test_a_bad_name_is_an_error(meshnode: Meshnode, key_dir: Path) -> None:
    """It is told in one line, and nothing is made."""
    for verb in ("gen", "psk", "pub"):
        result = meshnode("key", verb, "../home")
        assert result.code == 1
        assert result.err.count("\n") == 1
    assert not key_dir.exists()


def test_pub_without_a_name_is_pubkey(meshnode: Meshnode) -> None:
    """It reads standard input."""
    private = meshnode("key", "gen").out.encode()
    assert meshnode("key", "pub", stdin=private).out == (
        meshnode("pubkey", stdin=private).out
    )
    assert meshnode("key", "pub", stdin=b"bad").code == 1


def test_an_unknown_key_ends_with_3(meshnode: Meshnode, key_dir: Path) -> None:
    """The code tells scripts that it is not there."""
    result = meshnode("key", "pub", "home")
    assert result.code == 3
    assert str(key_dir) in result.err


def test_psk_makes_a_preshared_key(meshnode: Meshnode, key_dir: Path) -> None:
    """With a name it is kept and not shown, without it is printed."""
    result = meshnode("key", "psk", "home")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert len((key_dir / "home.psk").read_text()) == 45
    assert len(meshnode("key", "psk").out) == 45
    assert len(json.loads(meshnode("key", "psk", "--json").out)["presharedKey"]) == 44


def test_the_directory_may_be_given(meshnode: Meshnode, tmp_path: Path) -> None:
    """An option goes before the variable."""
    meshnode("key", "gen", "home", "--key-dir", str(tmp_path / "other"))
    assert (tmp_path / "other" / "home.key").exists()
