"""Prefixes behind members: taken or not, fought over, and handed on."""

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.mesh_parts import (
    PATIENCE,
    MeshHost,
    Site,
    kill_process,
    leftovers,
    traces,
)
from topology.hosts import Host, HostState, Lab, wait_until

pytestmark = pytest.mark.root

PREFIX = "192.168.1.0/24"
PRINTER = "192.168.1.20"


@dataclass(frozen=True, slots=True)
class Office:
    """Two gateways to one LAN with a printer; the first one has the better metric."""

    site: Site
    founder: MeshHost
    gateways: tuple[MeshHost, MeshHost]
    printer: Host
    before: dict[str, tuple[HostState, dict[str, str]]]


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    """An office for all tests of this file."""
    with Lab() as lab:
        site = Site(lab)
        lan = site.segment("behind")
        founder, one, two = (site.host(name) for name in ("founder", "one", "two"))
        printer = lab.host("printer")
        lan.attach(lab, printer, v4=f"{PRINTER}/24")
        for number, host in enumerate((one, two), start=1):
            lan.attach(lab, host.host, v4=f"192.168.1.{number}/24")
        before = {host.name: traces(host.host) for host in (one, two)}
        founder.found()
        founder.up()
        for number, host in enumerate((one, two), start=1):
            host.join(founder.invite("--route", PREFIX))
            host.run("route", "add", PREFIX, "--metric", str(50 * number))
        yield Office(site, founder, (one, two), printer, before)


def _joined(office: Office, name: str, *options: str) -> MeshHost:
    host = office.site.host(name)
    host.join(office.founder.invite(), *options)
    wait_until(
        lambda: len(host.routes().get(PREFIX, {"owners": ()})["owners"]) == 2,
        "both gateways are known",
        timeout=PATIENCE,
    )
    return host


def _state(host: MeshHost) -> str:
    return str(host.routes()[PREFIX]["state"])


def test_routes_are_taken_only_when_asked_for(office: Office) -> None:
    """Off by default; a reload turns it on, and off again, without a restart."""
    user = _joined(office, "careful")
    assert _state(user) == "not accepted"
    assert not user.answers(PRINTER)
    text = user.config_file.read_text()
    pids = user.roles()
    user.config_file.write_text(f"{text}\n[routes]\naccept = true\n")
    user.run("reload")
    wait_until(lambda: user.answers(PRINTER), "the printer answers", timeout=PATIENCE)
    assert _state(user) == "accepted"
    user.config_file.write_text(text)
    user.run("reload")
    wait_until(lambda: not user.answers(PRINTER), "the route is gone")
    assert user.roles() == pids
    user.down()


def test_own_lan_is_not_given_away(office: Office) -> None:
    """A host that is in a network with the same prefix stays there, and says so."""
    lab = office.site.lab
    own = office.site.segment("own")
    neighbour = lab.host("neighbour")
    own.attach(lab, neighbour, v4=f"{PRINTER}/24")
    clash = office.site.host("clash")
    own.attach(lab, clash.host, v4="192.168.1.7/24")
    office.founder.host.ip("link show")
    clash.join(office.founder.invite(), "--accept-routes")
    wait_until(
        lambda: any(PREFIX in text for text in clash.status()["health"]),
        "the status tells of the conflict",
        timeout=PATIENCE,
    )
    assert clash.run("status", "--check", "ready", check=False).returncode == 1
    clash.pings(office.founder)
    assert clash.answers(PRINTER)
    # It is the neighbour that answers: nothing of it went to the office.
    clash.host.run(f"ip neighbour show {PRINTER} dev own")
    assert PRINTER in clash.host.run("ip neighbour show dev own").stdout
    clash.down()


def test_traffic_moves_to_the_other_gateway(office: Office) -> None:
    """The one in use is killed under a running ping; nothing of it stays behind."""
    user = _joined(office, "user", "--accept-routes")
    one = office.gateways[0]
    wait_until(lambda: user.answers(PRINTER), "the printer answers", timeout=PATIENCE)
    owners = {o["name"]: o["forwards"] for o in user.routes()[PREFIX]["owners"]}
    assert owners == {"one": True, "two": False}
    pings = user.host.start(f"ping -n -D -i 0.1 {PRINTER}")
    time.sleep(1)
    kill_process(one.roles()["supervisor"])
    killed = time.time()
    time.sleep(9)
    pings.stop()
    times = [float(at) for at in re.findall(r"^\[([\d.]+)\] 64 b", pings.output, re.M)]
    after = [at for at in times if at > killed + 0.5]
    assert after, pings.output
    gap = max(b - a for a, b in itertools.pairwise(times))
    print(f"silent for {gap:.2f} s")
    assert gap < 8
    owners = {o["name"]: o["forwards"] for o in user.routes()[PREFIX]["owners"]}
    assert owners == {"one": False, "two": True}
    one.await_end()
    assert leftovers(one.host, office.before["one"]) == []
    one.up()
    wait_until(
        lambda: user.routes()[PREFIX]["owners"][0]["forwards"],
        "the better one carries again",
        timeout=PATIENCE,
    )
    assert user.answers(PRINTER, within=5)
    user.down()


def test_nothing_is_left_when_gateways_go(office: Office) -> None:
    """After `down`, and after a power cut and `cleanup`."""
    one, two = office.gateways
    assert "meshnode" in two.host.run("nft list tables").stdout
    one.down()
    two.kill()
    assert leftovers(two.host, office.before["two"]) != []
    two.run("cleanup")
    for host in (one, two):
        assert leftovers(host.host, office.before[host.name]) == []
    assert two.run("cleanup").stdout == ""
