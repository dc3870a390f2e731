"""Laboratories that go on without a process of ours, until they are taken down.

Each has a directory under /run with all files of its nodes and a note of what it is,
so that both vanish with the next boot, as its namespaces do.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from topology import leaks
from topology.description import Description
from topology.hosts import Host, Lab
from topology.interrupts import signals_held_back
from topology.processes import LabError

DIRECTORY = Path("/run/meshnode-lab")

_NOTE = "lab.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """A laboratory that is up: its tag, the file it was made from, and its nodes."""

    tag: str
    file: Path
    nodes: tuple[str, ...]

    @property
    def directory(self) -> Path:
        """Where the files of its nodes are."""
        return DIRECTORY / self.tag

    def namespace(self, node: str) -> str:
        """Return the name of a node's network namespace."""
        return f"{self.tag}-{node}"

    def host(self, node: str) -> Host:
        """Return the namespace of a node, to change something in it."""
        return Host(Lab(tag=self.tag, directory=self.directory), node)

    def remove(self) -> None:
        """End all its processes, and remove its namespaces and files."""
        with signals_held_back():
            leaks.sweep(self.tag)
            shutil.rmtree(self.directory, ignore_errors=True)


def begin(file: Path, description: Description) -> Lab:
    """Return a laboratory that can be kept; enter it, build, then call its `keep`.

    It is noted before anything is made: even one that was killed can be taken down.

    Raises:
        LabError: if *file* is up already.
    """
    if find(file):
        raise LabError(f"{file} is up already: tools/lab down {file}")
    nodes = tuple(node.name for node in description.nodes)
    made = Kept(leaks.kept_tag(), file.resolve(), nodes)
    made.directory.mkdir(mode=0o700, parents=True)
    note = {"file": str(made.file), "nodes": nodes}
    (made.directory / _NOTE).write_text(json.dumps(note))
    return Lab(tag=made.tag, directory=made.directory)


def everything() -> list[Kept]:
    """Return all laboratories that are up, sorted by their files."""
    found = []
    for path in DIRECTORY.glob(f"*/{_NOTE}"):
        note = json.loads(path.read_text())
        found.append(Kept(path.parent.name, Path(note["file"]), tuple(note["nodes"])))
    return sorted(found, key=lambda kept: str(kept.file))


def find(file: Path) -> list[Kept]:
    """Return the laboratory made from *file*, if it is up: a list of one or none."""
    return [kept for kept in everything() if kept.file == file.resolve()]
