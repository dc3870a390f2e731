"""`meshnode key show`, `list` and `rm`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Meshnode = Callable[..., Any]


@pytest.fixture
def public(meshnode: Meshnode, key_dir: Path) -> str:
    """The public key of a stored key `home`, which has a preshared key too."""
    meshnode("key", "psk", "home")
    return str(meshnode("key", "gen", "home").out.strip())


def test_show_tells_what_is_known(meshnode: Meshnode, public: str) -> None:
    """Public values are shown, secrets are said to be hidden."""
    assert meshnode("key", "show", "home").out.splitlines() == [
        "key: home",
        f"  public key: {public}",
        "  private key: (hidden)",
        "  preshared key: (hidden)",
    ]


def test_show_tells_of_a_rotation(meshnode: Meshnode, public: str) -> None:
    """The old public key, and how to end it."""
    new = meshnode("key", "rotate", "home").out.strip()
    shown = meshnode("key", "show", "home").out
    assert f"  public key: {new}\n" in shown
    assert f"  old public key: {public}\n" in shown
    assert "meshnode key rotate home --finish" in shown


def test_show_tells_programs(meshnode: Meshnode, public: str) -> None:
    """Every field is there, whatever the state."""
    assert json.loads(meshnode("key", "show", "home", "--json").out) == {
        "schema": 1,
        "name": "home",
        "publicKey": public,
        "encrypted": False,
        "rotating": False,
        "oldPublicKey": None,
        "presharedKey": True,
    }


def test_secrets_are_revealed_on_demand_only(
    meshnode: Meshnode, public: str, key_dir: Path
) -> None:
    """Each by its name, as a line for wg or in JSON."""
    for kind, suffix in (("private", "key"), ("preshared", "psk")):
        secret = (key_dir / f"home.{suffix}").read_text()
        for arguments in (["show", "home"], ["show", "home", "--json"], ["list"]):
            assert secret.strip() not in meshnode("key", *arguments).out
        assert meshnode("key", "show", "home", "--reveal", kind).out == secret
        told = meshnode("key", "show", "home", "--reveal", kind, "--json").out
        assert json.loads(told) == {"schema": 1, f"{kind}Key": secret.strip()}


def test_an_encrypted_key_is_shown_without_and_revealed_with_its_passphrase(
    meshnode: Meshnode, public: str, passphrase_file: str, tmp_path: Path
) -> None:
    """A wrong one is an error that names no secret."""
    source = ("--passphrase-file", passphrase_file)
    private = meshnode("key", "show", "home", "--reveal", "private").out
    meshnode("key", "encrypt", "home", *source)
    assert "private key: (encrypted)" in meshnode("key", "show", "home").out
    revealed = meshnode("key", "show", "home", "--reveal", "private", *source)
    assert revealed.out == private
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong horse")
    refused = meshnode(
        *("key", "show", "home", "--reveal", "private"),
        *("--passphrase-file", str(wrong)),
    )
    assert (refused.code, refused.out) == (1, "")
    assert "wrong passphrase" in refused.err
    assert "horse" not in refused.err


def test_list_has_a_line_for_each_name(
    meshnode: Meshnode, public: str, passphrase_file: str
) -> None:
    """Sorted, with the state."""
    source = ("--passphrase-file", passphrase_file)
    meshnode("key", "psk", "a")
    other = meshnode("key", "gen", "zz-top", "--encrypt", *source).out.strip()
    meshnode("key", "rotate", "zz-top", *source)
    new = meshnode("key", "pub", "zz-top").out.strip()
    assert meshnode("key", "list").out.splitlines() == [
        f"a       {'(no private key)':44}  preshared key",
        f"home    {public}  preshared key",
        f"zz-top  {new}  encrypted, rotating",
    ]
    listed = json.loads(meshnode("key", "list", "--json").out)
    assert listed["schema"] == 1
    assert [key["name"] for key in listed["keys"]] == ["a", "home", "zz-top"]
    assert listed["keys"][2]["oldPublicKey"] == other


def test_an_empty_list_is_no_error(meshnode: Meshnode, key_dir: Path) -> None:
    """There may be no keys yet."""
    assert meshnode("key", "list").out == ""
    assert json.loads(meshnode("key", "list", "--json").out)["keys"] == []


def test_rm_asks_first(meshnode: Meshnode, public: str, key_dir: Path) -> None:
    """Without a yes, or an answer at all, the key stays."""
    for answer in (b"n\n", b"\n", b""):
        result = meshnode("key", "rm", "home", stdin=answer)
        assert result.code == 1
        assert len(list(key_dir.iterdir())) == 2
    assert meshnode("key", "rm", "home", stdin=b"y\n").code == 0
    assert list(key_dir.iterdir()) == []


def test_rm_may_be_told_not_to_ask(
    meshnode: Meshnode, public: str, key_dir: Path
) -> None:
    """For scripts."""
    assert meshnode("key", "rm", "-y", "home").code == 0
    assert list(key_dir.iterdir()) == []
    assert meshnode("key", "rm", "-y", "home").code == 3


@pytest.mark.parametrize("verb", ["show", "list", "pub", "rotate"])
def test_a_file_open_to_others_is_refused(
    meshnode: Meshnode, public: str, key_dir: Path, verb: str
) -> None:
    """The one line names the file and the remedy."""
    path = key_dir / "home.key"
    path.chmod(0o644)
    result = meshnode("key", verb, *([] if verb == "list" else ["home"]))
    assert result.code == 1
    assert result.err == (
        f"meshnode: {path} is open to other users; run: chmod 600 {path}\n"
    )
