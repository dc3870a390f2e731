"""Where UDP is blocked, members are reached by TLS, and by UDP again when it works."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.mesh.candidates import CandidateKind
from tests.e2e.mesh_parts import (
    LISTEN_PORT,
    PATIENCE,
    MeshHost,
    Site,
    await_acquainted,
    kill_process,
    until,
)
from topology.hosts import Host, Lab, wait_until

pytestmark = pytest.mark.root

TLS = CandidateKind.TLS.value
BLOCKED = """
table inet blocked {
  chain out { type filter hook output priority 0;
    oifname "lan" meta l4proto udp counter drop; }
  chain in { type filter hook input priority 0;
    iifname "lan" meta l4proto udp counter drop; }
}
"""
CONNECT_WITHIN = 5.0
RETURN_WITHIN = 30.0


def block_udp(host: Host) -> None:
    """Let no UDP out of the host or into it."""
    host.nft(BLOCKED)


def unblock_udp(host: Host) -> None:
    """Let it pass again."""
    host.nft("delete table inet blocked")


def kind_of(host: MeshHost, peer: str) -> str | None:
    """Return how *host* knows where it speaks to *peer*, if there is a session."""
    facts = host.peers()[peer]
    kind: str | None = facts["endpointKind"]
    return kind if facts["hasSession"] else None


def await_tls(host: MeshHost, peer: str) -> float:
    """Wait until *peer* is reached by TLS; return the seconds it took."""
    return until(lambda: kind_of(host, peer) == TLS, f"{host} is on TLS")


def connections(host: MeshHost) -> str:
    """Return the TCP connections of a host to and from port 443."""
    return host.host.run("ss -Htn sport = :443 or dport = :443").stdout


@pytest.fixture
def pair(lab: Lab) -> Iterator[tuple[MeshHost, MeshHost]]:
    """A founder, who is relay and rendezvous, and a member; both run."""
    site = Site(lab)
    founder, ann = site.host("founder"), site.host("ann")
    founder.found()
    founder.up()
    ann.join(founder.invite())
    await_acquainted([founder, ann])
    yield founder, ann
    for host in (ann, founder):
        if host.pids():
            host.down()


def test_blocked_from_the_start_and_back(pair: tuple[MeshHost, MeshHost]) -> None:
    """TLS within 5 s; UDP within 30 s of its return; no TCP as long as it works."""
    founder, ann = pair
    ann.pings(founder)
    assert connections(ann) == ""
    ann.down()
    block_udp(ann.host)
    ann.up()
    began = time.monotonic()
    ann.pings(founder)
    took = time.monotonic() - began
    assert took < CONNECT_WITHIN, ann.process and ann.process.output
    assert kind_of(ann, "founder") == TLS
    assert founder.peers()["ann"]["endpoint"].startswith("127.0.0.1:")
    assert ann.status()["health"] == []
    unblock_udp(ann.host)

    def is_back() -> bool:
        return kind_of(ann, "founder") not in (None, TLS) and not connections(ann)

    assert until(is_back, "ann is on UDP") < RETURN_WITHIN
    ann.pings(founder)
    assert founder.peers()["ann"]["endpoint"] == f"{ann.port.v4}:{LISTEN_PORT}"
