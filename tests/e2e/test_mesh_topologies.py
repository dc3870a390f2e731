"""Every shipped topology holds with real nodes, as `tools/lab run` plays it."""

from pathlib import Path

import pytest

from topology import checks
from topology.build import build
from topology.hosts import Lab
from topology.mesh import Mesh
from topology.narrator import Narrator
from topology.parsing import load

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

TOPOLOGIES = Path(__file__).parents[2] / "topology"
SHIPPED = sorted(path.stem for path in TOPOLOGIES.glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_topology_holds(lab: Lab, name: str) -> None:
    """All that must hold does, after each step, and the nodes leave nothing behind."""
    mesh = Mesh(build(lab, load(TOPOLOGIES / f"{name}.toml")))
    checks.start(mesh, Narrator())
    assert checks.play(mesh, Narrator()) == []
    mesh.stop_all()
    for node in mesh.description.nodes:
        assert mesh.processes(node.name) == []
        # What was killed whole could not take back its rules; this is what does.
        mesh.run(node.name, "cleanup")
        assert "meshnode" not in mesh.host(node.name).run("nft list tables").stdout
