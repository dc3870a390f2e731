"""The founder, by whom everybody joined, dies and never comes back."""

import pytest

from tests.e2e.mesh_parts import PATIENCE, Site, found_mesh
from topology.hosts import Lab, wait_until

pytestmark = pytest.mark.root


def test_members_go_on_without_the_founder(lab: Lab) -> None:
    """They restart, find each other from what they kept, and follow who moves."""
    site = Site(lab)
    founder, ann, ben = found_mesh(site, "founder", "ann", "ben")
    ann.pings(ben)
    founder.kill()
    ann.pings(ben)
    for host in (ann, ben):
        host.run("restart")
        wait_until(host.is_ready, f"{host} is back", timeout=PATIENCE)
    ann.pings(ben)
    ben.pings(ann)
    assert set(ann.peers()) == {"founder", "ben"}
    # Both are down for a while: whoever starts first knows the other from its disk.
    for host in (ann, ben):
        host.run("down")
    for host in (ben, ann):
        host.process = None
        host.await_end()
        host.up()
    ben.pings(ann)
    # In this order: the second address of a network goes with its first.
    ann.host.ip("address delete 198.18.0.2/24 dev lan")
    ann.host.ip("address add 198.18.0.200/24 dev lan")
    ben.pings(ann)
    wait_until(
        lambda: ben.peers()["ann"]["endpoint"] == "198.18.0.200:51820",
        "ben knows the new address",
        timeout=PATIENCE,
    )
    ann.pings(ben)
    for host in (ann, ben):
        host.down()
