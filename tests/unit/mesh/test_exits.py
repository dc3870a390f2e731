"""Which exit is used: at once when one fails, and back without haste."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from meshnode.mesh.exits import LONGEST, STEADY, ExitChoice

WANTED = ("paris", "berlin", "rome")
PARIS, BERLIN, ROME = (name.encode() for name in WANTED)
OFFERS = {name: name.encode() for name in WANTED}


class Chooser:
    """A choice with a clock."""

    def __init__(self) -> None:
        self.choice = ExitChoice()
        self.now = 1000.0

    def choose(self, *ill: bytes, after: float = 1.0) -> bytes:
        """Choose anew, that many seconds later."""
        self.now += after
        return self.choice.choose(WANTED, OFFERS, ill, now=self.now)


def test_the_first_of_the_list_is_taken_at_once() -> None:
    """Whoever does not offer itself is passed over; nobody is nobody."""
    choice = ExitChoice()
    assert choice.choose(WANTED, OFFERS, (), now=0.0) == PARIS
    assert choice.is_healthy
    assert choice.choose(WANTED, {"rome": ROME}, (), now=1.0) == ROME
    assert choice.choose(WANTED, {}, (), now=2.0) == b""
    assert not choice.is_healthy
    assert choice.next_deadline() is None


def test_failure_is_followed_at_once_and_health_later() -> None:
    """The better one must prove itself while the other serves."""
    chooser = Chooser()
    assert chooser.choose() == PARIS
    assert chooser.choose(PARIS) == BERLIN
    assert chooser.choice.standby == (PARIS,)
    assert chooser.choice.next_deadline() is None
    assert chooser.choose() == BERLIN
    deadline = chooser.choice.next_deadline()
    assert deadline is not None
    assert deadline.at == chooser.now + STEADY
    assert chooser.choose(after=STEADY - 0.1) == BERLIN
    assert chooser.choose(after=0.1) == PARIS
    assert chooser.choice.standby == ()


def test_whoever_is_well_takes_over_from_one_that_fails() -> None:
    """Also a better one that has not proven itself yet: all others are worse off."""
    chooser = Chooser()
    chooser.choose()
    chooser.choose(PARIS)
    chooser.choose()
    assert chooser.choose(BERLIN) == PARIS


def test_none_healthy_changes_nothing() -> None:
    """The traffic is dropped where it is; the first that answers has it."""
    chooser = Chooser()
    chooser.choose()
    assert chooser.choose(PARIS, BERLIN, ROME) == PARIS
    assert not chooser.choice.is_healthy
    assert chooser.choose(PARIS, BERLIN) == ROME


def test_one_that_keeps_failing_is_trusted_less() -> None:
    """Twice as long each time, up to a limit; long service is a new beginning."""
    chooser = Chooser()
    chooser.choose()
    waits = []
    for _ in range(7):
        assert chooser.choose(PARIS) == BERLIN
        assert chooser.choose() == BERLIN
        deadline = chooser.choice.next_deadline()
        assert deadline is not None
        waits.append(deadline.at - chooser.now)
        assert chooser.choose(after=waits[-1]) == PARIS
    assert waits == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
    chooser.choose(after=LONGEST)
    assert chooser.choose(PARIS) == BERLIN
    chooser.choose()
    deadline = chooser.choice.next_deadline()
    assert deadline is not None
    assert deadline.at == chooser.now + STEADY


def test_another_list_is_a_decision() -> None:
    """It takes effect at once, whatever was known."""
    choice = ExitChoice()
    choice.choose(WANTED, OFFERS, (PARIS,), now=0.0)
    assert choice.chosen == BERLIN
    assert choice.choose(("rome", "paris"), OFFERS, (), now=1.0) == ROME
    assert choice.choose(("paris", "rome"), OFFERS, (), now=2.0) == PARIS
    assert choice.choose((), {}, (), now=3.0) == b""


steps = st.lists(
    st.tuples(st.floats(0.0, 50.0), st.sets(st.sampled_from([PARIS, BERLIN, ROME]))),
    max_size=60,
)


@given(steps)
def test_a_healthy_exit_is_left_only_for_a_proven_better_one(
    schedule: Iterable[tuple[float, set[bytes]]],
) -> None:
    """Whatever comes and goes: never idle by choice, and never back in a hurry."""
    chooser = Chooser()
    since: dict[bytes, float] = {}
    before = b""
    for after, ill in schedule:
        found = chooser.choose(*ill, after=after)
        for key in (PARIS, BERLIN, ROME):
            if key in ill:
                since.pop(key, None)
            else:
                since.setdefault(key, chooser.now)
        assert found in OFFERS.values()
        assert found not in ill or len(ill) == len(OFFERS)
        if before and found != before and before not in ill:
            assert WANTED.index(found.decode()) < WANTED.index(before.decode())
            assert chooser.now - since[found] >= STEADY - 1e-6
        deadline = chooser.choice.next_deadline()
        assert deadline is None or deadline.at > chooser.now
        before = found
