"""What a child is told on its command line."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from meshnode.codec.lifeline import Direction, Worker
from meshnode.node.tasks import (
    NO_DESCRIPTOR,
    CarrierTask,
    ControlTask,
    ForwardTask,
    ProxyTask,
    TlsTask,
    WorkerTask,
    arguments_of,
    descriptors_of,
    parse_task,
)
from meshnode.offloads import Offloads
from meshnode.proxy.forwards import Forward, Way

WORKER = WorkerTask(
    worker=Worker(Direction.INGRESS, 1),
    workers=2,
    interface="wg=0",
    engine="reference",
    log_level="info",
    parent=77,
    generation=3,
    offloads=Offloads(udp_segmentation="whole", tun_udp="off"),
    tun_fds=(10,),
    udp4_fd=11,
    udp6_fd=NO_DESCRIPTOR,
    program_fd=12,
    handshakes_fd=13,
    roaming_fds=(14, 17),
    traffic_fd=15,
    counters_fd=16,
    sessions_fd=18,
    tap_fd=19,
)
CONTROL = ControlTask(
    interface="wg0",
    log_level="debug",
    parent=77,
    network="home",
    config_dir=Path("/etc/meshnode"),
    state_dir=Path("/a directory/with=signs"),
    run_dir=Path("/run/meshnode"),
    uapi_dir=Path("/run/wireguard"),
    journal_path=Path("/run/x.journal"),
    journal_fd=3,
    lifeline_fd=4,
    egress_fds=(5, 19),
    ingress_fds=(6, 20),
    handshakes_fd=7,
    traffic_fd=8,
    counters_fd=18,
    sessions_fd=NO_DESCRIPTOR,
    tap_fd=24,
    vault_fd=9,
    uapi_fd=10,
    api_fd=17,
    udp4_fds=(11, 21),
    udp6_fds=(12, 22),
    beside_fds=(),
    tls_fd=23,
    tls_problem="TCP port 443 is taken",
    proxy_fd=25,
    carrier_fd=26,
)
TLS = TlsTask(
    interface="wg0", log_level="info", parent=77, link_fd=5, listener_fds=(6, 7)
)
PROXY = ProxyTask(interface="wg0", log_level="info", parent=77, link_fd=5)
CARRIER = CarrierTask(interface="wg0", log_level="info", parent=77, link_fd=5)


def test_tasks_survive_the_command_line() -> None:
    """What is parsed is what was meant, whatever characters are in it."""
    assert parse_task(WorkerTask, arguments_of(WORKER)) == WORKER
    assert parse_task(ControlTask, arguments_of(CONTROL)) == CONTROL
    assert parse_task(TlsTask, arguments_of(TLS)) == TLS
    assert parse_task(ProxyTask, arguments_of(PROXY)) == PROXY
    assert parse_task(CarrierTask, arguments_of(CARRIER)) == CARRIER
    free = replace(WORKER, offloads=Offloads())
    assert parse_task(WorkerTask, arguments_of(free)) == free
    without = replace(CONTROL, udp6_fds=())
    assert parse_task(ControlTask, arguments_of(without)) == without


def test_only_descriptors_that_exist_are_handed_over() -> None:
    """A family of addresses that the host lacks leaves no descriptor."""
    assert sorted(descriptors_of(WORKER)) == list(range(10, 20))
    assert sorted(descriptors_of(CONTROL)) == [*range(3, 13), *range(17, 27)]


@pytest.mark.parametrize("change", [lambda a: a[1:], lambda a: [*a, "secret=1"]])
def test_other_fields_are_refused(change: object) -> None:
    """A field too few or too many is no task."""
    arguments = change(arguments_of(WORKER))  # type: ignore[operator]
    with pytest.raises(ValueError, match="not the fields"):
        parse_task(WorkerTask, arguments)


def test_nothing_secret_has_a_place_in_a_task() -> None:
    """Everybody on the host can read command lines: no field is for a key."""
    names = {field.name for kind in (WorkerTask, ControlTask) for field in fields(kind)}
    assert not [name for name in names if "key" in name or "secret" in name]


def test_a_forward_task_reads_what_it_writes() -> None:
    """With the ports that it carries."""
    forwards = (
        Forward.from_option(Way.INTO, "tcp:[::1]:8080:10.77.0.1:80"),
        Forward.from_option(Way.OUT_OF, "udp:53:5353"),
    )
    task = ForwardTask(
        interface="home",
        log_level="info",
        parent=7,
        forwards=forwards,
        listener_fds=(4, 5),
        namespace_fd=6,
    )
    assert parse_task(ForwardTask, arguments_of(task)) == task
    assert descriptors_of(task) == [4, 5, 6]
