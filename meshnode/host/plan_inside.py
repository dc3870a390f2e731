"""Carry out a `HostPlan` in another network namespace that is ours alone.

Nothing there outlives us: the namespace goes with its last process, and everything in
it. So what is changed is noted in memory only, and no address of a peer can be covered
by a route, for outer packets never come there.
"""

from collections.abc import Collection

from meshnode.host.changes import Change
from meshnode.host.inside import Inside
from meshnode.host.plan import HostPlanner
from meshnode.host.routing import Conflict
from meshnode.hostplan import HostPlan


class InsidePlanner:
    """The twin of `HostPlanner` for the network that *inside* is in."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._planner = HostPlanner(_Notes())

    def apply(
        self, plan: HostPlan, *, endpoints: Collection[str] = ()
    ) -> list[Conflict]:
        """Change what differs from *plan*; return what cannot be had of it.

        Args:
            plan: the whole plan.
            endpoints: of our peers; they are not reached from there.

        Raises:
            HostError: as `HostPlanner.apply`.
        """
        return self._inside.call(lambda: self._planner.apply(plan))


class _Notes:
    """What was changed, in memory."""

    def __init__(self) -> None:
        self._changes: list[Change] = []

    def record(self, change: Change) -> None:
        """Note *change*."""
        self._changes.append(change)

    def pending(self) -> list[Change]:
        """Return what was noted, oldest first."""
        return list(self._changes)
