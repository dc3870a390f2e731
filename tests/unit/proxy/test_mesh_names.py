"""Which targets are of the mesh."""

import pytest

from meshnode.proxy.mesh_names import MeshNames
from meshnode.types import Prefix, Target

BERT = ("10.77.0.2", "fd00::2")
NAMES = MeshNames(
    "home", [Prefix.parse("10.77.0.0/16"), Prefix.parse("fd00::/48")], {"Bert": BERT}
)


@pytest.mark.parametrize(
    "name", ["bert", "BERT", "bert.", "bert.home.mesh", "Bert.Home.Mesh."]
)
def test_a_member_is_found(name: str) -> None:
    """By the short and the long name."""
    assert NAMES.resolve(name) == BERT
    assert NAMES.has(Target(name, 80))


@pytest.mark.parametrize(
    "name", ["", "anna", "bert.org", "bert.work.mesh", "x.bert.home.mesh", "home.mesh"]
)
def test_others_are_not(name: str) -> None:
    """Names of the world are looked up elsewhere."""
    assert NAMES.resolve(name) == ()


def test_the_zone_never_leaves() -> None:
    """A member that there is not is no name for an exit's resolver."""
    assert NAMES.has(Target("anna.home.mesh", 80))
    assert not NAMES.has(Target("anna", 80))
    assert not NAMES.has(Target("example.org", 80))


@pytest.mark.parametrize(
    ("address", "is_mesh"),
    [
        ("10.77.9.9", True),
        ("::ffff:10.77.9.9", True),
        ("fd00::9", True),
        ("10.78.0.1", False),
        ("fd00:0:1::1", False),
    ],
)
def test_addresses(address: str, is_mesh: bool) -> None:
    """Those of the overlay are, however they are written."""
    assert NAMES.has(Target(address, 1)) == is_mesh
