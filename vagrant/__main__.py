"""Bring the machines of a topology up, check meshnode in them, and take all away.

    tools/vagrant-test                            two machines: topology/two-hosts.toml
    tools/vagrant-test topology/one-lan.toml      or any other description
    tools/vagrant-test --validate                 only check the Vagrantfile, no machine

Checked are, each by itself: a tunnel between meshnode in one machine and the kernel's
own WireGuard in another; the mesh of the description with all its steps; and two of its
nodes as services of systemd. The machines are emulated, whatever the processor can do,
and have no way to the Internet. Nothing stays behind but the box and the wheels in the
user's cache.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from topology import checks
from topology.description import Description
from topology.interrupts import signals_end_the_block
from topology.parsing import load
from topology.processes import LabError
from topology.reading import DescriptionError
from vagrant import kernel, service
from vagrant.hypervisor import Hypervisor
from vagrant.journal import Journal
from vagrant.machines import Machines
from vagrant.mesh import MachineMesh, cables

_HERE = Path(__file__).parent
_DEFAULT = _HERE.parent / "topology" / "two-hosts.toml"


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/vagrant-test",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", nargs="?", default=_DEFAULT)
    arguments = parser.parse_args()
    journal = Journal()
    failed: list[str] = []
    try:
        description = load(arguments.file)
        with signals_end_the_block():
            _build(journal)
            failed = _test(description, arguments.file, journal)
    except (LabError, DescriptionError) as error:
        failed.append(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted: all machines and networks are gone")
        return 130
    journal.seconds("everything", journal.elapsed)
    journal.print_table()
    print()
    for failure in failed:
        print(f"FAILED: {failure}")
    if not failed:
        print("All checks passed.")
    return 1 if failed else 0


def _build(journal: Journal) -> None:
    for script in ("build-box", "build-wheels"):
        with journal.timed(script):
            # What it prints is for the Vagrantfile; its progress goes to stderr.
            result = subprocess.run(
                [_HERE / script], check=False, stdout=subprocess.DEVNULL
            )
            if result.returncode != 0:
                raise LabError(f"{script} failed")


def _test(description: Description, file: Path, journal: Journal) -> list[str]:
    """Run all checks in machines of their own; return what failed."""
    names = [node.name for node in description.nodes]
    with Hypervisor() as hypervisor:
        machines = Machines(hypervisor, file)
        with journal.timed(f"vagrant up: {len(names)} machines") as details:
            for timing in machines.up(names):
                journal.seconds(f"  {timing.machine}: until ssh", timing.boot)
                journal.seconds(f"  {timing.machine}: set up", timing.provision)
            (kind,) = machines.domain_types()
            details.append(f"run by {kind}")
        mesh = MachineMesh(cables(machines, hypervisor, description))
        failed = [
            *_part("kernel", lambda: _kernel(machines, description, journal)),
            *_part("mesh", lambda: _mesh(mesh, journal)),
            *_part("service", lambda: _service(mesh, journal)),
        ]
        with journal.timed("vagrant destroy"):
            machines.destroy()
    return failed


def _part(name: str, part: Callable[[], list[str]]) -> list[str]:
    """Run one part of the checks; its failure must not keep the next from running."""
    try:
        failed = part()
    except LabError as error:
        failed = [str(error)]
    print(f" {name}: {'failed' if failed else 'passed'}")
    return [f"{name}: {failure}" for failure in failed]


def _kernel(
    machines: Machines, description: Description, journal: Journal
) -> list[str]:
    with journal.timed("kernel WireGuard: all checks"):
        kernel.check(machines, description, journal)
    return []


def _mesh(mesh: MachineMesh, journal: Journal) -> list[str]:
    with journal.timed("mesh: all steps"):
        try:
            checks.start(mesh, journal)
            return checks.play(mesh, journal)
        finally:
            mesh.stop_all()


def _service(mesh: MachineMesh, journal: Journal) -> list[str]:
    with journal.timed("systemd service: all checks"):
        service.check(mesh, journal)
    return []


if __name__ == "__main__":
    sys.exit(main())
