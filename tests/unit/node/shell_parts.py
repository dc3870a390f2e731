"""A founder's `MeshShell` over a real driver, engine and store, without a host."""

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from meshnode.codec.lifeline import workers_of
from meshnode.codec.message_bytes import encode_message
from meshnode.codec.messages import Message
from meshnode.crypto.keys import PublicKey
from meshnode.dataplane.traffic import ControlView, TrafficTable
from meshnode.host.clock import BootTimer, boottime
from meshnode.host.journal import Journal
from meshnode.host.udp import open_udp_pair
from meshnode.hostplan import HostPlan
from meshnode.manage.state import StateStore
from meshnode.mesh.engine_tunnels import EngineTunnels
from meshnode.mesh.node import MeshNode
from meshnode.node import mesh_shell
from meshnode.node.driver import Driver
from meshnode.node.fleet import Fleet
from meshnode.node.marks import TimestampMarks
from meshnode.node.mesh_shell import MeshShell
from meshnode.node.vault import Vault
from meshnode.wireguard.engine import Engine
from meshnode.wireguard.events import ControlFrame
from tests.unit.mesh.node_parts import SETTINGS, World
from tests.unit.node.test_driver import FakeLink, FakeOutlet

SLOTS = 64


class FakePlanner:
    """Notes the plans; what `answer` holds is raised or returned."""

    def __init__(self, journal: Journal) -> None:
        self.plans: list[HostPlan] = []
        self.answer: Any = []

    def apply(self, plan: HostPlan, *, endpoints: frozenset[str]) -> Any:
        """Take a plan."""
        self.plans.append(plan)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Shell:
    """One control process's mesh; `story` is what happened in order."""

    def __init__(
        self, rng: random.Random, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.addresses = ["192.0.2.5"]
        monkeypatch.setattr(
            mesh_shell, "local_addresses", lambda without: list(self.addresses)
        )
        self.world = World(rng, began=int(time.time()) - 60)
        self.path = path
        self.memory = bytearray(2**20)
        (path / "state").mkdir(mode=0o700)
        self.begin()

    def begin(self) -> None:
        """Let a control process begin, with what the last one left."""
        self.story: list[Any] = []
        founder = self.world.founder
        assert founder.identity is not None
        self.store = StateStore.open(self.path / "state" / "state.db")
        self.engine = Engine(
            entropy=os.urandom,
            traffic=ControlView(TrafficTable(bytearray(SLOTS * 192))),
            wall_time=time.time(),
            now=boottime(),
        )
        self.tunnels = EngineTunnels(self.engine)
        self.node = MeshNode(
            founder.identity,
            SETTINGS,
            self.store.load(),
            tunnels=self.tunnels,
            entropy=os.urandom,
            now=boottime(),
            wall=time.time(),
        )
        descriptor = os.open(self.path / "journal", os.O_RDWR | os.O_CREAT, 0o600)
        self._descriptor = descriptor
        self.shell = MeshShell(
            self.node,
            tunnels=self.tunnels,
            engine=self.engine,
            store=self.store,
            planner=FakePlanner(Journal(descriptor, self.path / "journal")),
            interface="mesh",
            fwmark=7,
        )
        self.links = {w: FakeLink(w.name, self.story) for w in workers_of(1)}
        self.outlet = FakeOutlet(self.story)
        self.outlet.pair.close()
        self.outlet.pair = open_udp_pair(0)
        self.timer = BootTimer()
        self.driver = Driver(
            self.engine,
            vault=Vault(self.memory),
            marks=TimestampMarks(self.path),
            outlet=self.outlet,  # type: ignore[arg-type]
            workers=Fleet(self.links),  # type: ignore[arg-type]
            timer=self.timer,
            introductions=self.shell.receive_introduction,
            on_event=self.shell.handle_event,
            before_sending=self.shell.carry_out,
        )
        keep = self.store.apply

        def noted(changes: Any) -> None:
            keep(changes)
            self.story.append("kept")

        self.store.apply = noted  # type: ignore[method-assign]

    @property
    def planner(self) -> FakePlanner:
        """Where plans go."""
        planner: Any = self.shell._planner
        assert isinstance(planner, FakePlanner)
        return planner

    def start(self) -> None:
        """Take over, as control does."""
        self.driver.restore()
        self.shell.start(self.driver)

    def frame(self, key: bytes, message: Message) -> None:
        """Let a control frame of a peer come from the engine."""
        self.shell.handle_event(
            ControlFrame(0, PublicKey(key), encode_message(message))
        )

    def close(self) -> None:
        """End the process; what is on disk and in the vault stays."""
        self.shell.close()
        self.timer.close()
        self.outlet.pair.close()
        os.close(self._descriptor)
