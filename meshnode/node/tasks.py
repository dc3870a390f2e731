"""What a child process is started with: its role, and numbers of descriptors.

Both travel as `key=value` arguments of the command line, which everybody on the host
can read: so nothing here is secret. A descriptor has the same number in supervisor
and child; -1 stands for one that is not there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from meshnode.codec.lifeline import Worker
from meshnode.offloads import Offloads

NO_DESCRIPTOR = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTask:
    """The life of one worker.

    `parent` is the supervisor's process id, `program_fd` the link to control, and
    `handshakes_fd` the end that takes handshakes to it (ingress only), `roaming_fd`
    this worker's end of the link between the workers. `offloads` are those that may be
    used and that the device has agreed to.
    """

    worker: Worker
    interface: str
    engine: str
    log_level: str
    parent: int
    generation: int
    offloads: Offloads
    tun_fd: int
    udp4_fd: int
    udp6_fd: int
    program_fd: int
    handshakes_fd: int
    roaming_fd: int
    traffic_fd: int
    counters_fd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTask:
    """The life of a control process.

    `journal_fd` holds the lock on the journal at `journal_path`; `state_dir` is
    where the marks of timestamps are kept. `network` is the mesh that the interface
    belongs to, "" for none; only then is there an `api_fd`, the socket that commands
    talk to.
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
    egress_fd: int
    ingress_fd: int
    handshakes_fd: int
    traffic_fd: int
    counters_fd: int
    vault_fd: int
    uapi_fd: int
    api_fd: int
    udp4_fd: int
    udp6_fd: int


Task = TypeVar("Task", WorkerTask, ControlTask)


def arguments_of(task: WorkerTask | ControlTask) -> list[str]:
    """Return the command-line arguments that `parse_task` takes."""
    return [
        f"{field.name}={_text(getattr(task, field.name))}" for field in fields(task)
    ]


def _text(value: object) -> str:
    if isinstance(value, Worker):
        return value.value
    if isinstance(value, Offloads):
        return ",".join(value.forced())
    return str(value)


def descriptors_of(task: WorkerTask | ControlTask) -> list[int]:
    """Return the descriptors that the child shall have."""
    numbers = (
        getattr(task, field.name)
        for field in fields(task)
        if field.name.endswith("_fd")
    )
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
    converters: dict[object, Callable[[str], Any]] = {
        **{kind: kind for kind in (int, str, Path, Worker)},
        Offloads: lambda text: Offloads.parse(text.split(",") if text else ()),
    }
    return kind(**{name: converters[types[name]](texts[name]) for name in types})
