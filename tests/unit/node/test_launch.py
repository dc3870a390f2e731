"""Which descriptors each process is started with."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshnode.codec.lifeline import Direction, Worker, workers_of
from meshnode.host.tun import TCP_OFFLOAD, UDP_OFFLOAD, Offload
from meshnode.manage.paths import Directories
from meshnode.node import launch
from meshnode.node.launch import Launcher, Settings
from meshnode.node.resources import Roaming
from meshnode.node.tasks import NO_DESCRIPTOR, ControlTask, WorkerTask
from meshnode.offloads import Offloads
from meshnode.proxy.forwards import Forward, Way


def descriptor(number: int) -> Any:
    """Return something with that descriptor."""
    return SimpleNamespace(fileno=lambda: number)


def resources(offload: Offload = Offload.NONE) -> Any:
    """Return what a supervisor would keep, as bare numbers."""
    return SimpleNamespace(
        name="wg0",
        journal=SimpleNamespace(path=Path("/run/wg0.journal"), fileno=lambda: 1),
        tun=SimpleNamespace(offload=offload),
        queues_of=lambda worker: (2,),
        udp=(SimpleNamespace(v4=descriptor(3), v6=None),),
        beside={},
        uapi=descriptor(4),
        api=None,
        programs={
            EGRESS: SimpleNamespace(control=descriptor(5), worker=descriptor(6)),
            INGRESS: SimpleNamespace(control=descriptor(7), worker=descriptor(8)),
        },
        handshakes=SimpleNamespace(control=descriptor(9), worker=descriptor(10)),
        roaming=(Roaming(ingress=descriptor(12), egress=descriptor(11)),),
        traffic_fd=13,
        counters_fd=14,
        sessions_fd=16,
        tap_fd=17,
        vault_fd=15,
        tls=SimpleNamespace(control=descriptor(20), worker=descriptor(21)),
        carrier=SimpleNamespace(control=descriptor(24), worker=descriptor(25)),
        listeners=(descriptor(22), descriptor(23)),
        tls_problem="taken",
        namespace_fd=24,
        forwards=(FORWARD,),
        forward_listeners=(descriptor(25),),
        proxy=SimpleNamespace(control=descriptor(30), worker=descriptor(31)),
    )


EGRESS, INGRESS = workers_of(1)
FORWARD = Forward.from_option(Way.INTO, "tcp:8080:80")
SETTINGS = Settings("reference", "info", Directories())


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tasks of processes that would have been started."""
    started: list[Any] = []

    def spawn(task: object) -> int:
        started.append(task)
        return 4711

    monkeypatch.setattr(launch, "spawn", spawn)
    return started


def test_workers_get_their_own_ends(tasks: list[Any]) -> None:
    """Only ingress can hand handshakes over, and nobody gets the vault."""
    launcher = Launcher(resources(), SETTINGS)
    assert launcher.worker(EGRESS, 1) == 4711
    launcher.worker(INGRESS, 2)
    egress, ingress = tasks
    assert isinstance(egress, WorkerTask)
    assert (egress.program_fd, ingress.program_fd) == (6, 8)
    assert (egress.handshakes_fd, ingress.handshakes_fd) == (NO_DESCRIPTOR, 10)
    assert (egress.roaming_fds, ingress.roaming_fds) == ((11,), (12,))
    assert (egress.generation, ingress.generation) == (1, 2)
    assert egress.parent == os.getpid()


def test_control_gets_the_other_ends(tasks: list[Any]) -> None:
    """It has the vault and the userspace API, and no TUN device."""
    Launcher(resources(), SETTINGS).control(99)
    (control,) = tasks
    assert isinstance(control, ControlTask)
    assert (control.egress_fds, control.ingress_fds) == ((5,), (7,))
    assert (control.handshakes_fd, control.lifeline_fd) == (9, 99)
    assert (control.vault_fd, control.uapi_fd) == (15, 4)
    assert (control.udp4_fds, control.udp6_fds) == ((3,), ())
    assert not hasattr(control, "tun_fd")


