from collections.abc import Callable, Mapping, Sequence

from meshnode.dataplane.fast.facts import Recorder
from meshnode.dataplane.fast.lookup import PrefixTable
from meshnode.dataplane.fast.sessions import SealSession
from meshnode.dataplane.fast.taps import Tap
from meshnode.types import Path

EMPTY: int
ENOUGH: int
WAITING: int
SHARED: int
FAILED: int

class Sender:
    can_segment: bool
    takes_tails: bool
    def __init__(
        self,
        queues: tuple[int, ...],
        recorder: Recorder,
        on_refused: Callable[[int, int, bytearray, int], None],
        tap: Tap,
    ) -> None: ...
    def set_routes(self, v4: PrefixTable, v6: PrefixTable) -> None: ...
    def set_mtu(self, mtu: int) -> None: ...
    def set_target(
        self,
        slot: int,
        session: SealSession | None,
        ways: Sequence[tuple[Path, int, int]],
    ) -> None: ...
    @property
    def frame(self) -> bytes: ...
    @property
    def shared(self) -> int: ...
    @property
    def error(self) -> int: ...
    @property
    def now(self) -> float: ...
    def wait(self, links: Mapping[int, int]) -> list[int]: ...
    def pump(self, queue: int, frames: int, now: float) -> int: ...
    def send_to(self, slot: int) -> bool: ...
    def finish(self) -> None: ...
    def news(self) -> list[tuple[int, bool]]: ...
