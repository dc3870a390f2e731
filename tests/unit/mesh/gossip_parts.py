"""A network with real signatures, and one node's gossip over a mailbox."""

import random

from meshnode.codec.messages import Message
from meshnode.codec.records import Charter, Policy
from meshnode.mesh.answers import Answers
from meshnode.mesh.clock import WallMark
from meshnode.mesh.intake import Intake
from meshnode.mesh.neighbours import Neighbours
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import StateChange
from meshnode.mesh.record_set import Merge, RecordSet
from meshnode.mesh.repair import Repair
from meshnode.mesh.sync import Sync
from meshnode.mesh.trust import Trust
from meshnode.simulation.population import EPOCH, Population
from tests.mesh_wire import Mailbox

WALL = float(EPOCH)


class Site:
    """One node; the test is the network."""

    def __init__(self, population: Population, *, charters: int = 1) -> None:
        self.now = 100.0
        self.population = population
        self.me = population.add()
        self.trust = Trust(population.network_id)
        if charters:
            self.trust.add_charter(population.charter)
        self.records = RecordSet()
        self.outbox = Outbox()
        self.mailbox = Mailbox()
        self.clock = WallMark(EPOCH - 86400, self.outbox, now=self.now)
        rng = random.Random(1)
        self.neighbours = Neighbours(self.me.key, rng.randbytes)
        self.answers = Answers(self.mailbox)
        self.repair = Repair(self.records, self.answers, rng.randbytes)
        self.intake = Intake(
            self.me.key, self.trust, self.records, self.outbox, self.clock
        )
        self.sync = Sync(
            self.me.key,
            trust=self.trust,
            records=self.records,
            neighbours=self.neighbours,
            tunnels=self.mailbox,
            outbox=self.outbox,
            clock=self.clock,
            entropy=rng.randbytes,
        )

    def befriend(self, *keys: bytes) -> None:
        """Have these neighbours, greeted already."""
        for key in keys:
            self.neighbours.add(key, now=self.now)
        self.pass_time(1.0)
        self.mailbox.taken()

    def publish(self, data: bytes) -> tuple[Merge | Charter | Policy, ...]:
        """Publish a record."""
        return self.sync.publish(data, now=self.now, wall=WALL)

    def receive(
        self, key: bytes, message: Message
    ) -> tuple[Merge | Charter | Policy, ...]:
        """Receive a message."""
        return self.sync.receive(key, message, now=self.now, wall=WALL)

    def pass_time(self, seconds: float) -> list[Merge | Charter | Policy]:
        """Handle all deadlines of some time."""
        end = self.now + seconds
        news: list[Merge | Charter | Policy] = []
        while (deadline := self.sync.next_deadline()) and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            news += self.sync.handle_deadline(now=self.now, wall=WALL)
        self.now = end
        return news

    def kept(self) -> list[StateChange]:
        """Return what was queued to be durable since this was asked last."""
        changes = list(self.outbox.changes)
        self.outbox.changes.clear()
        return changes


def make_population(seed: int = 1) -> Population:
    """Return a network."""
    return Population(random.Random(seed))
