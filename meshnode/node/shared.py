"""The sizes of shared memories, and the rows of counters in one of them.

Here and not beside their use, lest the supervisor load what only others need.
"""

from typing import TYPE_CHECKING, Any, Final

from meshnode.codec.lifeline import Direction, Worker
from meshnode.errors import DropReason
from meshnode.offloads import STATES, Offloads

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ROW_BYTES: Final = 4096
_DIRECTIONS: Final = tuple(Direction)


def counters_bytes(workers: int) -> int:
    """Return the bytes of the counters of that many workers of each direction.

    Each has a row, on a page of its own.
    """
    return _ROW_BYTES * len(_DIRECTIONS) * workers


def _rows(memory: memoryview) -> list[memoryview]:
    """Return the rows of all workers as 64-bit words."""
    starts = range(0, len(memory), _ROW_BYTES)
    return [memory[start : start + _ROW_BYTES].cast("Q") for start in starts]


def drop_counts(memory: memoryview) -> dict[str, int]:
    """Return the packets that all workers dropped, by reason."""
    total = dict.fromkeys((reason.value for reason in DropReason), 0)
    for words in _rows(memory):
        for reason, count in zip(DropReason, words, strict=False):
            total[reason.value] += count
    return total


def offload_states(memory: memoryview, offloads: Offloads) -> dict[str, dict[str, Any]]:
    """Return how each offload stands, what it was set to, and how often it was lowered.

    Of several workers the lowest state counts, and the sum of what happened.
    """
    states = {}
    settings = offloads.settings()
    rows = _rows(memory)
    for number, (key, names) in enumerate(STATES.items()):
        at = len(DropReason) + 2 * number
        states[key] = {
            "state": names[max(words[at] for words in rows)],
            "setting": settings[key],
            "lowered": sum(words[at + 1] for words in rows),
        }
    return states


def relayed(memory: memoryview) -> tuple[int, int]:
    """Return how many datagrams all workers forwarded for others, and their bytes."""
    at = len(DropReason) + 2 * len(STATES)
    rows = _rows(memory)
    return sum(words[at] for words in rows), sum(words[at + 1] for words in rows)


VAULT_BYTES: Final = 64 * 2**20
"""Bytes of a vault; sparse, so only what is used costs anything."""


def row_of(memory: "Buffer", worker: Worker) -> memoryview:
    """Return the row that *worker* alone writes, in a memory of `counters_bytes`."""
    row = len(_DIRECTIONS) * worker.number + _DIRECTIONS.index(worker.direction)
    start = _ROW_BYTES * row
    return memoryview(memory).cast("B")[start : start + _ROW_BYTES]
