"""What a child process is started with: its role, and numbers of descriptors.

Both travel as `key=value` arguments of the command line, which everybody on the host
can read: so nothing here is secret. A descriptor has the same number in supervisor
and child; -1 stands for one that is not there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from meshnode.codec.lifeline import Worker
from meshnode.offloads import Offloads
from meshnode.proxy.forwards import Forward

NO_DESCRIPTOR = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTask:
    """The life of one worker.

    `workers` is how many there are of each direction, `parent` the supervisor's process
    id, `program_fd` the link to control, and `handshakes_fd` the end that takes
    handshakes to it (ingress only). `roaming_fds` are an egress worker's end of its
    link with all ingress workers, or an ingress worker's ends of the links with all
    egress workers. `sessions_fd` is there if there are several of each direction.
    `offloads` are those that may be used and that the device has agreed to. `tap_fd` is
    the memory that captures read.
    """

    worker: Worker
    workers: int
    interface: str
    engine: str
    log_level: str
    parent: int
    generation: int
    offloads: Offloads
    tun_fds: tuple[int, ...]
    udp4_fd: int
    udp6_fd: int
    program_fd: int
    handshakes_fd: int
    roaming_fds: tuple[int, ...]
    traffic_fd: int
    counters_fd: int
    sessions_fd: int
    tap_fd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTask:
    """The life of a control process.

    `journal_fd` holds the lock on the journal at `journal_path`; `state_dir` is
    where the marks of timestamps are kept. `network` is the mesh that the interface
    belongs to, "" for none; only then is there an `api_fd`, the socket that commands
    talk to. `egress_fds` and `ingress_fds` are the links to the workers, by their
    numbers; `udp4_fds` and `udp6_fds` what they speak by, and `beside_fds` sockets on
    other ports that a peer is spoken to by. `sessions_fd` is there if there are several
    of each direction, `tap_fd` the memory that captures read. `tls_fd` is the link to
    who speaks TLS, and `tls_problem` why nobody is served by TLS, if that was asked
    for. `proxy_fd` is the link to who serves applications, `carrier_fd` that to who
    carries what is steered. `namespace_fd` is the network that a rootless
    node's interface is in.
    """

    interface: str
    log_level: str
    parent: int
    network: str
    config_dir: Path
    state_dir: Path
    run_dir: Path
    uapi_dir: Path
    journal_path: Path
    journal_fd: int
    lifeline_fd: int
    egress_fds: tuple[int, ...]
    ingress_fds: tuple[int, ...]
    handshakes_fd: int
    traffic_fd: int
    counters_fd: int
    sessions_fd: int
    tap_fd: int
    vault_fd: int
    uapi_fd: int
    api_fd: int
    udp4_fds: tuple[int, ...]
    udp6_fds: tuple[int, ...]
    beside_fds: tuple[int, ...]
    tls_fd: int
    tls_problem: str
    proxy_fd: int
    carrier_fd: int
    namespace_fd: int = NO_DESCRIPTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsTask:
    """The life of the process that speaks TLS.

    `link_fd` is its link to control; at `listener_fds` clients come.
    """

    interface: str
    log_level: str
    parent: int
    link_fd: int
    listener_fds: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardTask:
    """The life of the process that carries forwarded ports of a rootless node.

    `forwards` and the listeners at `listener_fds` are in the same order;
    `namespace_fd` is the network of the interface.
    """

    interface: str
    log_level: str
    parent: int
    forwards: tuple[Forward, ...]
    listener_fds: tuple[int, ...]
    namespace_fd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTask:
    """The life of the process that serves applications; `link_fd` leads to control.

    `namespace_fd` is the network that a rootless node's interface is in.
    """

    interface: str
    log_level: str
    parent: int
    link_fd: int
    namespace_fd: int = NO_DESCRIPTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierTask:
    """The life of the process that carries what is steered through proxies.

    `link_fd` is its link to control.
    """

    interface: str
    log_level: str
    parent: int
    link_fd: int


AnyTask = WorkerTask | ControlTask | TlsTask | ForwardTask | ProxyTask | CarrierTask
Task = TypeVar(
    "Task", WorkerTask, ControlTask, TlsTask, ForwardTask, ProxyTask, CarrierTask
)


def arguments_of(task: AnyTask) -> list[str]:
    """Return the command-line arguments that `parse_task` takes."""
    return [
        f"{field.name}={_text(getattr(task, field.name))}" for field in fields(task)
    ]


def _text(value: object) -> str:
    if isinstance(value, Worker):
        return value.name
    if isinstance(value, Offloads):
        return ",".join(value.forced())
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def descriptors_of(task: AnyTask) -> list[int]:
    """Return the descriptors that the child shall have."""
    numbers: list[int] = []
    for field in fields(task):
        if field.name.endswith("_fd"):
            numbers.append(getattr(task, field.name))
        elif field.name.endswith("_fds"):
            numbers += getattr(task, field.name)
    return [number for number in numbers if number != NO_DESCRIPTOR]


def parse_task(kind: type[Task], arguments: Sequence[str]) -> Task:
    """Return the task that *arguments* describe.

    Raises:
        ValueError: if they describe none.
    """
    texts = dict(argument.split("=", 1) for argument in arguments)
    types = {field.name: field.type for field in fields(kind)}
    if texts.keys() != types.keys():
        raise ValueError(f"not the fields of a {kind.__name__}")
    return kind(**{name: _CONVERTERS[types[name]](texts[name]) for name in types})


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",")) if text else ()


_CONVERTERS: Final[dict[object, Callable[[str], Any]]] = {
    **{kind: kind for kind in (int, str, Path)},
    Worker: Worker.parse,
    Offloads: lambda text: Offloads.parse(text.split(",") if text else ()),
    tuple[int, ...]: _numbers,
    tuple[Forward, ...]: lambda text: (
        tuple(map(Forward.parse, text.split(","))) if text else ()
    ),
}
