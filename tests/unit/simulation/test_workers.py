"""The workers: commands reach both, the dead do nothing, the frozen wait."""

from random import Random

from meshnode.forwarding import AddAllowedIps, AddPeer, ProgramComplete, Reset, SetLink
from meshnode.simulation.application import inner_address
from meshnode.simulation.workers import Workers
from meshnode.types import Endpoint, Path, Prefix

PATH = Path(Endpoint("192.0.2.1", 1))


class Still:
    """A schedule in which no time passes."""

    now = 0.0

    def at(self, time, action):
        """Nothing is slow here."""
        raise AssertionError


def make():
    """Return workers with an empty program, and the list of their reports."""
    reports = []
    workers = Workers(
        Still(),
        Random(1),
        now=lambda: 1.0,
        report=reports.append,
        settle=lambda: None,
        slowness=0.0,
    )
    for command in (SetLink(1420, True), AddPeer(3), ProgramComplete()):
        if not isinstance(command, SetLink):
            workers.forward(command)
        else:
            workers.forward(Reset(1))
            workers.forward(command)
    return workers, reports


def test_many_prefixes_are_split():
    """More than fit one message arrive all the same."""
    workers, _ = make()
    prefixes = tuple(Prefix(4, number << 8, 24) for number in range(2500))
    workers.forward(AddAllowedIps(3, prefixes))
    for half in (workers.seal, workers.open):
        lookup = half._table.routes.lookup
        assert all(lookup(p.network.to_bytes(4, "big")) == 3 for p in prefixes)


def test_a_dead_worker_does_nothing():
    """What is written to it waits for the next."""
    workers, _ = make()
    workers.kill("egress")
    workers.kill("ingress")
    workers.forward(AddPeer(4))
    workers.send_packet(b"x")
    assert not workers.receive(b"x", PATH)
    assert workers.datagrams_to_send() == []
    assert workers.packets_to_deliver() == []
    assert not workers.send_reports()
    assert not workers.is_quiet
    workers.start("egress")
    workers.start("ingress")
    assert workers.is_quiet
    assert workers.running() == ["egress", "ingress"]


def test_frozen_workers_read_nothing():
    """Until they run again; control only if it lives."""
    workers, reports = make()
    workers.send_reports()
    reports.clear()
    workers.freeze()
    workers.forward(Reset(1))
    assert reports == []
    workers.thaw(control_runs=False)
    workers.send_reports()
    assert reports == []
    workers.thaw(control_runs=True)
    assert len(reports) == 2


def test_a_packet_without_a_route_is_dropped():
    """And a handshake message is not opened but passed on, if the gate lets it."""
    workers, _ = make()
    packet = b"\x45\0\0\x14" + bytes(8) + inner_address(1, 4) + inner_address(2, 4)
    workers.send_packet(packet)
    assert workers.datagrams_to_send() == []
    assert not workers.receive(b"\1\0\0\0" + bytes(144), PATH)
