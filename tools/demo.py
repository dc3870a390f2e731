"""Show meshnode at work: a network is made, three sites join it, and its maker dies.

Everything happens in network namespaces that are removed at the end, also after
Ctrl-C. The machine's own network is not touched. The network is that of
topology/three-sites.toml; `tools/lab up` keeps it running to look around in.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

from topology import checks, drawing, measure
from topology.build import build
from topology.description import Description
from topology.hosts import Lab
from topology.mesh import Mesh
from topology.narrator import Narrator
from topology.parsing import load
from topology.processes import LabError
from topology.traffic import send_file
from topology.tunnels import Joined

FILE = Path(__file__).parents[1] / "topology" / "three-sites.toml"
BOOTSTRAP = "bootstrap"
SITES = ("site-a", "site-b", "site-c")
FILE_MEGABYTES = 16
PINGS = 100
LEAST_ANSWERED = 0.95
"""Of the pings under which the bootstrap node dies; a busy machine may drop a few."""

_ANSWERED = re.compile(r"(\d+) packets transmitted, (\d+) received")

_SUMMARY = """
What this was:
  · {bootstrap} made a network and invited three sites. Each made its own keys, which
    never leave it, and was certified when it showed its invite.
  · Sites talk to each other directly, in WireGuard sessions made on the first packet.
  · The desks run nothing of ours: their site's node routes for them, LAN to LAN.
  · {bootstrap} was needed to join, and for nothing else: it is dead, they go on.

Look around yourself:   tools/lab up topology/three-sites.toml
                        tools/lab exec site-a -- meshnode peers
"""


def main() -> int:
    """Run the demonstration; returns 0 if every step went well."""
    argparse.ArgumentParser(prog="tools/demo", description=__doc__).parse_args()
    description = load(FILE)
    narrator = Narrator()
    lab = Lab()
    try:
        with lab:
            _show(lab, description, narrator)
    except KeyboardInterrupt:
        print("\ninterrupted: everything made so far has been removed")
        return 130
    except LabError as error:
        print(f"\nfailed: {error}\n{lab.last_logs}", file=sys.stderr)
        return 1
    with narrator.step("the hosts are removed, nothing is left"):
        lab.assert_clean()
    print(_SUMMARY.format(bootstrap=BOOTSTRAP))
    print(f"All done in {narrator.elapsed:.1f} s.")
    return 0


def _show(lab: Lab, description: Description, narrator: Narrator) -> None:
    print(f"\n{drawing.as_text(description)}\n")
    with narrator.step("seven hosts (network namespaces) and four LANs"):
        mesh = Mesh(build(lab, description))
    checks.start(mesh, narrator)
    _ping_by_overlay(mesh, narrator)
    _ping(mesh, narrator, "desk-a", "desk-b", "LAN to LAN")
    _ping(mesh, narrator, "desk-b", "desk-c", "LAN to LAN")
    _move_file(mesh, narrator, "desk-a", "desk-b")
    _kill_bootstrap(mesh, narrator, "desk-a", "desk-b")
    _ping(mesh, narrator, "desk-c", "desk-a", "first time, without bootstrap")
    with narrator.step("the three sites stop, and clean up after themselves"):
        mesh.stop_all()


def _ping_by_overlay(mesh: Mesh, narrator: Narrator) -> None:
    sender, receiver = SITES[:2]
    for address in mesh.addresses(receiver):
        title = (
            f"{sender} pings {receiver} by its overlay address, IPv{address.version}"
        )
        with narrator.step(title) as details:
            answer = checks.await_answer(mesh.host(sender), str(address), 10)
            details.append(f"{address} answered in {answer}")


def _ping(
    mesh: Mesh, narrator: Narrator, sender: str, receiver: str, remark: str
) -> None:
    with narrator.step(f"{sender} pings {receiver}: {remark}") as details:
        address = _lan_address(mesh, receiver)
        answer = checks.await_answer(mesh.host(sender), address, 20)
        details.append(f"{address} answered in {answer}")


def _move_file(mesh: Mesh, narrator: Narrator, sender: str, receiver: str) -> None:
    left, right = mesh.host(sender), mesh.host(receiver)
    file = left.lab.directory / "file"
    file.write_bytes(os.urandom(FILE_MEGABYTES << 20))
    address = _lan_address(mesh, receiver)
    with narrator.step(f"a file of {FILE_MEGABYTES} MiB, LAN to LAN") as details:
        digest = send_file(file, left, right, address)
        details.append(f"SHA-256 equal on both sides: {digest[:16]}…")
    with narrator.step("throughput LAN to LAN, one TCP stream, 2 s") as details:
        ends = (_lan_address(mesh, sender), address)
        # The desks have no IPv6 address; the measurement uses IPv4 only.
        result = measure.tcp(Joined(left, right, *ends, "", ""), seconds=2)
        details.append(f"{result.bits_per_second / 1e6:.0f} Mbit/s")


def _kill_bootstrap(mesh: Mesh, narrator: Narrator, sender: str, receiver: str) -> None:
    """Kill the bootstrap node while two desks exchange pings; most must come back."""
    address = _lan_address(mesh, receiver)
    title = f"kill -9 of {BOOTSTRAP} while {sender} pings {receiver}"
    with narrator.step(title) as details:
        flow = mesh.host(sender).start(f"ping -n -c {PINGS} -i 0.05 -W 2 {address}")
        time.sleep(1)
        mesh.kill(BOOTSTRAP)
        flow.wait(30)
        match = _ANSWERED.search(flow.output)
        sent, answered = (int(match[1]), int(match[2])) if match else (PINGS, 0)
        details.append(f"{answered} of {sent} pings answered, before and after")
        if answered < LEAST_ANSWERED * sent:
            raise LabError(f"only {answered} of {sent} pings were answered")


def _lan_address(mesh: Mesh, node: str) -> str:
    lan = mesh.description.lans_of(node)[0]
    return mesh.underlay.ports[node, lan.name].v4


if __name__ == "__main__":
    raise SystemExit(main())
