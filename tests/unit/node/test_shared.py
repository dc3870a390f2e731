"""Where each worker's drop counters are."""

import mmap

from meshnode.codec.lifeline import Worker
from meshnode.dataplane.worker import COUNTERS_BYTES
from meshnode.node.shared import COUNTERS_SIZE, row_of


def test_every_worker_has_a_page_of_its_own() -> None:
    """Rows do not overlap, and the workers' counters fit."""
    memory = bytearray(COUNTERS_SIZE)
    for number, worker in enumerate(Worker, 1):
        row = row_of(memory, worker)
        assert len(row) == mmap.PAGESIZE >= COUNTERS_BYTES
        assert not any(row)
        row[:] = bytes((number,)) * len(row)
    assert set(memory) == {1, 2}