def test_the_carrier_gets_its_end_of_the_link(tasks: list[Any]) -> None:
    """And control the other; it has no socket of its own."""
    launcher = Launcher(resources(), SETTINGS)
    launcher.carrier()
    launcher.control(99)
    carrier, control = tasks
    assert (carrier.link_fd, control.carrier_fd) == (25, 24)


def test_sockets_are_those_in_use_at_that_moment(tasks: list[Any]) -> None:
    """After a change of port the next process gets the new ones."""
    kept = resources()
    launcher = Launcher(kept, SETTINGS)
    kept.udp = (SimpleNamespace(v4=descriptor(20), v6=descriptor(21)),)
    launcher.worker(INGRESS, 1)
    assert (tasks[0].udp4_fd, tasks[0].udp6_fd) == (20, 21)


@pytest.mark.parametrize(
    ("agreed", "told"),
    [
        (TCP_OFFLOAD | UDP_OFFLOAD, Offloads(udp_segmentation="whole")),
        (TCP_OFFLOAD, Offloads(udp_segmentation="whole", tun_udp="off")),
        (Offload.CSUM, Offloads("whole", tun_tcp="off", tun_udp="off")),
    ],
)
def test_offloads_are_those_that_are_wanted_and_agreed(
    tasks: list[Any], agreed: Offload, told: Offloads
) -> None:
    """Ingress may merge only for a device that takes it."""
    settings = replace(SETTINGS, offloads=Offloads(udp_segmentation="whole"))
    Launcher(resources(agreed), settings).worker(INGRESS, 1)
    assert tasks[0].offloads == told


def test_several_workers_have_their_own(tasks: list[Any]) -> None:
    """A pair of sockets each; a link of ingress with every egress, which has one."""
    kept = resources()
    kept.udp = tuple(
        SimpleNamespace(v4=descriptor(20 + n), v6=descriptor(30 + n)) for n in range(2)
    )
    kept.roaming = tuple(
        Roaming(ingress=descriptor(40 + n), egress=descriptor(50 + n)) for n in range(2)
    )
    kept.programs = {
        worker: SimpleNamespace(control=descriptor(60 + n), worker=descriptor(70 + n))
        for n, worker in enumerate(workers_of(2))
    }
    launcher = Launcher(kept, SETTINGS)
    launcher.worker(Worker(Direction.EGRESS, 1), 1)
    launcher.worker(Worker(Direction.INGRESS, 1), 1)
    launcher.control(99)
    egress, ingress, control = tasks
    assert (egress.workers, egress.udp4_fd, egress.udp6_fd) == (2, 21, 31)
    assert (egress.roaming_fds, ingress.roaming_fds) == ((51,), (40, 41))
    assert (egress.program_fd, ingress.program_fd) == (71, 73)
    assert egress.sessions_fd == ingress.sessions_fd == control.sessions_fd == 16
    assert egress.tap_fd == ingress.tap_fd == control.tap_fd == 17
    assert (control.egress_fds, control.ingress_fds) == ((60, 61), (62, 63))
    assert (control.udp4_fds, control.udp6_fds) == ((20, 21), (30, 31))


def test_who_speaks_tls_gets_link_and_listeners(tasks: list[Any]) -> None:
    """Control has the other end, and knows why nobody is served."""
    launcher = Launcher(resources(), SETTINGS)
    launcher.tls()
    launcher.control(30)
    tls, control = tasks
    assert (tls.link_fd, tls.listener_fds) == (21, (22, 23))
    assert (control.tls_fd, control.tls_problem) == (20, "taken")


def test_who_carries_ports_gets_listeners_and_the_inner_network(
    tasks: list[Any],
) -> None:
    """And nothing of the tunnel."""
    Launcher(resources(), SETTINGS).forward()
    (task,) = tasks
    assert task.forwards == (FORWARD,)
    assert (task.listener_fds, task.namespace_fd) == ((25,), 24)


def test_who_serves_applications_gets_a_link(tasks: list[Any]) -> None:
    """And nothing else; control has the other end."""
    launcher = Launcher(resources(), SETTINGS)
    launcher.proxy()
    launcher.control(9)
    proxy, control = tasks
    assert (proxy.link_fd, control.proxy_fd) == (31, 30)
