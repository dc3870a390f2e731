"""A node's own files: damaged, foreign, of another version, or used twice."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.mesh_parts import MeshHost, Site, found_mesh
from topology.hosts import Lab, wait_until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[MeshHost]]:
    """A founder, and a member that is down."""
    with Lab() as lab:
        founder, member = found_mesh(Site(lab), "founder", "member")
        member.down()
        yield [founder, member]


@pytest.fixture
def member(hosts: list[MeshHost]) -> Iterator[MeshHost]:
    """The member, whose files are as they were when the test has ended."""
    host = hosts[1]
    copy = host.state_dir.with_name("copy")
    shutil.copytree(host.state_dir, copy)
    yield host
    if host.pids():
        host.down()
    shutil.rmtree(host.state_dir)
    copy.rename(host.state_dir)


def _database(host: MeshHost) -> Path:
    return host.state_dir / "state.db"


def _truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xaa" * 3000)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _remove(path: Path) -> None:
    path.unlink()


def _reason(host: MeshHost) -> str:
    """Start a node that must not start, as a service does; return what it wrote."""
    result = host.run("up", host.network, "--foreground", check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert host.refusal("up", host.network)[0] == 1
    return result.stderr


@pytest.mark.parametrize("damage", [_truncate, _overwrite, _empty, _remove])
def test_damaged_state_is_replaced_by_the_good_copy(
    hosts: list[MeshHost], member: MeshHost, damage: Callable[[Path], None]
) -> None:
    """The status says so, and the node is a member as before."""
    for side in ("-wal", "-shm"):
        _database(member).with_name(f"state.db{side}").unlink(missing_ok=True)
    damage(_database(member))
    member.up()
    assert any("state.db was damaged" in text for text in member.status()["health"])
    member.pings(hosts[0])
    member.down()
    member.up()
    assert member.status()["health"] == []


def test_state_without_a_good_copy_is_refused(member: MeshHost) -> None:
    """Nobody begins without memory unless told to."""
    for name in ("state.db", "state.db.good"):
        _overwrite(member.state_dir / name)
    reason = _reason(member)
    assert "is damaged" in reason
    assert "state.db" in reason
    wait_until(lambda: not member.pids(), "whoever refused to start has ended")


def test_state_of_a_later_version_is_refused(member: MeshHost) -> None:
    """It is neither used nor replaced."""
    with sqlite3.connect(_database(member)) as connection:
        connection.execute("PRAGMA user_version = 999")
        newer = (999).to_bytes(4, "big")
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (newer,))
    connection.close()
    before = _database(member).read_bytes()
    assert "later version" in _reason(member)
    assert _database(member).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("wireguard.key", "founder"),
        ("signing.key", "founder"),
        ("certificate", "founder"),
        ("wireguard.key", ""),
        ("network", ""),
    ],
)
def test_identity_that_does_not_fit_never_starts(
    hosts: list[MeshHost], member: MeshHost, name: str, source: str
) -> None:
    """Another host's file, or none: the line names the file."""
    file = member.state_dir / name
    if source:
        file.write_bytes((hosts[0].state_dir / name).read_bytes())
    else:
        file.unlink()
    code, line = member.refusal("up")
    assert code == 1
    assert str(member.state_dir) in line
    assert member.pids() == []
    assert "home" not in member.host.interfaces()


def test_state_is_for_one_node_at_a_time(
    hosts: list[MeshHost], member: MeshHost
) -> None:
    """A second node on the same directory is refused; the first goes on."""
    member.up()
    twin = MeshHost(hosts[0].port)
    twin.variables = {
        **member.variables,
        "MESHNODE_RUN_DIR": f"{member.variables['MESHNODE_RUN_DIR']}-2",
        "MESHNODE_UAPI_DIR": f"{member.variables['MESHNODE_UAPI_DIR']}-2",
    }
    hosts[0].down()
    assert "in use" in _reason(twin)
    hosts[0].up()
    member.pings(hosts[0])
