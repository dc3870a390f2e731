"""Where each worker's drop counters are."""

import mmap

from meshnode.codec.lifeline import workers_of
from meshnode.dataplane.switches import Switch, summarise
from meshnode.dataplane.worker import COUNTERS_BYTES, RELAYED_AT
from meshnode.errors import DropReason
from meshnode.node.shared import (
    counters_bytes,
    drop_counts,
    offload_states,
    relayed,
    row_of,
)
from meshnode.offloads import OFF, READS, TUN_TCP, UDP_SEGMENTATION, WHOLE, Offloads


def test_every_worker_has_a_page_of_its_own() -> None:
    """Rows do not overlap, and the workers' counters fit."""
    memory = bytearray(counters_bytes(2))
    for number, worker in enumerate(workers_of(2), 1):
        row = row_of(memory, worker)
        assert len(row) == mmap.PAGESIZE >= COUNTERS_BYTES
        assert not any(row)
        row[:] = bytes((number,)) * len(row)
    assert set(memory) == {1, 2, 3, 4}


def test_drops_of_all_workers_are_added() -> None:
    """Each reason by its name, those that never happened too."""
    memory = bytearray(counters_bytes(2))
    for number, worker in enumerate(workers_of(2), 1):
        words = row_of(memory, worker).cast("Q")
        words[list(DropReason).index(DropReason.BAD_TAG)] = number
        words[list(DropReason).index(DropReason.CONTROL_FULL)] = 10 * number
    counts = drop_counts(memoryview(memory))
    assert list(counts) == [reason.value for reason in DropReason]
    assert {name: count for name, count in counts.items() if count} == {
        DropReason.BAD_TAG.value: 10,
        DropReason.CONTROL_FULL.value: 100,
    }


def test_what_all_workers_forwarded_is_added() -> None:
    """Datagrams and bytes, from where the workers put them."""
    memory = bytearray(counters_bytes(2))
    for number, worker in enumerate(workers_of(2), 1):
        words = row_of(memory, worker).cast("Q")
        words[RELAYED_AT], words[RELAYED_AT + 1] = number, 1000 * number
    assert relayed(memoryview(memory)) == (10, 10_000)


def test_an_offload_stands_where_the_most_limited_worker_has_it() -> None:
    """Nothing written yet is nothing limited; what was lowered is added up."""
    memory = bytearray(counters_bytes(1))
    states = offload_states(memoryview(memory), Offloads())
    full = {"state": "full", "setting": "auto", "lowered": 0}
    assert states == dict.fromkeys(Offloads().settings(), full)
    sent = Switch(UDP_SEGMENTATION, WHOLE)
    sent.lower(OFF, "a test")
    written = Switch(TUN_TCP, "auto")
    written.lower(READS, "a test")
    for worker, switch in zip(workers_of(1), (sent, written), strict=True):
        words = row_of(memory, worker).cast("Q")
        for number, word in enumerate(summarise([switch]), len(DropReason)):
            words[number] = word
    assert offload_states(memoryview(memory), Offloads("whole")) == {
        "udp-segmentation": {"state": "off", "setting": "whole", "lowered": 1},
        "udp-coalescing": full,
        "tun-tcp": {"state": "reads", "setting": "auto", "lowered": 1},
        "tun-udp": full,
    }
