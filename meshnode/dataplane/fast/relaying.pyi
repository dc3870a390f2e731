from collections.abc import Callable

from meshnode.dataplane.fast.channels import NumbersOfChannels
from meshnode.dataplane.fast.taps import Tap
from meshnode.types import Path

DROPS: tuple[str, ...]

class Forwarder:
    can_segment: bool
    takes_tails: bool
    def __init__(
        self,
        slots: int,
        on_refused: Callable[[int, bytearray, int], None],
        tap: Tap,
    ) -> None: ...
    def set_channels(self, channels: NumbersOfChannels) -> None: ...
    def set_place(self, slot: int, path: Path | None, descriptor: int) -> None: ...
    @property
    def relayed(self) -> tuple[int, int]: ...
    def drops(self) -> tuple[int, ...]: ...
