"""`meshnode issuer`: another node is let issue, by files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.manage.identity import load_identity
from tests.founded_node import RunningNode

Run = Callable[..., Any]


def test_the_whole_way(meshnode: Run, gate: RunningNode, tmp_path: Path) -> None:
    """Request, sign, install; every step says what comes next."""
    request, issuer = tmp_path / "request", tmp_path / "issuer"
    request.write_text(meshnode("issuer", "request").out)
    signed = meshnode(
        *("issuer", "sign", str(request), "--pool", "10.77.8.0/24"),
        *("--group", "staff", "--route", "192.168.0.0/16", "--role", "relay"),
        *("--max-lifetime", "30d", "--lifetime", "100d"),
    )
    assert signed.code == 0
    assert "meshnode cert grant gate --role issuer" in signed.err
    issuer.write_text(signed.out)
    told = json.loads(meshnode("cert", "show", str(issuer), "--json").out)
    assert told["pools"] == ["10.77.8.0/24"]
    assert told["groups"] == ["staff"]
    assert told["routes"] == ["192.168.0.0/16"]
    assert told["roles"] == ["relay"]
    assert told["maxLifetime"] == 30 * 86400
    assert told["notAfter"] - told["notBefore"] == 100 * 86400
    installed = meshnode("issuer", "install", str(issuer))
    assert installed.code == 0
    assert "meshnode restart home" in installed.err
    again = json.loads(meshnode("issuer", "install", str(issuer), "--json").out)
    assert again["restartNeeded"] is True
    issuing = load_identity(gate.directories.state_dir("home")).issuing
    assert issuing is not None


def test_standard_input_and_json(meshnode: Run, gate: RunningNode) -> None:
    """For pipes and scripts."""
    asked = json.loads(meshnode("issuer", "request", "--json").out)["request"]
    signed = meshnode(
        *("issuer", "sign", "-", "--pool", "10.77.8.0/24", "--json"),
        stdin=asked.encode(),
    )
    told = json.loads(signed.out)
    assert told["roles"] == ["rendezvous", "relay"]
    done = meshnode("issuer", "install", "-", stdin=told["permission"].encode())
    assert done.code == 0


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        ([], 2, "--pool"),
        (["--pool", "ten"], 2, "is not an IP prefix"),
        (["--pool", "10.99.0.0/16"], 1, "not the issuer's to give"),
        (["--pool", "10.77.8.0/24", "--role", "king"], 2, "king"),
        (["--pool", "10.77.8.0/24", "--lifetime", "forever"], 2, "no span"),
        (["--pool", "10.77.8.0/24", "--authority-key", "/nowhere/k"], 1, "nowhere"),
    ],
)
def test_what_cannot_be_signed(
    meshnode: Run, gate: RunningNode, options: list[str], code: int, problem: str
) -> None:
    """One line, and nothing on standard output."""
    asked = meshnode("issuer", "request").out
    result = meshnode("issuer", "sign", "-", *options, stdin=asked.encode())
    assert result.code in (code, 3)
    assert problem in result.err
    assert result.out == ""


def test_a_host_that_is_no_member_has_no_issuer(meshnode: Run, home: Path) -> None:
    """Exit code 3."""
    result = meshnode("issuer", "request")
    assert result.code == 3
    assert "meshnode join" in result.err
