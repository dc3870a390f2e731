"""The traffic records against a plain account of what happened."""

import random
from dataclasses import dataclass, field, replace

import pytest

from meshnode.dataplane.traffic import (
    ControlView,
    EgressRecorder,
    IngressRecorder,
    TrafficTable,
    record_bytes,
)
from meshnode.ports import Traffic

SLOTS = 3


@dataclass
class Account:
    """What one peer's facts must be, kept as their definitions say."""

    facts: Traffic = field(default_factory=Traffic)
    watched: bool = False

    def sent(self, packets: int, octets: int, now: float) -> None:
        """Anything authenticated of ours went out."""
        self.facts = replace(
            self.facts,
            sent_packets=self.facts.sent_packets + packets,
            sent_bytes=self.facts.sent_bytes + octets,
            last_sent_at=now,
            unacknowledged_since=None,
        )

    def received(self, packets: int, octets: int, now: float) -> None:
        """Anything authenticated of theirs came in."""
        self.facts = replace(
            self.facts,
            received_packets=self.facts.received_packets + packets,
            received_bytes=self.facts.received_bytes + octets,
            last_received_at=now,
            unanswered_since=None,
        )

    def sent_data(self, packets: int, octets: int, now: float) -> bool:
        """Data went out; return whether control must be told."""
        self.sent(packets, octets, now)
        self.facts = replace(self.facts, last_data_sent_at=now)
        if self.facts.unanswered_since is not None:
            return False
        self.facts = replace(self.facts, unanswered_since=now)
        return not self.watched

    def received_data(self, packets: int, octets: int, now: float) -> bool:
        """Data came in; return whether control must be told."""
        self.received(packets, octets, now)
        self.facts = replace(self.facts, last_data_received_at=now)
        if self.facts.unacknowledged_since is not None:
            return False
        self.facts = replace(self.facts, unacknowledged_since=now)
        return not self.watched


class World:
    """The table and the accounts, driven by the same random events."""

    def __init__(self, rng: random.Random, workers: int) -> None:
        self.rng = rng
        table = TrafficTable(bytearray(SLOTS * record_bytes(workers)), workers)
        self.all_egress = [EgressRecorder(table, n) for n in range(workers)]
        self.all_ingress = [IngressRecorder(table, n) for n in range(workers)]
        self.workers = workers
        self.control = ControlView(table)
        self.accounts = [Account() for _ in range(SLOTS)]

    @property
    def egress(self) -> EgressRecorder:
        """Any egress worker."""
        return self.rng.choice(self.all_egress)

    @property
    def ingress(self) -> IngressRecorder:
        """Any ingress worker."""
        return self.rng.choice(self.all_ingress)

    def check_told(self, told: bool, expected: bool, was_waiting: bool) -> None:
        """Check what a worker told: of several, each tells of its first packet."""
        assert told is expected or (self.workers > 1 and was_waiting)

    def packet(self, slot: int, now: float) -> str:
        """Let one worker record packets; compare what it answers."""
        account = self.accounts[slot]
        packets, octets = self.rng.randint(1, 64), self.rng.randint(32, 90_000)
        match self.rng.randrange(4):
            case 0:
                waiting = account.facts.unanswered_since is not None
                expected = account.sent_data(packets, octets, now)
                told = self.egress.sent_data(slot, packets, octets, now)
                self.check_told(told, expected, waiting)
                return "sent data"
            case 1:
                waiting = account.facts.unacknowledged_since is not None
                expected = account.received_data(packets, octets, now)
                told = self.ingress.received_data(slot, packets, octets, now)
                self.check_told(told, expected, waiting)
                return "received data"
            case 2:
                account.sent(1, 32, now)
                assert self.egress.sent_keepalive(slot, 32, now) is False
                return "sent keepalive"
            case _:
                account.received(1, 32, now)
                assert self.ingress.received_keepalive(slot, 32, now) is False
                return "received keepalive"

    def decision(self, slot: int, now: float) -> str:
        """Let control do something."""
        account = self.accounts[slot]
        match self.rng.randrange(5):
            case 0:
                account.sent(1, 148, now)
                self.control.count_handshake(slot, sent=148, now=now)
                return "sent handshake"
            case 1:
                account.received(1, 92, now)
                self.control.count_handshake(slot, received=92, now=now)
                return "received handshake"
            case 2:
                account.watched = self.rng.random() < 0.5
                self.control.watch(slot, account.watched)
                return "watch"
            case 3:
                account.facts = replace(account.facts, unanswered_since=None)
                self.control.stop_waiting(slot)
                return "stop waiting"
            case _:
                if self.rng.random() < 0.3:
                    self.accounts[slot] = Account()
                    self.control.clear(slot)
                return "clear"


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("seed", range(8))
def test_equals_the_account(seed: int, workers: int) -> None:
    """After every event the facts of every slot are those of its account."""
    rng = random.Random(seed)
    world = World(rng, workers)
    now = 0.0
    for step in range(1500):
        now += rng.choice((0.0, 0.25, 10.0))
        slot = rng.randrange(SLOTS)
        act = world.packet if rng.random() < 0.7 else world.decision
        what = act(slot, now)
        for each, account in enumerate(world.accounts):
            where = f"seed {seed}, step {step}: {what} in slot {slot}, read {each}"
            assert world.control.read(each) == account.facts, where
