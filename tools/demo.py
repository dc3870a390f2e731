"""Show meshnode at work: two hosts, a tunnel, a file, a killed worker.

Everything happens in network namespaces that are removed at the end, also after
Ctrl-C. The machine's own network is not touched.
"""

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from topology import measure
from topology.hosts import Host, Lab, wait_until
from topology.processes import LabError
from topology.traffic import send_file
from topology.tunnels import Joined, UserspaceWireGuard, meshnode, wireguard_go

FILE_MEGABYTES = 64
RECOVERY_SECONDS = 10.0

_WORKER = re.compile(r"meshnode\.node\.child.*(egress|ingress)")


class Narrator:
    """Tell each step as it begins, and how it ended, with its time."""

    def __init__(self) -> None:
        colourful = sys.stdout.isatty()
        self._tick = "\033[32m✓\033[0m" if colourful else "✓"
        self._cross = "\033[31m✗\033[0m" if colourful else "✗"
        self._started = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Time one step; lines put into the yielded list are shown below it."""
        details: list[str] = []
        started = time.monotonic()
        mark = self._cross
        try:
            yield details
            mark = self._tick
        finally:
            elapsed = time.monotonic() - started
            print(f" {mark} {title:<58} {elapsed:6.2f} s")
            for detail in details:
                print(f"     {detail}")
            sys.stdout.flush()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started


def main() -> int:
    """Run the demonstration; returns 0 if every step went well."""
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__)
    parser.add_argument(
        "--with",
        dest="implementation",
        choices=("meshnode", "wireguard-go"),
        default="meshnode",
        help="what makes the tunnel; default: meshnode",
    )
    implementation = (
        meshnode()
        if parser.parse_args().implementation == "meshnode"
        else wireguard_go()
    )
    narrator = Narrator()
    lab = Lab()
    try:
        with lab:
            _show(lab, implementation, narrator)
    except KeyboardInterrupt:
        print("\ninterrupted: everything made so far has been removed")
        return 130
    except LabError as error:
        print(f"\nfailed: {error}\n{lab.last_logs}", file=sys.stderr)
        return 1
    with narrator.step("two nodes stopped, two hosts removed, nothing is left"):
        lab.assert_clean()
    print(f"\nAll done in {narrator.elapsed:.1f} s.")
    return 0


def _show(lab: Lab, implementation: UserspaceWireGuard, narrator: Narrator) -> None:
    print(f"\n{implementation.name} {implementation.version()}: alice and bob\n")
    with narrator.step("two hosts (network namespaces) and a cable") as details:
        left, right = lab.connect(lab.host("alice"), lab.host("bob"))
        details.append(f"alice {left.v4}  ←→  bob {right.v4}")
    with narrator.step("a node on each, configured with `wg`, session made") as details:
        joined = implementation.join(left, right)
        details.append(f"alice {joined.left_v4}  ⇐ tunnel ⇒  bob {joined.right_v4}")
        details.append(f"alice {joined.left_v6}      ⇐ tunnel ⇒  bob {joined.right_v6}")
    for version, address in (("IPv4", joined.right_v4), ("IPv6", joined.right_v6)):
        with narrator.step(f"alice pings bob through the tunnel, {version}") as details:
            output = joined.left.run(f"ping -c 5 -i 0.1 -W 2 {address}").stdout
            details.append(output.strip().splitlines()[-1])
    _move_file(joined, narrator)
    with narrator.step("throughput, one TCP stream, 2 s") as details:
        result = measure.tcp(joined, seconds=2)
        details.append(f"{result.bits_per_second / 1e6:.0f} Mbit/s")
    _kill_worker(joined, narrator)


def _move_file(joined: Joined, narrator: Narrator) -> None:
    file = joined.left.lab.directory / "file"
    file.write_bytes(os.urandom(FILE_MEGABYTES << 20))
    title = f"a file of {FILE_MEGABYTES} MiB from alice to bob, by IPv6"
    with narrator.step(title) as details:
        started = time.monotonic()
        digest = send_file(file, joined.left, joined.right, joined.right_v6)
        rate = FILE_MEGABYTES * 8.388608 / (time.monotonic() - started)
        details.append(f"SHA-256 equal on both sides: {digest[:16]}…")
        details.append(f"{rate:.0f} Mbit/s, start and check included")


def _kill_worker(joined: Joined, narrator: Narrator) -> None:
    workers = _workers(joined.left)
    if not workers:
        print("   (no worker process to kill: it is all one process)")
        return
    role, pid = sorted(workers.items())[0]
    title = f"kill -9 of alice's {role} worker: traffic is back"
    with narrator.step(title) as details:
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(
            lambda: (
                joined.left.run(
                    f"ping -c 1 -W 0.2 {joined.right_v4}", check=False
                ).returncode
                == 0
            ),
            "traffic is back",
            timeout=RECOVERY_SECONDS,
        )
        details.append(f"first answer {time.monotonic() - killed:.2f} s after the kill")
        replacement = _workers(joined.left).get(role)
        if replacement in (None, pid):
            raise LabError(f"no new {role} worker was started")
        details.append(f"process {pid} was replaced by {replacement}")


def _workers(host: Host) -> dict[str, int]:
    """Return the worker processes of the node in *host*, by their role."""
    workers = {}
    for pid in host.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        if match := _WORKER.search(words.decode(errors="replace")):
            workers[match[1]] = pid
    return workers


if __name__ == "__main__":
    raise SystemExit(main())
