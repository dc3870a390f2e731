"""`meshnode import`: peers of a wg-quick file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.manage.network_config import load_config

Run = Callable[..., Any]
KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
PRIVATE = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
TEXT = (
    f"[Interface]\nPrivateKey = {PRIVATE}\nDNS = 1.1.1.1\n[Peer]\nPublicKey = {KEY}\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of wg-quick whose name is no label."""
    path = tmp_path / "WG_0.conf"
    path.write_text(TEXT)
    return path


def test_peers_are_taken_over(meshnode: Run, node: Any, home: Path, file: Path) -> None:
    """What is lost, and what is to be done, is said; the old secret is not."""
    result = meshnode("import", str(file))
    assert (result.code, result.out) == (0, f"wg-0  {KEY}\n")
    hints = result.err.splitlines()
    assert len(hints) == 3
    assert "give them that of this node" in hints[0]
    assert hints[1] == "not taken over: dns"
    assert "meshnode up home" in hints[2]
    assert PRIVATE not in result.out + result.err
    (entry,) = load_config(home).wireguard
    assert (entry.name, str(entry.public_key)) == ("wg-0", KEY)
    assert PRIVATE not in home.read_text()


def test_a_node_that_is_up_follows_at_once(
    meshnode: Run, node: Any, home: Path
) -> None:
    """Standard input, another name, JSON."""
    node.answers["reload"] = {"restartNeeded": []}
    result = meshnode("import", "-", "--name", "office", "--json", stdin=TEXT.encode())
    told = json.loads(result.out)
    assert told["isUp"]
    assert told["peers"] == [{"name": "office", "key": KEY, "presharedKeyFile": None}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("[Interface]\n", "no [Peer]"), ("[Peer]\nColour = red\n", "line 2: ")],
)
def test_a_bad_file_changes_nothing(
    meshnode: Run, node: Any, home: Path, file: Path, text: str, problem: str
) -> None:
    """Exit code 1."""
    before = home.read_text()
    file.write_text(text)
    result = meshnode("import", str(file))
    assert result.code == 1
    assert problem in result.err
    assert home.read_text() == before
