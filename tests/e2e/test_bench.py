"""tools/bench on what needs no other program: a mesh of two, a hub, a whole run."""

import json
from typing import NoReturn

import pytest

from topology import measure
from topology.bench import rows
from topology.bench.columns import measured
from topology.bench.hub import measure_hub
from topology.bench.plan import Plan
from topology.bench.relay import measure_relay
from topology.bench.results import parse
from topology.bench.run import run
from topology.bench.sections import Settings
from topology.hosts import Lab
from topology.members import Members
from topology.mesh import environment, installed_command
from topology.processes import LabError
from topology.tunnels import Joined, Veth, meshnode

pytestmark = pytest.mark.root


def test_two_members_are_joined_by_the_engine_they_are_told(lab: Lab) -> None:
    """Both carry IPv6 packets, and both say that their engine is the wanted one."""
    joined = Members("fast").join(*lab.connect(lab.host("a"), lab.host("b")))
    for host, far in ((joined.left, joined.right_v6), (joined.right, joined.left_v6)):
        host.run(f"ping -n -c 1 -W 5 {far}")
        status = host.run(
            [*installed_command(), "status", "--json"],
            environment=environment(lab.directory, host.name),
        )
        assert '"fast"' in json.dumps(json.loads(status.stdout))


def test_hub_carries_packets_to_its_last_peer() -> None:
    """All four figures are there, and none is nothing."""
    figures = measure_hub(meshnode("reference"), 20, seconds=1).figures
    assert figures.keys() == {
        f"hub.{what}.20" for what in ("configure", "memory", "tcp", "rtt")
    }
    assert all(value > 0 for value in figures.values())
    # Four interpreters, in MB.
    assert 10 < figures["hub.memory.20"] < 500


@pytest.mark.parametrize("load", measure.LOADS)
def test_pings_are_answered_beside_each_load(lab: Lab, load: str) -> None:
    """On a bare link even the overload leaves some through."""
    joined = Veth().join(*lab.connect(lab.host("a"), lab.host("b")))
    result = measure.round_trips_under_load(joined, load, seconds=1)
    assert 0 < len(result.times_ms) <= result.sent


def test_run_measures_every_round_and_its_json_is_read_again() -> None:
    """Two rounds in one tunnel, no failure, no figure missing."""
    told: list[str] = []
    kept: list[str] = []
    report = run(
        Plan(("udp",), ("veth",), 2, Settings(1, (1,))),
        told.append,
        lambda report: kept.append(report.to_json()),
    )
    assert report.failures == []
    # What an interrupted second round would leave.
    assert [len(each.figures) for each in parse(kept[0]).rows[0].rounds] == [2, 0]
    assert parse(report.to_json()) == report
    (row,) = report.rows
    assert row.name == "veth"
    assert [column.key for column in measured(report)] == ["udp.goodput", "udp.loss"]
    for each in row.rounds:
        assert each.figures["udp.goodput"] > 0
        assert 0 <= each.figures["udp.loss"] < 100
    assert "round 2 of 2: veth: udp" in told


def test_what_cannot_be_measured_is_told_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A program that is missing leaves no row, a section that fails leaves a line."""

    def missing(name: str) -> Veth:
        if name == "tinc":
            raise LabError("tinc cannot be had")
        return Veth()

    def failing(joined: Joined, *, seconds: int) -> NoReturn:
        raise LabError("iperf3 has gone")

    monkeypatch.setattr(rows, "tunnel", missing)
    monkeypatch.setattr(measure, "udp", failing)
    plan = Plan(("udp",), ("veth", "tinc"), 2, Settings(1, (1,)))
    report = run(plan, lambda text: None, lambda report: None)
    assert [row.name for row in report.rows] == ["veth"]
    assert report.failures == ["tinc: tinc cannot be had", "veth: udp: iperf3 has gone"]


def test_relay_carries_a_stream_and_only_its_ingress_works() -> None:
    """Control and egress of a relay have nothing to do with what it forwards."""
    figures = measure_relay("fast", seconds=1).figures
    assert figures["relay.tcp"] > 0
    assert figures["relay.ingress"] > 0
    assert figures["relay.control"] < figures["relay.ingress"] / 10
    assert figures["relay.egress"] < figures["relay.ingress"] / 10
