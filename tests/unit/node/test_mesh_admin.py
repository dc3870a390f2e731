"""The verbs of administrators; `test_mesh_api` asks them as commands do."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.errors import ConfigError, HostError
from meshnode.manage.toml_reader import Table
from meshnode.node.mesh_admin import MeshAdmin, NoSuchMemberError, NotIssuerError
from tests.unit.mesh.node_parts import DAY
from tests.unit.node.shell_parts import Shell


@pytest.fixture
def shell(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    """The founder's shell, started."""
    shell = Shell(rng, tmp_path, monkeypatch)
    shell.start()
    yield shell
    shell.close()


def admin(shell: Shell) -> MeshAdmin:
    """Return its verbs."""
    return MeshAdmin(
        shell.shell, entropy=os.urandom, places=lambda: ("192.0.2.1:51820",)
    )


def test_errors_have_their_exit_codes() -> None:
    """As the README lists them."""
    assert NoSuchMemberError("x").exit_code == 3
    assert NotIssuerError("x").exit_code == 1


@pytest.mark.parametrize(
    "verb",
    [
        "invite create",
        "invite list",
        "invite revoke",
        "cert issue",
        "cert grant",
        "cert revoke",
        "cert renew",
        "policy show",
        "policy check",
        "policy apply",
        "peer add",
    ],
)
async def test_argument_that_nobody_knows_is_refused(shell: Shell, verb: str) -> None:
    """And nothing is changed by a request that is half understood."""
    before = shell.store.load()
    args = {
        "member": "founder",
        "expires": shell.world.began + DAY,
        "key": "x",
        "text": "",
        "novelty": 1,
    }
    with pytest.raises(ConfigError):
        await admin(shell).verbs()[verb](Table(dict(args), verb))
    assert shell.store.load() == before


async def test_invite_that_cannot_be_kept_is_not_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that is forgotten by a crash would lead to nowhere."""

    def refuse(changes: object) -> None:
        raise HostError("the disk is full")

    monkeypatch.setattr(shell.store, "apply", refuse)
    args = {"expires": shell.world.began + DAY}
    with pytest.raises(HostError, match="the disk is full"):
        await admin(shell).verbs()["invite create"](Table(dict(args), "invite create"))
