"""Where each worker's drop counters are."""

import mmap

from meshnode.codec.lifeline import Worker
from meshnode.dataplane.worker import COUNTERS_BYTES
from meshnode.errors import DropReason
from meshnode.node.shared import COUNTERS_SIZE, drop_counts, row_of


def test_every_worker_has_a_page_of_its_own() -> None:
    """Rows do not overlap, and the workers' counters fit."""
    memory = bytearray(COUNTERS_SIZE)
    for number, worker in enumerate(Worker, 1):
        row = row_of(memory, worker)
        assert len(row) == mmap.PAGESIZE >= COUNTERS_BYTES
        assert not any(row)
        row[:] = bytes((number,)) * len(row)
    assert set(memory) == {1, 2}


def test_drops_of_all_workers_are_added() -> None:
    """Each reason by its name, those that never happened too."""
    memory = bytearray(COUNTERS_SIZE)
    for number, worker in enumerate(Worker, 1):
        words = row_of(memory, worker).cast("Q")
        words[list(DropReason).index(DropReason.BAD_TAG)] = number
        words[list(DropReason).index(DropReason.CONTROL_FULL)] = 10 * number
    counts = drop_counts(memoryview(memory))
    assert list(counts) == [reason.value for reason in DropReason]
    assert {name: count for name, count in counts.items() if count} == {
        DropReason.BAD_TAG.value: 3,
        DropReason.CONTROL_FULL.value: 30,
    }
