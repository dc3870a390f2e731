"""The sizes of shared memories, and the rows of counters in one of them.

Here and not beside their use, lest the supervisor load what only others need.
"""

from typing import TYPE_CHECKING, Any, Final

from meshnode.codec.lifeline import Worker
from meshnode.errors import DropReason
from meshnode.offloads import STATES, Offloads

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ROW_BYTES: Final = 4096
_ROWS: Final = {worker: number for number, worker in enumerate(Worker)}

COUNTERS_SIZE: Final = _ROW_BYTES * len(_ROWS)
"""Bytes of the counters: one row a worker, each on a page of its own."""


def drop_counts(memory: memoryview) -> dict[str, int]:
    """Return the packets that all workers dropped, by reason."""
    total = dict.fromkeys((reason.value for reason in DropReason), 0)
    for worker in Worker:
        words = row_of(memory, worker).cast("Q")
        for reason, count in zip(DropReason, words, strict=False):
            total[reason.value] += count
    return total


def offload_states(memory: memoryview, offloads: Offloads) -> dict[str, dict[str, Any]]:
    """Return how each offload stands, what it was set to, and how often it was lowered.

    Of several workers the lowest state counts, and the sum of what happened.
    """
    states = {}
    settings = offloads.settings()
    rows = [row_of(memory, worker).cast("Q") for worker in Worker]
    for number, (key, names) in enumerate(STATES.items()):
        at = len(DropReason) + 2 * number
        states[key] = {
            "state": names[max(words[at] for words in rows)],
            "setting": settings[key],
            "lowered": sum(words[at + 1] for words in rows),
        }
    return states


VAULT_BYTES: Final = 64 * 2**20
"""Bytes of a vault; sparse, so only what is used costs anything."""


def row_of(memory: "Buffer", worker: Worker) -> memoryview:
    """Return the row that *worker* alone writes, in a memory of `COUNTERS_SIZE`."""
    start = _ROW_BYTES * _ROWS[worker]
    return memoryview(memory).cast("B")[start : start + _ROW_BYTES]
