"""Founding a network: all of its files, or none that matter."""

from dataclasses import replace
from pathlib import Path

import pytest

from meshnode.errors import ConfigError
from meshnode.manage.identity import load_authority, load_identity
from meshnode.manage.network_config import load_config
from meshnode.manage.paths import Directories
from meshnode.node import founding
from meshnode.node.founding import FoundingRequest, default_interface, found

REQUEST = FoundingRequest(
    network="home",
    cidr="10.77.0.0/16",
    node="ann",
    listen_port=51820,
    interface=None,
    advertise=(),
    accept_routes=False,
    subnets=(),
)


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    """Directories that are empty."""
    return Directories(*[tmp_path / name for name in ("etc", "lib", "run", "uapi")])


def test_founder_is_member_issuer_and_authority(directories: Directories) -> None:
    """Its identity loads, and everything is private."""
    facts = found(REQUEST, directories, passphrase=None)
    state_dir = directories.state_dir("home")
    identity = load_identity(state_dir)
    assert identity.issuing is not None
    assert str(identity.private_key.public_key()) == facts["key"]
    assert load_authority(state_dir)
    assert load_config(directories.config_file("home")).interface == "home"
    assert {path.stat().st_mode & 0o077 for path in state_dir.rglob("*")} == {0}
    assert [path.name for path in state_dir.parent.iterdir()] == ["home"]


def test_network_that_is_there_is_not_founded_again(directories: Directories) -> None:
    """Neither with the same words nor with others; not one byte changes."""
    found(REQUEST, directories, passphrase=None)
    state_dir = directories.state_dir("home")
    before = {path: path.read_bytes() for path in state_dir.iterdir()}
    for request in (REQUEST, replace(REQUEST, node="ben")):
        with pytest.raises(ConfigError, match="there already"):
            found(request, directories, passphrase=None)
    directories.config_file("home").unlink()
    with pytest.raises(ConfigError, match="there already"):
        found(REQUEST, directories, passphrase=None)
    assert {path: path.read_bytes() for path in state_dir.iterdir()} == before


@pytest.mark.parametrize("step", ["save_authority", "save_identity", "save_issuing"])
@pytest.mark.parametrize("is_done", [False, True])
def test_founding_that_was_cut_short_can_be_repeated(
    directories: Directories, monkeypatch: pytest.MonkeyPatch, step: str, is_done: bool
) -> None:
    """Whatever was written, the same command makes a whole network."""
    real = getattr(founding, step)

    def crash(*args: object) -> None:
        if is_done:
            real(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(founding, step, crash)
        with pytest.raises(KeyboardInterrupt):
            found(REQUEST, directories, passphrase=None)
    assert not directories.state_dir("home").exists()
    facts = found(REQUEST, directories, passphrase=None)
    identity = load_identity(directories.state_dir("home"))
    assert str(identity.private_key.public_key()) == facts["key"]
    assert identity.issuing is not None


def test_configuration_of_somebody_else_is_left_alone(directories: Directories) -> None:
    """A file that says something else was not left by a crash of this command."""
    found(replace(REQUEST, listen_port=7), directories, passphrase=None)
    state_dir = directories.state_dir("home")
    for path in state_dir.iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="there already"):
        found(REQUEST, directories, passphrase=None)
    assert load_config(directories.config_file("home")).listen_port == 7


def test_interface_of_a_long_name_fits() -> None:
    """At most 15 characters, and no hyphen at the end."""
    assert default_interface("a-long-network-name") == "a-long-network"
    assert default_interface("home") == "home"
