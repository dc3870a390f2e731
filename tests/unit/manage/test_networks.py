"""Which networks this host is in, and which one a command means."""

from pathlib import Path

import pytest

from meshnode.errors import UsageError
from meshnode.manage.networks import (
    NoSuchNetworkError,
    choose_network,
    known_networks,
)


def configure(directory: Path, *names: str) -> Path:
    """Put empty configurations into *directory*."""
    for name in names:
        (directory / f"{name}.toml").touch()
    return directory


def test_networks_are_listed_in_order(tmp_path: Path) -> None:
    """Other files are none."""
    (tmp_path / "notes.txt").touch()
    assert known_networks(configure(tmp_path, "office", "home")) == ["home", "office"]


def test_a_directory_that_is_not_there_has_none(tmp_path: Path) -> None:
    """A host is in no network before its first."""
    assert known_networks(tmp_path / "nothing") == []


def test_the_only_network_need_not_be_named(tmp_path: Path) -> None:
    """Most hosts are in one."""
    assert choose_network(None, configure(tmp_path, "home")) == "home"


def test_one_of_several_is_named(tmp_path: Path) -> None:
    """Else it is wrong usage, with the names there are."""
    configure(tmp_path, "home", "office")
    assert choose_network("office", tmp_path) == "office"
    with pytest.raises(UsageError, match="-n: home, office"):
        choose_network(None, tmp_path)


def test_an_unknown_network_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    """The error tells what is known."""
    with pytest.raises(NoSuchNetworkError, match=r"'ofice'.*known here: home") as no:
        choose_network("ofice", configure(tmp_path, "home"))
    assert no.value.exit_code == 3


def test_a_host_without_networks_is_told_how_to_begin(tmp_path: Path) -> None:
    """Named or not."""
    with pytest.raises(NoSuchNetworkError, match="meshnode join"):
        choose_network(None, tmp_path)
    with pytest.raises(NoSuchNetworkError, match="no network 'home'"):
        choose_network("home", tmp_path)
