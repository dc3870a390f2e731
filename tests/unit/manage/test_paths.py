"""Names of interfaces and networks, and the paths made of them."""

from pathlib import Path

import pytest

from meshnode.errors import UsageError
from meshnode.manage.paths import (
    UAPI_DIR,
    Directories,
    check_interface_name,
    check_network_name,
    uapi_socket,
)


@pytest.mark.parametrize("name", ["wg0", "a", "A_b=c+d.e-f", "x" * 15, "..."])
def test_names_of_wg_quick_are_taken(name: str) -> None:
    """What wg-quick calls an interface is a name."""
    assert check_interface_name(name) == name
    assert uapi_socket(name) == UAPI_DIR / f"{name}.sock"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-f", "x" * 16, "a/b", "a b", "wg0\n", "../x", "wgé", "a:b"]
)
def test_other_names_are_refused(name: str) -> None:
    """Nothing that the kernel refuses or that leads elsewhere is a name."""
    with pytest.raises(UsageError):
        check_interface_name(name)
    with pytest.raises(UsageError):
        uapi_socket(name)


def test_sockets_can_be_in_another_directory() -> None:
    """Hosts that share files keep their sockets apart."""
    assert uapi_socket("wg0", Path("/x")) == Path("/x/wg0.sock")


@pytest.mark.parametrize("name", ["home", "a", "0", "my-net-2", "x" * 63])
def test_labels_are_names_of_networks(name: str) -> None:
    """A network's name makes a file, a directory and a socket."""
    directories = Directories()
    assert check_network_name(name) == name
    assert directories.config_file(name) == Path(f"/etc/meshnode/{name}.toml")
    assert directories.state_dir(name) == Path(f"/var/lib/meshnode/{name}")
    assert directories.api_socket(name) == Path(f"/run/meshnode/{name}.sock")


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", "A", "a.b", "a_b", "a/b", "..", "a\n", "é", "x" * 64, "a b", "\0"],
)
def test_nothing_else_names_a_network(name: str) -> None:
    """What could lead elsewhere, or be read otherwise, is no name."""
    with pytest.raises(UsageError, match="is no network name"):
        check_network_name(name)
    directories = Directories()
    for method in (
        directories.config_file,
        directories.state_dir,
        directories.api_socket,
    ):
        with pytest.raises(UsageError):
            method(name)


def test_the_environment_moves_directories() -> None:
    """Each has its variable; an empty one counts as not set."""
    assert Directories.from_environment({}) == Directories()
    assert Directories.from_environment({"MESHNODE_RUN_DIR": ""}) == Directories()
    assert Directories.from_environment(
        {
            "MESHNODE_CONFIG_DIR": "/a",
            "MESHNODE_STATE_DIR": "/b",
            "MESHNODE_RUN_DIR": "/c",
            "MESHNODE_UAPI_DIR": "d",
        }
    ) == Directories(Path("/a"), Path("/b"), Path("/c"), Path.cwd() / "d")


def test_a_user_has_directories_below_home() -> None:
    """Those of the XDG specification; one that is not absolute is ignored."""
    home = {"HOME": "/home/anna"}
    assert Directories.of_user(home) == Directories(
        Path("/home/anna/.config/meshnode"),
        Path("/home/anna/.local/state/meshnode"),
        Path("/home/anna/.local/state/meshnode/run"),
        Path("/home/anna/.local/state/meshnode/run/wireguard"),
    )
    found = Directories.of_user(
        home
        | {
            "XDG_CONFIG_HOME": "/c",
            "XDG_STATE_HOME": "state",
            "XDG_RUNTIME_DIR": "/run/user/7",
        }
    )
    assert found == Directories(
        Path("/c/meshnode"),
        Path("/home/anna/.local/state/meshnode"),
        Path("/run/user/7/meshnode"),
        Path("/run/user/7/meshnode/wireguard"),
    )


def test_root_has_those_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody else."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert Directories.usual() == Directories()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert Directories.usual().config == Path("/home/anna/.config/meshnode")
