"""The disk of a simulated node: all of a step or nothing, and what power takes."""

from meshnode.mesh.ports import DropRecord, KeepEndpoints, KeepOwn, KeepRecord
from meshnode.simulation.mesh_disk import MeshDisk
from meshnode.types import Endpoint

PLACES = (Endpoint("192.0.2.1", 1),)


def test_what_is_kept_is_loaded():
    """The last word of each kind, in the order it was written."""
    disk = MeshDisk()
    disk.apply([KeepRecord(b"1", 4, b"one"), KeepRecord(b"2", 4, b"two")])
    disk.apply([KeepOwn(7, b"own"), DropRecord(b"1")])
    stored = disk.load()
    assert stored.records == ((4, b"two"),)
    assert (stored.own_version, stored.own) == (7, b"own")
    assert disk.records() == {b"2": b"two"}
    assert disk.writes == 2


def test_nothing_to_keep_is_no_write():
    """So that a step without a decision costs nothing."""
    disk = MeshDisk()
    disk.apply([])
    assert disk.writes == 0


def test_endpoints_alone_are_lost_with_the_power():
    """What is written after them makes them safe."""
    disk = MeshDisk()
    disk.apply([KeepOwn(1, b"own")])
    disk.apply([KeepEndpoints(b"k", PLACES)])
    disk.lose_power()
    assert disk.load().endpoints == ()
    assert disk.load().own == b"own"
    disk.apply([KeepEndpoints(b"k", PLACES)])
    disk.apply([KeepOwn(2, b"own")])
    disk.lose_power()
    assert disk.load().endpoints == ((b"k", PLACES),)


def test_a_backup_is_what_was_kept_then():
    """Restored, it is all there is."""
    disk = MeshDisk()
    disk.apply([KeepOwn(1, b"old")])
    backup = disk.backup()
    disk.apply([KeepOwn(2, b"new")])
    disk.restore(backup)
    assert disk.load().own == b"old"
