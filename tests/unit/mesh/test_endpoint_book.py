"""The book of endpoint records: the newest version, for 180 s, and not without end."""

import random

import pytest

from meshnode.codec.records import Endpoints
from meshnode.mesh.endpoint_book import RECORD_TTL, EndpointBook
from meshnode.mesh.refusal import RecordRefused, Refusal

KEY = bytes(32)


def verify(key: bytes, data: bytes) -> Endpoints:
    """Take `VERSION anything` for the record with that version."""
    version, _, _ = data.partition(b" ")
    if not version.isdigit():
        raise RecordRefused(Refusal.BAD_SIGNATURE)
    return Endpoints(key, int(version), ())


def test_the_newest_version_wins_in_any_order(rng: random.Random) -> None:
    """Of equal versions the greater bytes; what was kept is reported as news."""
    records = [b"1 a", b"2 a", b"2 b", b"3 a"]
    for _ in range(50):
        book = EndpointBook(verify)
        rng.shuffle(records)
        best: bytes = b""
        for data in records:
            assert book.receive(KEY, data, now=1.0) == (data > best)
            best = max(best, data)
            heard = book.get(KEY, now=1.0)
            assert heard is not None
            assert heard.data == best


def test_a_record_counts_for_180_s_after_it_was_last_heard() -> None:
    """Hearing the same again, which is no news, begins them anew."""
    book = EndpointBook(verify)
    assert book.receive(KEY, b"1 a", now=0.0)
    assert not book.receive(KEY, b"1 a", now=100.0)
    deadline = book.next_deadline()
    assert deadline is not None
    assert deadline.at == 100.0 + RECORD_TTL
    book.handle_deadline(now=deadline.at - 0.1)
    assert book.get(KEY, now=deadline.at - 0.1) is not None
    assert book.get(KEY, now=deadline.at) is None
    book.handle_deadline(now=deadline.at)
    assert len(book) == 0
    assert book.next_deadline() is None


def test_an_older_record_does_not_refresh_the_newer() -> None:
    """Whoever repeats old bytes keeps nothing alive."""
    book = EndpointBook(verify)
    book.receive(KEY, b"2 a", now=0.0)
    assert not book.receive(KEY, b"1 a", now=100.0)
    assert book.get(KEY, now=RECORD_TTL) is None


def test_after_its_time_an_older_version_may_come_back() -> None:
    """A member whose clock was set back is found again."""
    book = EndpointBook(verify)
    book.receive(KEY, b"9 a", now=0.0)
    assert book.receive(KEY, b"1 a", now=RECORD_TTL)


def test_a_refused_record_changes_nothing() -> None:
    """The good one stays."""
    book = EndpointBook(verify)
    book.receive(KEY, b"1 a", now=0.0)
    with pytest.raises(RecordRefused):
        book.receive(KEY, b"forged", now=1.0)
    heard = book.get(KEY, now=1.0)
    assert heard is not None
    assert heard.data == b"1 a"


def test_a_full_book_forgets_who_was_not_heard_of_longest() -> None:
    """The bound holds, and who repeats stays."""
    book = EndpointBook(verify, capacity=3)
    keys = [bytes([n]) * 32 for n in range(4)]
    for now, key in enumerate(keys[:3]):
        book.receive(key, b"1 a", now=float(now))
    book.receive(keys[0], b"1 a", now=3.0)
    book.receive(keys[3], b"1 a", now=4.0)
    assert len(book) == 3
    assert book.get(keys[1], now=4.0) is None
    assert book.get(keys[0], now=4.0) is not None


def test_who_is_no_member_is_forgotten() -> None:
    """Also if it was never there."""
    book = EndpointBook(verify)
    book.receive(KEY, b"1 a", now=0.0)
    book.forget(KEY)
    book.forget(KEY)
    assert book.get(KEY, now=0.0) is None
