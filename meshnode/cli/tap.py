"""The tap of a running node, as `meshnode capture` and `flows` read it.

The node lends its memory for as long as our connection lives; we read the rings
ourselves. Who is in which slot it tells when we meet one that we do not know.
"""

import mmap
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from meshnode.capture.filters import Filter
from meshnode.capture.rings import Rings
from meshnode.capture.seen import Seen
from meshnode.codec.tap import LAYOUT
from meshnode.errors import MeshnodeError, UsageError
from meshnode.manage import api_client
from meshnode.manage.api_client import Borrowed
from meshnode.manage.paths import Directories

PAUSE = 0.02
"""Seconds between two looks at the rings, if there was nothing."""

_ASK_AGAIN = 1.0
"""Seconds until the node is asked anew who is in a slot."""

_REFRESH = 3.0
"""Seconds after which a name may be another's."""


@contextmanager
def open_tap(
    directories: Directories,
    network: str,
    *,
    wanted: Filter,
    underlay: bool,
    snaplen: int,
    keys: bool = False,
) -> Generator["Tap", None, None]:
    """Let the node copy packets inside the block, *snaplen* bytes of each at most.

    With *keys* it tells those of sessions that begin meanwhile, too.

    Raises:
        UsageError: if the filter names a peer that is no member.
        MeshnodeError: if the node does not run, is of another version, or somebody
            else captures.
    """
    _check_peers(directories, network, wanted)
    with api_client.borrow(
        directories,
        network,
        "capture",
        underlay=underlay,
        snaplen=snaplen,
        keys=keys,
        pid=os.getpid(),
    ) as borrowed:
        if borrowed.facts["layout"] != LAYOUT:
            raise MeshnodeError(
                "the node is of another version than this command: "
                f"meshnode restart {network}"
            )
        # Unmapped when nobody refers to it any more, which an error's trace may.
        memory = memoryview(mmap.mmap(borrowed.descriptor, borrowed.facts["bytes"]))
        ask = partial(api_client.call, directories, network, "capture-names")
        yield Tap(borrowed, Rings(memory), wanted, ask)


def _check_peers(directories: Directories, network: str, wanted: Filter) -> None:
    if not wanted.peers:
        return
    found = api_client.call(directories, network, "peers")["peers"]
    known = {one["name"] for one in found}
    known |= set(
        api_client.call(directories, network, "capture-names")["names"].values()
    )
    for name in wanted.peers:
        if name not in known:
            raise UsageError(f"no member {name!r}; see: meshnode peers")


class Tap:
    """Packets of one node that pass a filter, from now on.

    `seen` counts those that were looked at, `lost` those that found no room. *ask* is
    called to learn who is in which slot.
    """

    def __init__(
        self,
        borrowed: Borrowed,
        rings: Rings,
        wanted: Filter,
        ask: Callable[[], dict[str, Any]],
    ) -> None:
        self.seen = 0
        self.lost = 0
        self._ask = ask
        self._port = int(borrowed.facts["port"])
        self._events = borrowed.events
        self._rings = rings
        self._matches = wanted.matches
        self._names: dict[int, str] = {}
        self._asked_at = float("-inf")

    def read(self) -> list[Seen]:
        """Return the packets since the last time, without waiting for any."""
        sightings = self._rings.read()
        slots = {one.slot for one in sightings} - {-1}
        self._learn(slots)
        self.seen += len(sightings)
        names, port, matches = self._names, self._port, self._matches
        found = [Seen(one, names.get(one.slot, ""), port) for one in sightings]
        return [seen for seen in found if matches(seen)]

    def keys(self) -> str:
        """Return the keys that the node has told since the last time, as lines.

        Raises:
            NotRunningError: if the node has ended.
        """
        return "".join(str(event.get("keys", "")) for event in self._events())

    def losses(self) -> tuple[int, int]:
        """Return how many packets were lost since the last time, in and out."""
        inbound, outbound = self._rings.lost()
        self.lost += inbound + outbound
        return inbound, outbound

    def _learn(self, slots: set[int]) -> None:
        """Find out who is in these slots, if we should know and do not."""
        now = time.monotonic()
        pause = _REFRESH if slots <= self._names.keys() else _ASK_AGAIN
        if not slots or now - self._asked_at < pause:
            return
        self._asked_at = now
        try:
            names = self._ask()["names"]
        except MeshnodeError:
            return  # the node is busy, or ends: then we are told so soon
        self._names = {int(slot): name for slot, name in names.items()}
