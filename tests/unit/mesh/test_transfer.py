"""Fetching a long document part by part, from one source at a time."""

from dataclasses import replace

import pytest

from meshnode.codec.messages import Chunk, Fetch
from meshnode.mesh.transfer import (
    CHUNK_BYTES,
    GIVE_UP_TIME,
    MAX_SHUNNED,
    RETRY_TIME,
    SHUN_TIME,
    Document,
    Transfer,
)
from tests.mesh_wire import Mailbox

DATA = bytes(range(256)) * 10
SOURCE, OTHER = b"s" * 32, b"o" * 32


def part(offset: int) -> Chunk:
    """Return the part of DATA at *offset*."""
    return Chunk(6, 3, offset, len(DATA), DATA[offset : offset + CHUNK_BYTES])


@pytest.fixture
def mailbox() -> Mailbox:
    """What is asked."""
    return Mailbox()


@pytest.fixture
def transfer(mailbox: Mailbox) -> Transfer:
    """A transfer of DATA that has just begun, at 0 s."""
    transfer = Transfer(mailbox)
    transfer.begin(SOURCE, 6, 3, now=0.0)
    assert mailbox.taken() == [(SOURCE, Fetch(6, 3, 0))]
    return transfer


def test_the_parts_are_asked_for_in_turn(transfer: Transfer, mailbox: Mailbox) -> None:
    """The last one completes the document."""
    assert transfer.receive(SOURCE, part(0), now=0.1) is None
    assert transfer.receive(SOURCE, part(1000), now=0.2) is None
    assert mailbox.taken() == [(SOURCE, Fetch(6, 3, 1000)), (SOURCE, Fetch(6, 3, 2000))]
    assert transfer.receive(SOURCE, part(2000), now=0.3) == Document(6, 3, DATA)
    assert transfer.source is None
    assert transfer.next_deadline() is None


@pytest.mark.parametrize(
    ("key", "chunk"),
    [
        (OTHER, part(0)),
        (SOURCE, part(1000)),
        (SOURCE, replace(part(0), version=4)),
        (SOURCE, replace(part(0), kind=1)),
    ],
)
def test_other_parts_are_ignored(
    transfer: Transfer, mailbox: Mailbox, key: bytes, chunk: Chunk
) -> None:
    """From somebody else, out of turn, of another document."""
    assert transfer.receive(key, chunk, now=0.1) is None
    assert mailbox.taken() == []
    assert transfer.source == SOURCE


@pytest.mark.parametrize(
    "chunk",
    [
        replace(part(0), data=b"short"),
        replace(part(0), total=65537),
        replace(part(0), data=bytes(1001)),
        replace(part(0), total=0, data=b""),
    ],
)
def test_a_part_that_is_not_whole_ends_it(transfer: Transfer, chunk: Chunk) -> None:
    """Its source is left alone for a while; others are not."""
    assert transfer.receive(SOURCE, chunk, now=0.1) is None
    assert transfer.source is None
    transfer.begin(SOURCE, 6, 3, now=SHUN_TIME)
    assert transfer.source is None
    transfer.begin(OTHER, 6, 3, now=1.0)
    assert transfer.source == OTHER


def test_the_whole_length_does_not_change(transfer: Transfer) -> None:
    """A source that says another one lies."""
    transfer.receive(SOURCE, part(0), now=0.1)
    transfer.receive(SOURCE, replace(part(1000), total=5000), now=0.2)
    assert transfer.source is None


def test_a_lost_part_is_asked_for_again(transfer: Transfer, mailbox: Mailbox) -> None:
    """Every two seconds, until it is given up after ten."""
    asked = []
    now = 0.0
    while (deadline := transfer.next_deadline()) is not None:
        now = deadline.at
        transfer.handle_deadline(now=now)
        asked += mailbox.taken()
    assert asked == [(SOURCE, Fetch(6, 3, 0))] * int(GIVE_UP_TIME / RETRY_TIME - 1)
    assert now == GIVE_UP_TIME
    transfer.begin(SOURCE, 6, 3, now=now + SHUN_TIME)
    assert transfer.source == SOURCE


def test_one_transfer_at_a_time(transfer: Transfer, mailbox: Mailbox) -> None:
    """A second offer waits for its next Hello."""
    transfer.begin(OTHER, 1, 1, now=0.5)
    assert mailbox.taken() == []


def test_the_list_of_failed_sources_is_bounded(transfer: Transfer) -> None:
    """Those beyond are not remembered."""
    for number in range(MAX_SHUNNED + 10):
        transfer.fail(b"%d" % number, now=0.0)
    transfer.fail(SOURCE, now=0.0)
    transfer.begin(b"%d" % MAX_SHUNNED, 6, 3, now=1.0)
    assert transfer.source == b"%d" % MAX_SHUNNED
