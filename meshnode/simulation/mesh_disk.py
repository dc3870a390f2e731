"""The state store of a simulated node: the rows of production's, in a dictionary.

What a step keeps is written whole or not at all, as in one transaction. Endpoints
alone are not waited for: what was written since the last change of another kind is
lost when the machine loses its power.
"""

from collections.abc import Sequence

from meshnode.manage.state_schema import Row, RowKind, place_of, row_of, stored_state
from meshnode.mesh.ports import KeepEndpoints, StateChange, StoredState

_Rows = dict[tuple[int, bytes], Row]


class MeshDisk:
    """The durable state of one node; `writes` counts the transactions."""

    def __init__(self) -> None:
        self.writes = 0
        self._rows: _Rows = {}
        # What a power failure would leave, while that is less.
        self._safe: _Rows | None = None

    def load(self) -> StoredState:
        """Return everything that is kept, in the order it was written."""
        return stored_state(self._rows.values())

    def apply(self, changes: Sequence[StateChange]) -> None:
        """Make *changes*, in order, all at once."""
        if not changes:
            return
        self.writes += 1
        may_be_lost = all(isinstance(change, KeepEndpoints) for change in changes)
        if not may_be_lost:
            self._safe = None
        elif self._safe is None:
            self._safe = dict(self._rows)
        for change in changes:
            place, row = place_of(change), row_of(change)
            self._rows.pop(place, None)
            if row is not None:
                self._rows[place] = row

    def lose_power(self) -> None:
        """Lose what was not waited for."""
        if self._safe is not None:
            self._rows, self._safe = self._safe, None

    def records(self) -> dict[bytes, bytes]:
        """Return the records of the set, by their ids."""
        return {
            key: row.data
            for (kind, key), row in self._rows.items()
            if kind == RowKind.RECORD
        }

    def backup(self) -> "MeshDisk":
        """Return a copy of what is kept now."""
        copy = MeshDisk()
        copy._rows = dict(self._rows)
        return copy

    def restore(self, backup: "MeshDisk") -> None:
        """Put what a backup holds in the place of all that is kept."""
        self._rows, self._safe = dict(backup._rows), None
