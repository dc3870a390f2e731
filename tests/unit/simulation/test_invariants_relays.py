"""The rule about relays must be able to fail: here it is broken on purpose."""

import pytest

from meshnode.dataplane.reference.relay import Relay
from meshnode.dataplane.reference.seal import SealHalf
from meshnode.dataplane.table import ForwardingTable
from meshnode.simulation.invariants import Violation
from meshnode.simulation.invariants_relays import is_relayed
from tests.sim.test_channels import Relayed
from tests.unit.simulation.test_invariants import repeat


def test_what_is_relayed_has_a_whole_header():
    """Other types and shorter datagrams are none of it."""
    assert is_relayed(bytes((5, 0, 0, 0, 1, 0, 0, 0)))
    assert not is_relayed(bytes((5, 0, 0, 0, 1, 0, 0)))
    assert not is_relayed(bytes((4, 0, 0, 0, 1, 0, 0, 0)))


def test_it_catches_a_relay_that_sends_twice(monkeypatch):
    """The second is no datagram that just came."""
    original = Relay.bursts
    monkeypatch.setattr(Relay, "bursts", lambda self: original(self) * 2)
    with pytest.raises(Violation, match=r"I4|I12"):
        Relayed(1).talk()


def test_it_catches_a_relay_that_sends_to_somebody_else(monkeypatch):
    """Here, back to who sent it."""
    original = ForwardingTable.direct_path

    def turn(self, slot):
        return original(self, 1 - slot)

    def find(self, number, path, count, catch_up):
        return self._table.channels.find(number)

    net = Relayed(1)
    monkeypatch.setattr(ForwardingTable, "direct_path", turn)
    monkeypatch.setattr(Relay, "find", find)
    with pytest.raises(Violation, match="I12"):
        net.talk()


def test_it_catches_a_wrong_number(monkeypatch):
    """The next has given another."""
    net = Relayed(1)
    monkeypatch.setattr(
        "meshnode.dataplane.reference.relay.relabel",
        lambda data, segment_size, channel: None,
    )
    with pytest.raises(Violation, match="I12"):
        net.talk()


def test_it_forgets_channels_that_ended():
    """What still goes out by one is a violation once everybody knows."""
    net = Relayed(1)
    net.talk()
    engine = net.r.engine
    for number in (21, 22):
        engine.close_channel(number, now=net.r.now)
    net.r.settle()
    before = net.r.workers.open.relayed
    net.a.request("b")
    net.world.run(2)
    assert net.r.workers.open.relayed == before


def test_i1_looks_into_what_is_relayed(monkeypatch):
    """A counter used twice behind the header of a channel."""
    original = SealHalf.bursts_to_send

    def stand_still(self):
        bursts = original(self)
        for session in self._table.sessions.values():
            session.counter = 0
        return bursts

    net = Relayed(1)
    net.world.run(1)
    monkeypatch.setattr(SealHalf, "bursts_to_send", stand_still)
    with pytest.raises(Violation, match=r"I1: .*\n.*counter 0 after"):
        repeat(4, lambda: net.a.request("b"), lambda: net.world.run(1))
