"""`genkey`, `pubkey`, `genpsk` beside those of `wg`."""

import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def program(name: str) -> list[str]:
    """The command line of `wg` or of `meshnode`."""
    return ["wg"] if name == "wg" else [sys.executable, "-m", "meshnode"]


@pytest.mark.parametrize("verb", ["genkey", "genpsk"])
def test_keys_look_like_those_of_wg(verb: str, spawn: Callable[..., Any]) -> None:
    """One line of 44 characters that `wg` accepts; private keys are clamped."""
    done = spawn(verb)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout) == 45
    raw = base64.b64decode(done.stdout)
    if verb == "genkey":
        assert raw[0] & 7 == 0
        assert raw[31] & 0xC0 == 0x40
    subprocess.run(["wg", "pubkey"], input=done.stdout, check=True, capture_output=True)


@pytest.mark.parametrize("maker", ["wg", "meshnode"])
def test_public_keys_are_those_of_wg(maker: str) -> None:
    """Whoever made the private key, both print the same bytes."""
    private = subprocess.check_output([*program(maker), "genkey"])
    ours, theirs = (
        subprocess.check_output([*program(name), "pubkey"], input=private)
        for name in ("meshnode", "wg")
    )
    assert ours == theirs


@pytest.mark.parametrize("data", [b"", b"short", b"A" * 44, b"A" * 43 + b"=x"])
def test_bad_keys_are_refused_as_by_wg(data: bytes) -> None:
    """Same code and same words, but for the name of the program."""
    ours, theirs = (
        subprocess.run(
            [*program(name), "pubkey"], input=data, capture_output=True, check=False
        )
        for name in ("meshnode", "wg")
    )
    assert ours.returncode == theirs.returncode == 1
    assert ours.stdout == theirs.stdout == b""
    assert ours.stderr == b"meshnode" + theirs.stderr.removeprefix(b"wg")


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o604, 0o602, 0o601])
@pytest.mark.parametrize("verb", ["genkey", "genpsk"])
def test_a_file_open_to_the_world_is_warned_of(
    verb: str, bits: int, tmp_path: Path
) -> None:
    """The warning is wg's, in the same cases, and the key is written all the same."""
    warnings = []
    for name in ("wg", "meshnode"):
        path = tmp_path / name
        path.touch()
        path.chmod(bits)
        with path.open("wb") as file:
            done = subprocess.run(
                [*program(name), verb], stdout=file, stderr=subprocess.PIPE, check=True
            )
        warnings.append(done.stderr)
        assert path.stat().st_size == 45
    assert warnings[0] == warnings[1]
    assert bool(warnings[1]) == bool(bits & 0o007)


def test_keys_are_not_endlessly_read(spawn: Callable[..., Any]) -> None:
    """Input without end is cut off."""
    done = spawn("pubkey", stdin=b"\n" * 1_000_000)
    assert done.returncode == 1
