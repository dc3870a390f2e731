"""The nft program: found, run, and its refusals explained."""

import errno
from pathlib import Path

import pytest

from meshnode.errors import HostError, PrivilegeError
from meshnode.host import nft


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in place of nft, the first in PATH; the test writes it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "nft"


def write(program: Path, body: str) -> None:
    """Make the script do *body*."""
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_missing_program_names_its_package(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ENOENT, so that a caller can tell."""
    monkeypatch.setattr(nft, "_SYSTEM_DIRECTORIES", str(program.parent))
    for call in (nft.require, lambda: nft.load(""), lambda: nft.has_table("x")):
        with pytest.raises(HostError, match="install the package nftables") as caught:
            call()
        assert caught.value.errno == errno.ENOENT


def test_rules_are_given_on_stdin(program: Path) -> None:
    """Not as arguments, which everybody on the host can read."""
    write(program, f'echo "$@" > {program}.args; /bin/cat > {program}.in')
    nft.load("add table inet x\n")
    assert Path(f"{program}.args").read_text() == "-f -\n"
    assert Path(f"{program}.in").read_text() == "add table inet x\n"


def test_refusal_is_one_line(program: Path) -> None:
    """The first of what nft says."""
    write(program, 'echo "Error: syntax error" >&2; echo "  ^^^" >&2; exit 1')
    with pytest.raises(HostError) as caught:
        nft.load("nonsense")
    assert str(caught.value) == "cannot load firewall rules: Error: syntax error"


def test_silent_refusal_has_the_status(program: Path) -> None:
    """A program that was killed says nothing."""
    write(program, "exit 3")
    with pytest.raises(HostError, match="nft ended with 3"):
        nft.has_table("x")


def test_missing_privilege_is_told_apart(program: Path) -> None:
    """It ends the command line with code 5."""
    write(program, 'echo "Error: Operation not permitted" >&2; exit 1')
    with pytest.raises(PrivilegeError, match="CAP_NET_ADMIN"):
        nft.load("")


def test_table_is_found_by_its_whole_name(program: Path) -> None:
    """A longer name is another table."""
    write(program, "echo 'table inet meshnode_ab'; echo 'table inet other'")
    assert nft.has_table("meshnode_ab")
    assert not nft.has_table("meshnode_a")


def test_absent_table_is_not_deleted(program: Path) -> None:
    """Nothing but the question is asked."""
    write(program, f'echo "$@" >> {program}.args')
    assert not nft.delete_table("x")
    assert Path(f"{program}.args").read_text() == "list tables inet\n"


def test_program_that_hangs_is_given_up(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control does not wait for ever."""
    write(program, "exec /bin/sleep 60")
    monkeypatch.setattr(nft, "_TIMEOUT", 0.2)
    with pytest.raises(HostError, match="did not end") as caught:
        nft.load("")
    assert caught.value.errno == errno.ETIMEDOUT


def test_program_that_cannot_run_is_an_error(program: Path) -> None:
    """A script without an interpreter, for one."""
    program.write_text("#!/nowhere/sh\n")
    program.chmod(0o755)
    with pytest.raises(HostError, match="cannot run"):
        nft.load("")
