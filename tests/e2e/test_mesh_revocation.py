"""Who is revoked is out, at once and for good."""

import re
import time

import pytest

from tests.e2e.mesh_parts import PATIENCE, Site, found_mesh, until
from topology.hosts import Lab, wait_until

pytestmark = pytest.mark.root


def test_revoked_member_is_out(lab: Lab) -> None:
    """Its sessions end, everybody knows, it is told, and it does not come back."""
    site = Site(lab)
    founder, ann, ben, cem = found_mesh(site, "founder", "ann", "ben", "cem")
    ann.pings(ben)
    address = ben.address
    pings = ann.host.start(f"ping -n -D -i 0.05 {address}")
    wait_until(lambda: "64 bytes" in pings.output, "pings are answered")
    founder.run("cert", "revoke", "ben", "--reason", "stolen")
    seconds = until(lambda: "ben" not in ann.peers(), "ann knows", timeout=5)
    known = time.time()
    seconds += until(lambda: "ben" not in cem.peers(), "cem knows", timeout=5)
    print(f"known everywhere after {seconds:.2f} s")
    time.sleep(1.5)
    pings.stop()
    times = [float(at) for at in re.findall(r"^\[([\d.]+)\] 64 b", pings.output, re.M)]
    assert times[-1] < known + 1.0
    wait_until(
        lambda: any("revoked" in text for text in ben.status()["health"]),
        "ben is told",
        timeout=PATIENCE,
    )
    ben.down()
    ben.up()
    wait_until(
        lambda: any("revoked" in text for text in ben.status()["health"]),
        "ben knows after a restart",
        timeout=PATIENCE,
    )
    assert not ben.answers(founder.address, within=3)
    for host in (founder, ann, cem):
        assert "ben" not in host.peers()
        assert not host.answers(address)
    # Its name is free again, for other keys.
    heir = site.host("heir")
    heir.run("join", "-", "--no-up", "--name", "ben", stdin=founder.invite())
    for host in (founder, ann, ben, cem):
        host.down()
