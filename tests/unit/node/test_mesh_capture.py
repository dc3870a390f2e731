"""Who may read the tap, and who is who in it."""

import mmap
import random
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnode.codec.tap import (
    HEAD,
    HEADER_BYTES,
    INNER,
    OUTER,
    RING_BYTES,
    SNAPLEN,
    TAIL,
    WANTED,
)
from meshnode.crypto.keys import PresharedKey, PrivateKey
from meshnode.errors import ConfigError, MeshnodeError
from meshnode.manage.api_server import EventStream
from meshnode.manage.toml_reader import Table
from meshnode.node.mesh_capture import MeshCapture
from meshnode.wireguard.config import PeerChange
from tests.tap_parts import words_of
from tests.unit.node.shell_parts import Shell

SIZE = 3 * (HEADER_BYTES + RING_BYTES)


class Lender:
    """The founder's capture over memory of our own."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.mapping = mmap.mmap(-1, SIZE)
        self.memory = memoryview(self.mapping)
        words_of(self.memory)[WANTED] = INNER
        self.capture = MeshCapture(
            shell.shell.node, shell.engine, 9, self.memory, 51820
        )

    async def ask(self, verb: str, **args: Any) -> Any:
        """Ask for a verb."""
        return await self.capture.verbs()[verb](Table(args, verb))

    def wanted(self) -> list[tuple[int, int]]:
        """Return what every ring is told."""
        rings = [words_of(self.memory, number) for number in range(3)]
        return [(words[WANTED], words[SNAPLEN]) for words in rings]


@pytest.fixture
def lender(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lender]:
    """A shell that runs, and its tap."""
    shell = Shell(rng, tmp_path, monkeypatch)
    shell.start()
    yield Lender(shell)
    shell.close()


async def test_the_tap_is_on_as_long_as_it_is_lent(lender: Lender) -> None:
    """To one at a time; what earlier ones left is skipped, and memory given back."""
    assert [wanted for wanted, _ in lender.wanted()] == [0, 0, 0]
    words_of(lender.memory)[HEAD] = 640
    lender.memory[HEADER_BYTES] = 1
    stream = await lender.ask("capture", pid=77, snaplen=100)
    assert isinstance(stream, EventStream)
    assert lender.wanted() == [(INNER, 100)] * 3
    assert words_of(lender.memory)[TAIL] == 640
    with pytest.raises(MeshnodeError, match="process 77 captures already"):
        await lender.ask("capture", pid=78)
    stream._close()
    assert [wanted for wanted, _ in lender.wanted()] == [0, 0, 0]
    assert lender.memory[HEADER_BYTES] == 0
    assert words_of(lender.memory)[HEAD] == 640
    stream = await lender.ask("capture", pid=78, underlay=True)
    assert lender.wanted() == [(INNER | OUTER, 65535)] * 3
    stream._close()


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"pid": 0},
        {"pid": True},
        {"pid": 1, "snaplen": 65536},
        {"pid": 1, "snaplen": -1},
        {"pid": 1, "underlay": 1},
        {"pid": 1, "more": 1},
    ],
)
async def test_what_makes_no_sense_is_refused(
    lender: Lender, args: dict[str, object]
) -> None:
    """And nothing is turned on."""
    with pytest.raises(ConfigError):
        await lender.ask("capture", **args)
    assert [wanted for wanted, _ in lender.wanted()] == [0, 0, 0]


async def test_slots_have_names(lender: Lender, rng: random.Random) -> None:
    """Those of members; of others, the key."""
    key = PrivateKey(rng.randbytes(32)).public_key()
    lender.shell.shell.set_wireguard_peers([PeerChange(key)])
    lender.shell.shell.drain()
    names = (await lender.ask("capture-names"))["names"]
    assert str(key) in names.values()
    assert all(slot.isdigit() for slot in names)


async def test_keys_are_told_only_to_who_asks(
    lender: Lender, rng: random.Random, caplog: pytest.LogCaptureFixture
) -> None:
    """In Wireshark's form, until the connection ends; the log says that, not which."""
    engine = lender.shell.engine
    shared, own = engine._shared, engine.private_key
    assert own is not None
    key = PrivateKey(rng.randbytes(32)).public_key()
    preshared = PresharedKey(rng.randbytes(32))
    quiet = await lender.ask("capture", pid=1)
    shared.new_ephemeral(key, preshared)
    assert len(quiet._lines) == 1
    quiet._close()
    stream = await lender.ask("capture", pid=1, keys=True)
    ephemeral = shared.new_ephemeral(key, PresharedKey.none())
    shared.new_ephemeral(key, preshared)
    lines = stream._lines[1].decode(), stream._lines[2].decode()
    assert f"LOCAL_STATIC_PRIVATE_KEY = {own.to_base64()}" in lines[0]
    assert f"REMOTE_STATIC_PUBLIC_KEY = {key}" in lines[0]
    found = lines[0].partition("LOCAL_EPHEMERAL_PRIVATE_KEY = ")[2][:44]
    assert b64decode(found) == ephemeral
    assert "PRESHARED_KEY" not in lines[0]
    assert f"PRESHARED_KEY = {preshared.to_base64()}" in lines[1]
    stream._close()
    assert shared.key_log is None
    assert own.to_base64() not in caplog.text
    assert "private key" in caplog.text
