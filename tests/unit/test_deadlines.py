"""Deadlines, and the heap against the obvious implementation."""

import pytest

from meshnode.deadlines import Deadline, DeadlineHeap, earliest, next_turn


def test_earliest_ignores_what_is_not_there():
    """None stands for no deadline; of none at all the earliest is None."""
    soon, late = Deadline(1.0, "soon"), Deadline(2.0, "late")
    assert earliest(None, late, None, soon) is soon
    assert earliest(None, None) is None
    assert earliest() is None


def test_a_deadline_replaces_the_one_before():
    """A key has one deadline: the last that was set, earlier or later."""
    heap: DeadlineHeap[str] = DeadlineHeap()
    heap.set("a", Deadline(5.0, "five"))
    heap.set("a", Deadline(9.0, "nine"))
    assert heap.next() == Deadline(9.0, "nine")
    assert heap.pop_due(5.0) == []
    heap.set("a", Deadline(1.0, "one"))
    assert heap.next() == Deadline(1.0, "one")
    assert heap.pop_due(9.0) == ["a"]
    assert heap.next() is None


def test_the_same_moment_for_another_reason():
    """The reason that is shown is the last one given."""
    heap: DeadlineHeap[str] = DeadlineHeap()
    heap.set("a", Deadline(5.0, "first"))
    heap.set("a", Deadline(5.0, "second"))
    assert heap.next() == Deadline(5.0, "second")
    assert heap.pop_due(5.0) == ["a"]
    assert len(heap) == 0


def test_a_removed_deadline_is_never_due():
    """None takes the deadline away, whether there was one or not."""
    heap: DeadlineHeap[str] = DeadlineHeap()
    heap.set("a", None)
    heap.set("a", Deadline(1.0, "x"))
    heap.set("b", Deadline(2.0, "y"))
    heap.set("a", None)
    assert heap.pop_due(10.0) == ["b"]


@pytest.mark.parametrize("round_", range(20))
def test_the_heap_agrees_with_a_plain_dictionary(rng, round_):
    """Random sets, removals and pops, against a dictionary searched whole."""
    heap: DeadlineHeap[int] = DeadlineHeap()
    plain: dict[int, Deadline] = {}
    for step in range(300):
        key = rng.randrange(12)
        action = rng.random()
        if action < 0.6:
            deadline = Deadline(float(rng.randrange(50)), f"{step}")
            heap.set(key, deadline)
            plain[key] = deadline
        elif action < 0.8:
            heap.set(key, None)
            plain.pop(key, None)
        else:
            now = float(rng.randrange(50))
            due = {k for k, d in plain.items() if d.at <= now}
            popped = heap.pop_due(now)
            assert set(popped) == due
            assert [plain[k].at for k in popped] == sorted(plain[k].at for k in due)
            for k in due:
                del plain[k]
        assert len(heap) == len(plain)
        first = heap.next()
        assert (first is None) == (not plain)
        if first is not None:
            assert first.at == min(d.at for d in plain.values())


def test_superseded_entries_do_not_pile_up():
    """A timer moved a million times leaves no million entries behind."""
    heap: DeadlineHeap[str] = DeadlineHeap()
    for at in range(10_000):
        heap.set("a", Deadline(float(at), "moved"))
    assert len(heap._heap) < 200


@pytest.mark.parametrize("pause", [0.1, 0.2, 0.25, 0.3, 0.7, 4.0])
def test_the_next_turn_is_never_now(pause: float) -> None:
    """Quotients of times are not exact: 71.5 // 0.1 is 714."""
    for tenth in range(1, 5000):
        now = tenth / 10
        assert now < next_turn(now, pause) <= now + 1.001 * pause
