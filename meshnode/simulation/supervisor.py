"""The lives and deaths of a simulated node's processes.

It stands for the supervisor of production, and for the operator who switches the
machine on: who is started with what, and what a crash leaves behind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from meshnode.forwarding import Command, ProgramComplete, Reset
from meshnode.simulation.control import MTU, Control
from meshnode.simulation.workers import Workers
from meshnode.wireguard.config import DeviceState

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost


@dataclass(slots=True)
class Disk:
    """What survives a crash of the whole node: the mark of our timestamps."""

    timestamp_mark: bytes = b""


@dataclass(slots=True)
class Vault:
    """What survives a crash of the control process alone."""

    state: DeviceState = field(default_factory=DeviceState)


class Supervisor:
    """Starts and kills the processes of one host.

    `control` and `workers` are None while they do not run; `configured` is what the
    node's configuration file would hold. `on_restored` is called with each new control
    process, when its engine knows what it knew before: a mesh begins then.
    """

    def __init__(self, host: "SimulatedHost", *, slowness: float) -> None:
        self.disk = Disk()
        self.vault = Vault()
        self.configured = DeviceState()
        self.control: Control | None = None
        self.workers: Workers | None = None
        self.on_restored: Callable[[Control], None] = lambda control: None
        self._host = host
        self._slowness = slowness
        self._random = Random(f"{host.world.seed}/{host.name}")
        self._untold = 0

    @property
    def is_adopting(self) -> bool:
        """Whether control waits for the workers to tell their sessions."""
        return self._untold > 0

    def switch_on(self, *, wall_offset: float | None = None) -> None:
        """Start the node from its configuration and what its disk kept."""
        host = self._host
        if wall_offset is not None:
            host.clock.wall_offset = wall_offset
        host.note(f"node starts, wall clock {host.clock.wall_offset:+.1f} s")
        self.workers = Workers(
            host.world,
            self._random,
            now=lambda: host.now,
            report=self._handle_report,
            settle=self._settle,
            slowness=self._slowness,
        )
        host.world.watch.started(host)
        peers = [
            replace(peer, latest_timestamp=bytes(12), last_handshake=0.0)
            for peer in self.configured.peers
        ]
        self.vault.state = replace(
            self.configured, private_key=host.private_key, peers=peers
        )
        self.start_control()

    def crash(self) -> None:
        """Kill the whole node; only disk and configuration remain."""
        self._host.note("node crashes")
        self._host.is_mute = False
        self.control = None
        self.workers = None
        self._host.forget_held()
        self._host.world.touched(self._host)

    def crash_control(self) -> None:
        """Kill the control process; the workers go on."""
        self._host.note("control crashes")
        self.control = None
        self._untold = 0
        if self.workers is not None:
            self.workers.reports.close()
        self._host.world.touched(self._host)

    def start_control(self) -> None:
        """Start a control process from the vault; it adopts what the workers hold."""
        workers, host = self.workers, self._host
        if workers is None or self.control is not None:
            return
        host.note("control starts")
        self.control = Control(
            host, traffic=workers.view, forward=self._forward, random=self._random
        )
        self.control.engine.restore(self.vault.state, now=host.now)
        self.on_restored(self.control)
        running = workers.running()
        self._untold = len(running)
        workers.reports.open()
        for role in running:
            workers.forward_to(role, Reset(workers.generation[role]))
        if not running:
            self._take_over()
        host.settle()

    def sessions_told(self) -> None:
        """A worker told all its sessions: if the last, program the workers."""
        if self._untold:
            self._untold -= 1
            if not self._untold:
                self._take_over()

    def crash_worker(self, role: str) -> None:
        """Kill egress or ingress; its sessions are lost."""
        if self.workers is not None:
            self._host.note(f"{role} crashes")
            self.workers.kill(role)
            self._host.world.touched(self._host)

    def start_worker(self, role: str) -> None:
        """Start the worker again; control is told and programs it."""
        workers = self.workers
        if workers is None or role in workers.running():
            return
        self._host.note(f"{role} starts")
        workers.start(role)
        if self.control is not None:
            self.control.engine.handle_sessions_lost(now=self._host.now)
            workers.forward_to(role, Reset(workers.generation[role]))
            self._program(role)
        self._host.settle()

    def _settle(self) -> None:
        if not self._host.is_frozen:
            self._host.settle()

    def _forward(self, command: Command) -> None:
        self._host.world.watch.commanded(self._host, command)
        if self.workers is not None:
            self.workers.forward(command)

    def _handle_report(self, message: bytes) -> None:
        if self.control is not None:
            self.control.handle_report(message)

    def _take_over(self) -> None:
        """Bring the link up and program every worker that runs."""
        if self.control is None or self.workers is None:
            return
        self.control.engine.set_link(mtu=MTU, up=True, now=self._host.now)
        for role in self.workers.running():
            self._program(role)

    def _program(self, role: str) -> None:
        if self.control is None or self.workers is None:
            return
        for command in self.control.engine.program():
            self.workers.forward_to(role, command)
        self.workers.forward_to(role, ProgramComplete())
