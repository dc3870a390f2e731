"""Entry of the child processes: `python -I -m meshnode.node.child ROLE KEY=VALUE...`.

Everything is imported first, then privileges are given up, and only then does the
process touch anything that comes from the network.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from meshnode.codec.lifeline import MAX_REASON, Direction, Failed, encode
from meshnode.errors import HostError, MeshnodeError
from meshnode.host.channels import send_with_fds
from meshnode.host.privileges import (
    die_with_parent,
    drop_to_control,
    drop_to_proxy,
    drop_to_worker,
)
from meshnode.node.children import CARRIER, CONTROL, FORWARD, PROXY, TLS
from meshnode.node.log import configure_logging
from meshnode.node.shared import counters_bytes, row_of
from meshnode.node.tasks import (
    NO_DESCRIPTOR,
    AnyTask,
    CarrierTask,
    ControlTask,
    ForwardTask,
    ProxyTask,
    TlsTask,
    WorkerTask,
    parse_task,
)

if TYPE_CHECKING:
    from meshnode.node.mesh_control import MeshControl

CONTROL_NICENESS = 5
"""Gives control a third of a worker's weight where processors are short."""

_log = logging.getLogger("meshnode.node")


def main(arguments: Sequence[str]) -> int:
    """Be the child that *arguments* describe; return the exit code."""
    role, *fields = arguments
    task: AnyTask
    lifeline_fd = NO_DESCRIPTOR
    prepare: Callable[[], Callable[[], int]]
    if role == CONTROL:
        task = parse_task(ControlTask, fields)
        # To say why control ended, when it has closed everything.
        lifeline_fd = os.dup(task.lifeline_fd)
        prepare = partial(_prepare_control, task)
    elif role == TLS:
        task = parse_task(TlsTask, fields)
        prepare = partial(_prepare_tls, task)
    elif role == FORWARD:
        task = parse_task(ForwardTask, fields)
        prepare = partial(_prepare_forward, task)
    elif role == PROXY:
        task = parse_task(ProxyTask, fields)
        prepare = partial(_prepare_proxy, task)
    elif role == CARRIER:
        task = parse_task(CarrierTask, fields)
        prepare = partial(_prepare_carrier, task)
    else:
        task = parse_task(WorkerTask, fields)
        prepare = partial(_prepare_worker, task)
    configure_logging(f"{task.interface} {role}", task.log_level)
    try:
        return prepare()()
    except Exception as error:
        cause = _first_leaf(error)
        _log.error("failed: %s: %s", type(cause).__name__, cause)
        _log.debug("trace", exc_info=error)
        if isinstance(task, ControlTask) and isinstance(cause, MeshnodeError):
            _tell_supervisor(lifeline_fd, cause)
        return 1


def _tell_supervisor(lifeline_fd: int, cause: MeshnodeError) -> None:
    """Say why control cannot go on: who started the node may be waiting to hear it."""
    reason = " ".join(str(cause).split())[:MAX_REASON]
    with (
        contextlib.suppress(OSError, HostError),
        socket.socket(fileno=lifeline_fd) as lifeline,
    ):
        send_with_fds(lifeline, encode(Failed(cause.exit_code, reason)))


def _prepare_control(task: ControlTask) -> Callable[[], int]:
    from meshnode.node.control import run_control

    mesh_kind = _mesh_kind(task) if task.network else None
    # Packets first: a flood of handshakes must not take the processors from them.
    os.nice(CONTROL_NICENESS)
    drop_to_control()
    die_with_parent(task.parent, signal.SIGTERM)
    return partial(run_control, task, mesh_kind)


def _mesh_kind(task: ControlTask) -> "Callable[..., MeshControl]":
    from meshnode.host.inside import Inside
    from meshnode.node.mesh_control import MeshControl

    if task.namespace_fd == NO_DESCRIPTOR:
        return MeshControl
    inside = Inside(task.namespace_fd, drop_to_control)
    return partial(MeshControl, inside=inside)


