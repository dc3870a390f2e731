"""Sleeping until a descriptor is ready."""

import select
from collections.abc import Mapping


class Waiter:
    """Polls a changing set of descriptors; what did not change costs nothing."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[int, int] = {}

    def wait(self, events: Mapping[int, int]) -> list[int]:
        """Return the descriptors that are ready for what *events* names for each.

        There is one at least. Errors and hang-ups count as ready.
        """
        for descriptor in self._watched.keys() - events.keys():
            self._poll.unregister(descriptor)
        for descriptor, wanted in events.items():
            if self._watched.get(descriptor) != wanted:
                self._poll.register(descriptor, wanted)
        self._watched = dict(events)
        return [descriptor for descriptor, _ in self._poll.poll()]
