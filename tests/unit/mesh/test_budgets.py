"""Token buckets by key."""

from meshnode.mesh.budgets import Budgets


def test_the_burst_is_spent_at_once_and_comes_back_at_the_rate() -> None:
    """Ten units, two a second."""
    budgets = Budgets(rate=2.0, burst=10.0)
    assert [budgets.spend(b"a", 5, now=0.0) for _ in range(3)] == [True, True, False]
    assert not budgets.spend(b"a", 5, now=0.0)
    assert budgets.spend(b"a", 5, now=1.0)
    assert not budgets.spend(b"a", 5, now=1.0)


def test_a_debt_is_paid_before_anything_else_is_allowed() -> None:
    """One cost may be above the burst."""
    budgets = Budgets(rate=2.0, burst=10.0)
    assert budgets.spend(b"a", 30, now=0.0)
    assert not budgets.spend(b"a", 1, now=9.9)
    assert budgets.spend(b"a", 1, now=10.5)


def test_one_key_does_not_pay_for_another() -> None:
    """Whatever it spends."""
    budgets = Budgets(rate=1.0, burst=1.0)
    assert budgets.spend(b"a", 99, now=0.0)
    assert budgets.spend(b"b", 1, now=0.0)


def test_rest_gives_no_more_than_the_burst() -> None:
    """However long."""
    budgets = Budgets(rate=1.0, burst=3.0)
    budgets.spend(b"a", 3, now=0.0)
    assert [budgets.spend(b"a", 1, now=1000.0) for _ in range(4)] == [
        *(True, True, True),
        False,
    ]


def test_full_buckets_are_forgotten() -> None:
    """A thousand keys of an hour ago cost no memory."""
    budgets = Budgets(rate=1.0, burst=5.0)
    for number in range(1000):
        budgets.spend(b"%d" % number, 5, now=0.0)
    budgets.spend(b"new", 1, now=5.0)
    assert len(budgets) == 1