def _prepare_worker(task: WorkerTask) -> Callable[[], int]:
    from meshnode.dataplane import worker
    from meshnode.dataplane.engines import open_engine
    from meshnode.dataplane.interface import WorkerResources
    from meshnode.dataplane.shared_sessions import SESSIONS_BYTES
    from meshnode.dataplane.traffic import TrafficTable, table_bytes
    from meshnode.host.memory import map_shared

    factory = open_engine(task.engine)
    drop_to_worker()
    die_with_parent(task.parent, signal.SIGKILL)
    udp = [fd for fd in (task.udp4_fd, task.udp6_fd) if fd != NO_DESCRIPTOR]
    roaming = tuple(socket.socket(fileno=fd) for fd in task.roaming_fds)
    count = task.workers
    sessions = None
    if task.sessions_fd != NO_DESCRIPTOR:
        sessions = memoryview(map_shared(task.sessions_fd, SESSIONS_BYTES))
    resources = WorkerResources(
        generation=task.generation,
        queues=task.tun_fds,
        sockets=tuple(socket.socket(fileno=fd) for fd in udp),
        traffic=TrafficTable(map_shared(task.traffic_fd, table_bytes(count)), count),
        roaming=roaming,
        offloads=task.offloads,
        number=task.worker.number,
        sessions=sessions,
        tap=_ring(task),
    )
    program = socket.socket(fileno=task.program_fd)
    counters = row_of(map_shared(task.counters_fd, counters_bytes(count)), task.worker)

    def run() -> int:
        if task.worker.direction is Direction.EGRESS:
            engine = factory.egress(resources)
            worker.run_egress(engine, program, roaming=roaming[0], counters=counters)
        else:
            handshakes = socket.socket(fileno=task.handshakes_fd)
            receiver = factory.ingress(resources)
            worker.run_ingress(receiver, program, handshakes, counters=counters)
        return 0

    return run


def _ring(task: WorkerTask) -> memoryview:
    """Return the ring that this worker alone writes."""
    from meshnode.codec.tap import ring_number, ring_of, tap_bytes
    from meshnode.host.memory import map_shared

    worker = task.worker
    is_egress = worker.direction is Direction.EGRESS
    memory = memoryview(map_shared(task.tap_fd, tap_bytes(task.workers)))
    return ring_of(memory, ring_number(worker.number, is_egress=is_egress))


def _prepare_tls(task: TlsTask) -> Callable[[], int]:
    from meshnode.node.tls_process import make_context, run_tls

    context, certificate_hash = make_context()
    drop_to_worker()
    die_with_parent(task.parent, signal.SIGKILL)
    link = socket.socket(fileno=task.link_fd)
    listeners = [socket.socket(fileno=number) for number in task.listener_fds]
    return partial(run_tls, link, listeners, context, certificate_hash)


def _prepare_forward(task: ForwardTask) -> Callable[[], int]:
    from meshnode.host.inside import Inside
    from meshnode.node.forward_process import run_forwards

    inside = Inside(task.namespace_fd, drop_to_worker)
    drop_to_worker()
    die_with_parent(task.parent, signal.SIGKILL)
    listeners = [socket.socket(fileno=number) for number in task.listener_fds]
    return partial(run_forwards, task.forwards, listeners, inside)


def _prepare_proxy(task: ProxyTask) -> Callable[[], int]:
    from meshnode.host.inside import Outside
    from meshnode.host.namespaces import enter_namespace
    from meshnode.node.proxy_process import prepare, run_proxy

    prepare()
    open_outside = None
    if task.namespace_fd != NO_DESCRIPTOR:
        # Everything goes into the mesh's network, but clients come from the host's.
        open_outside = Outside(drop_to_proxy).call
        enter_namespace(task.namespace_fd)
    drop_to_proxy()
    die_with_parent(task.parent, signal.SIGKILL)
    return partial(run_proxy, socket.socket(fileno=task.link_fd), open_outside)


def _prepare_carrier(task: CarrierTask) -> Callable[[], int]:
    from meshnode.node.proxy_process import prepare
    from meshnode.node.steer_process import run_carrier

    prepare()
    drop_to_proxy()
    die_with_parent(task.parent, signal.SIGKILL)
    return partial(run_carrier, socket.socket(fileno=task.link_fd))


def _first_leaf(error: BaseException) -> BaseException:
    """Return the first error in what may be groups of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
