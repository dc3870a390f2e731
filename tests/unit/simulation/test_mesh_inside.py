"""What the invariants see of a node."""

from meshnode.simulation import mesh_inside
from meshnode.simulation.clock import EPOCH
from meshnode.simulation.mesh_world import MeshWorld


def test_tables_and_time_of_a_node():
    """Each table has a name, a size and a bound."""
    world = MeshWorld(1)
    world.found("a")
    world.enlist("b")
    world.run(2)
    node = world.homes["a"].running
    sizes = {name: size for name, size, _ in mesh_inside.table_sizes(node, members=2)}
    assert sizes["records"] == 2
    assert sizes["admitted joiners"] == 1
    assert mesh_inside.believed_wall(node) >= EPOCH


def test_a_sought_member_is_seen():
    """While it is dialled."""
    world = MeshWorld(1)
    world.found("a")
    world.enlist("b")
    world.run(200)
    node, key = world.homes["a"].running, world.homes["b"].key
    assert not mesh_inside.is_sought(node, key)
    node.endpoint_wanted(key, now=world.hosts["a"].now, wall=world.homes["a"].wall)
    assert mesh_inside.is_sought(node, key)
