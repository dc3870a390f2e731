"""All descriptors of an interface, or none."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshnode.codec.lifeline import workers_of
from meshnode.errors import HostError
from meshnode.host.tun import Offload, TunDevice
from meshnode.host.udp import UdpPair
from meshnode.manage.paths import Directories
from meshnode.node import resources
from meshnode.node.resources import QUEUES, Opening, Resources, rootless
from meshnode.node.tasks import NO_DESCRIPTOR
from tests.unit.node.test_outlet import unbound_pair


@pytest.fixture
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Directories:
    """A host whose TUN device and UDP sockets are make-believe."""

    def open_queue(*about: object) -> int:
        return os.open(os.devnull, os.O_RDWR)

    def create_tun(name: str, *, queues: int, wanted: Offload) -> TunDevice:
        fds = tuple(map(open_queue, range(queues)))
        return TunDevice(name, 1, fds, Offload.NONE)

    def open_pairs(count: int, port: int, *, fwmark: int) -> tuple[UdpPair, ...]:
        return tuple(unbound_pair() for _ in range(count))

    monkeypatch.setattr(resources, "create_tun", create_tun)
    monkeypatch.setattr(resources, "open_inlet", open_queue)
    monkeypatch.setattr(resources, "_set_mtu", lambda name, mtu: None)
    monkeypatch.setattr(resources, "open_udp_pairs", open_pairs)
    return Directories(run=tmp_path / "run", uapi=tmp_path)


def open_descriptors() -> set[str]:
    """Return the numbers of this process's descriptors."""
    return set(os.listdir("/proc/self/fd"))


def test_everything_is_made_and_closed_again(
    tmp_path: Path, directories: Directories
) -> None:
    """Nothing stays open, and no file is left."""
    before = open_descriptors()
    kept = Resources.open("wg0", directories, Opening())
    assert tuple(kept.programs) == workers_of(1)
    assert (tmp_path / "wg0.sock").exists()
    assert os.listdir(directories.run) == ["wg0.journal"]
    for link in (*kept.programs.values(), kept.handshakes):
        link.control.send(b"x")
        assert link.worker.recv(9) == b"x"
    (roaming,) = kept.roaming
    roaming.ingress.send(b"x")
    assert roaming.egress.recv(9) == b"x"
    kept.close()
    assert open_descriptors() == before
    assert not (tmp_path / "wg0.sock").exists()
    assert os.listdir(directories.run) == []


@pytest.mark.parametrize("step", ["_set_mtu", "open_udp_pairs", "_memory"])
def test_a_step_that_fails_undoes_the_ones_before(
    tmp_path: Path, directories: Directories, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is refused, the host is as it was."""

    def refuse(*args: object, **keywords: object) -> None:
        raise HostError("refused")

    monkeypatch.setattr(resources, step, refuse)
    before = open_descriptors()
    with pytest.raises(HostError, match="refused"):
        Resources.open("wg0", directories, Opening())
    assert open_descriptors() == before
    assert not (tmp_path / "wg0.sock").exists()
    assert os.listdir(directories.run) == []


def test_a_living_socket_is_not_undone(
    tmp_path: Path, directories: Directories
) -> None:
    """Another program's socket file outlives our failure to take its place."""
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(str(tmp_path / "wg0.sock"))
        owner.listen()
        with pytest.raises(HostError, match="already in use"):
            Resources.open("wg0", directories, Opening())
        assert (tmp_path / "wg0.sock").exists()


def test_a_mesh_has_a_socket_for_commands(
    tmp_path: Path, directories: Directories
) -> None:
    """It is there for our user only, and goes with the rest."""
    path = directories.api_socket("home")
    kept = Resources.open("wg0", directories, Opening(api=path))
    assert kept.api is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept.close()
    assert not path.exists()


def test_new_sockets_replace_the_old_ones(directories: Directories) -> None:
    """The old ones are closed, the new ones with the rest."""
    kept = Resources.open("wg0", directories, Opening())
    (old,), new = kept.udp, unbound_pair()
    kept.replace_udp((new,))
    assert old.v4.fileno() == -1
    assert kept.udp == (new,)
    kept.close()
    assert new.v4.fileno() == -1


def test_several_workers_share_sessions_and_have_the_rest_alone(
    directories: Directories,
) -> None:
    """Each has queues and a pair; ingress writes where nothing arrives."""
    before = open_descriptors()
    kept = Resources.open("wg0", directories, Opening(workers=3))
    assert tuple(kept.programs) == workers_of(3)
    assert len(kept.udp) == len(kept.roaming) == 3
    assert len(kept.tun.fds) == 3 * QUEUES
    assert os.fstat(kept.sessions_fd).st_size == 3 * 65536 * 2176
    queues = [kept.queues_of(worker) for worker in workers_of(3)]
    assert sum(queues[:3], ()) == kept.tun.fds
    assert queues[3:] == [(kept.inlet_fd,)] * 3
    kept.close()
    assert open_descriptors() == before


def test_a_single_worker_shares_nothing(directories: Directories) -> None:
    """It has all queues, and there is no memory for sessions."""
    kept = Resources.open("wg0", directories, Opening())
    assert kept.sessions_fd == NO_DESCRIPTOR
    egress, ingress = workers_of(1)
    assert kept.queues_of(egress) == kept.tun.fds
    assert kept.queues_of(ingress) == (kept.inlet_fd,)
    kept.close()


def test_the_mtu_is_set_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal of the kernel names the interface."""

    def refuse(*args: object) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(resources, "fcntl", SimpleNamespace(ioctl=refuse))
    with pytest.raises(HostError, match="MTU of wg0"):
        resources._set_mtu("wg0", 1420)


def test_a_rootless_device_is_made_in_its_network(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is the watch of it; where ports come in is open before anything runs."""
    entered = []

    def call_in(namespace: int, function: Callable[[], Any]) -> Any:
        entered.append(namespace)
        return function()

    monkeypatch.setattr(resources, "call_in", call_in)
    monkeypatch.setattr(resources, "LinkWatch", lambda fd: ("watch", fd))
    before = open_descriptors()
    namespace = os.open(os.devnull, os.O_RDONLY)
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    opening = Opening(rootless=rootless([f"tcp:{port}:80"], []))
    kept = Resources.open("wg0", directories, opening, namespace_fd=namespace)
    (listener,) = kept.forward_listeners
    assert listener.getsockname() == ("127.0.0.1", port)
    watch: Any = kept.watch_link()
    assert watch == ("watch", kept.tun.fds[0])
    assert entered == [namespace, namespace]
    with pytest.raises(HostError, match="is taken"):
        Resources.open("wg1", directories, opening, namespace_fd=os.dup(namespace))
    kept.close()
    assert open_descriptors() == before


def test_a_device_that_is_half_made_is_closed(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would know of it."""

    def fail(*_: object) -> int:
        raise HostError("no more queues")

    monkeypatch.setattr(resources, "open_inlet", fail)
    before = open_descriptors()
    with pytest.raises(HostError, match="no more queues"):
        Resources.open("wg0", directories, Opening())
    assert open_descriptors() == before
