"""The file of a configuration: privacy, atomic changes, comments that stay."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshnode.errors import ConfigError, HostError
from meshnode.manage import network_config
from meshnode.manage.network_config import (
    AnnouncedRoute,
    HostPort,
    NetworkConfig,
    NotConfiguredError,
    edit_config,
    load_config,
    save_config,
    with_announced,
    without_announced,
)
from meshnode.types import Prefix

A, B = Prefix.parse("10.1.0.0/24"), Prefix.parse("10.2.0.0/24")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "meshnode" / "home.toml"


def test_what_is_saved_is_loaded(path: Path) -> None:
    """A private file, whatever the umask."""
    config = with_announced(NetworkConfig("home", mtu=1300), AnnouncedRoute(A))
    before = os.umask(0)
    try:
        save_config(path, config)
    finally:
        os.umask(before)
    assert load_config(path) == config
    assert path.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(path.parent) == [path.name]


def test_a_missing_file_is_told_with_the_remedy(path: Path) -> None:
    """Neither the file nor its directory need be there."""
    for _ in range(2):
        with pytest.raises(NotConfiguredError, match="meshnode join") as caught:
            load_config(path)
        assert caught.value.exit_code == 3
        with pytest.raises(NotConfiguredError, match="meshnode join"):
            edit_config(path, lambda config: config)
        path.parent.mkdir(mode=0o755, exist_ok=True)


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    """It names what to do."""
    save_config(path, NetworkConfig("home"))
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        load_config(path)


def test_links_and_long_files_are_refused(path: Path, tmp_path: Path) -> None:
    """Only a plain file of sane length is read."""
    path.parent.mkdir()
    target = tmp_path / "x"
    target.write_bytes(b"")
    path.symlink_to(target)
    with pytest.raises(ConfigError, match="symbolic link"):
        load_config(path)
    path.unlink()
    path.touch(0o600)
    path.write_bytes(b"#" * network_config.MAX_CONFIG_BYTES)
    assert load_config(path) == NetworkConfig("home")
    path.write_bytes(b"#" * (network_config.MAX_CONFIG_BYTES + 1))
    with pytest.raises(ConfigError, match="too long"):
        load_config(path)


def test_an_edit_keeps_the_comments(path: Path) -> None:
    """Sections that do not change stay as they were written."""
    text = (
        "# Ours.\n\n[node] # the node\nmtu = 1420 # as by default\n\n"
        '# The office.\n[[routes.announce]]\nprefix = "10.1.0.0/24" # third floor\n\n'
        '[metrics]\n# for the dashboard\nlisten = "127.0.0.1:9105"\n'
    )
    path.parent.mkdir()
    path.touch(0o600)
    path.write_text(text)
    edit_config(path, lambda config: with_announced(config, AnnouncedRoute(B)))
    assert load_config(path).announced == (AnnouncedRoute(A), AnnouncedRoute(B))
    kept = path.read_text().splitlines()
    for line in text.splitlines():
        assert line in kept
    edit_config(path, lambda config: without_announced(config, B))
    assert path.read_text() == text


def test_an_edit_of_what_looks_like_a_header_is_still_right(path: Path) -> None:
    """Where the text cannot be kept, the content is."""
    text = (
        "[node]\nadvertise = [\n  'a.example:1', # [[routes.announce]]\n"
        "  # '''\n]\n\n"
        "[[wireguard]]\nname = 'p'\npreshared_key_file = '''/a'''\n"
        "public_key = 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE='\n"
        "[routes]\nannounce = [{prefix = '10.1.0.0/24'}]\n"
    )
    hidden = "[metrics]\nlisten = '[::1]:1'\n['node']\nmtu = 1400\n"
    path.parent.mkdir()
    path.touch(0o600)
    for each in (text, hidden, "node.mtu = 1400\nnode.table = 7\n"):
        path.write_text(each)
        before = load_config(path)
        expected = with_announced(before, AnnouncedRoute(B))
        edit_config(path, lambda config: with_announced(config, AnnouncedRoute(B)))
        assert load_config(path) == expected


def test_an_edit_that_fails_changes_nothing(path: Path) -> None:
    """Neither an error of the change nor a value that cannot be written."""
    save_config(path, NetworkConfig("home"))
    before = path.read_bytes()
    with pytest.raises(NotConfiguredError):
        edit_config(path, lambda config: without_announced(config, A))
    for bad in (
        NetworkConfig("home", mtu=5),
        NetworkConfig("a/b"),
        NetworkConfig("home", metrics=HostPort("example.org", 1)),
        NetworkConfig("home", announced=(AnnouncedRoute(A), AnnouncedRoute(A))),
    ):
        with pytest.raises(ConfigError):
            edit_config(path, lambda _, bad=bad: bad)  # type: ignore[misc]
        with pytest.raises(ConfigError):
            save_config(path, bad)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_full_disk_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the error is the host's."""
    save_config(path, NetworkConfig("home"))

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(HostError) as caught:
        save_config(path, NetworkConfig("home", mtu=1300))
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert load_config(path) == NetworkConfig("home")


_EDIT = """
import sys
from pathlib import Path
from meshnode.manage.network_config import *
from meshnode.types import Prefix
for number in range(4):
    route = AnnouncedRoute(Prefix.parse(f"10.{sys.argv[2]}.{number}.0/24"))
    edit_config(Path(sys.argv[1]), lambda config: with_announced(config, route))
"""


def test_edits_at_once_lose_nothing(path: Path) -> None:
    """Several commands that each add routes all succeed."""
    save_config(path, NetworkConfig("home"))
    children = [
        subprocess.Popen([sys.executable, "-c", _EDIT, str(path), str(number)])
        for number in range(4)
    ]
    assert [child.wait(60) for child in children] == [0] * 4
    expected = {Prefix.parse(f"10.{a}.{b}.0/24") for a in range(4) for b in range(4)}
    assert {route.prefix for route in load_config(path).announced} == expected
