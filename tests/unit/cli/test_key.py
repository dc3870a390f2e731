"""The group `meshnode key`: its table of commands, and a terminal."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from meshnode.cli.key import key


def test_every_command_can_be_imported() -> None:
    """The table names what is there, each under its own name."""
    context = click.Context(key)
    names = key.list_commands(context)
    assert names[:3] == ["gen", "pub", "psk"]
    for name in names:
        command = key.get_command(context, name)
        assert command is not None
        assert command.name == name


def converse(arguments: list[str], answers: list[tuple[bytes, bytes]]) -> bytes:
    """Run `meshnode` at a terminal; give each answer when its question appears."""
    master, slave = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "meshnode", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=lambda: os.login_tty(slave),
        ) as process:
            os.close(slave)
            shown = _talk(master, answers)
            assert process.wait(timeout=60) == 0, shown
            return shown
    finally:
        os.close(master)


def _talk(master: int, answers: list[tuple[bytes, bytes]]) -> bytes:
    shown, unread = b"", b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            piece = os.read(master, 4096)
        except OSError:  # the program has closed its terminal
            break
        shown, unread = shown + piece, unread + piece
        if answers and answers[0][0] in unread:
            os.write(master, answers.pop(0)[1])
            unread = b""
    assert not answers, shown
    return shown


def test_a_terminal_is_asked_twice_for_a_new_passphrase(
    meshnode: Callable[..., Any], key_dir: Path, tmp_path: Path
) -> None:
    """What is typed is not shown, and opens the key."""
    shown = converse(
        ["key", "gen", "home", "--encrypt"],
        [(b"New passphrase: ", b"correct horse\n"), (b": ", b"correct horse\n")],
    )
    assert b"correct horse" not in shown
    path = tmp_path / "passphrase"
    path.write_text("correct horse")
    revealed = meshnode(
        *("key", "show", "home", "--reveal", "private"),
        *("--passphrase-file", str(path)),
    )
    assert revealed.code == 0
    public = meshnode("pubkey", stdin=revealed.out.encode()).out
    assert public.strip().encode() in shown
