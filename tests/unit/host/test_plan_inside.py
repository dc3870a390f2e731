"""Plans that are carried out elsewhere."""

from typing import Any

import pytest

from meshnode.host import plan_inside
from meshnode.host.changes import DeleteTable
from meshnode.host.plan_inside import InsidePlanner
from meshnode.host.routing import Conflict
from meshnode.hostplan import HostPlan

PLAN = HostPlan("home", "home", 10900, 7, 1420, ("10.77.0.1/16",))


def test_a_plan_is_applied_inside_without_underlay_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Peers are not reached from there, so no route can stand in their way."""
    done: list[Any] = []

    class FakePlanner:
        """Notes like the real one, and takes any plan."""

        def __init__(self, notes: Any) -> None:
            self.notes = notes

        def apply(self, plan: HostPlan, **options: Any) -> list[Conflict]:
            """Take a plan."""
            self.notes.record(DeleteTable("x"))
            done.append((plan, options, self.notes.pending()))
            return [Conflict(None, "text")]

    class FakeInside:
        """Calls at once."""

        def call(self, function: Any) -> Any:
            """Call *function*."""
            done.append("inside")
            return function()

    monkeypatch.setattr(plan_inside, "HostPlanner", FakePlanner)
    fake: Any = FakeInside()
    planner = InsidePlanner(fake)
    found = planner.apply(PLAN, endpoints=("192.0.2.1",))
    assert found == [Conflict(None, "text")]
    assert done == ["inside", (PLAN, {}, [DeleteTable("x")])]
