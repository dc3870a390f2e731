"""What processes use, by /proc: processor time, memory, how often they woke."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds and voluntary context switches, of all threads together."""

    processor_seconds: float
    wakeups: int

    def __sub__(self, earlier: "Usage") -> "Usage":
        return Usage(
            self.processor_seconds - earlier.processor_seconds,
            self.wakeups - earlier.wakeups,
        )


def usage_of(processes: Iterable[int]) -> Usage:
    """Return what the living threads of *processes* used since they began."""
    nanoseconds = wakeups = 0
    for thread in _threads(processes):
        nanoseconds += int((thread / "schedstat").read_text().split()[0])
        wakeups += _voluntary_switches((thread / "status").read_text())
    return Usage(nanoseconds / 1e9, wakeups)


def memory_of(processes: Iterable[int]) -> int:
    """Return the bytes of memory of *processes*, shared pages in proportion (PSS)."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in processes]
    return sum(proportional_bytes(rollup) for rollup in rollups)


def proportional_bytes(rollup: str) -> int:
    """Return the PSS in the text of an `smaps_rollup`, in bytes."""
    match = re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)
    if match is None:
        raise ValueError("no smaps_rollup")
    return 1024 * int(match[1])


def _voluntary_switches(status: str) -> int:
    match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", status, re.MULTILINE)
    if match is None:
        raise ValueError("no status of a thread")
    return int(match[1])


def _threads(processes: Iterable[int]) -> Iterator[Path]:
    for pid in processes:
        yield from Path(f"/proc/{pid}/task").iterdir()
