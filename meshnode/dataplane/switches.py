"""How far one socket or device uses an offload, as the data plane finds out.

A kernel that offers an offload may still refuse what makes use of it. Then the packets
go another way, and the offload is used less from then on: told once, counted, and
shown in the status. Nothing is tried again, for such a kernel stays as it is; a new
socket or process begins anew.
"""

import logging
from collections.abc import Iterable

from meshnode.offloads import AUTO, CHOICES, FULL, OFF, STATES

logger = logging.getLogger(__name__)


class Switch:
    """One offload of one socket or device: its `state`, and how often that was lowered.

    Args:
        key: one of `offloads.STATES`.
        setting: what the key is set to.
    """

    def __init__(self, key: str, setting: str) -> None:
        self.key = key
        self.state = FULL if setting == AUTO else setting
        self.lowered = 0

    @property
    def level(self) -> int:
        """The place of the state among all, 0 for the most."""
        return STATES[self.key].index(self.state)

    def lower(self, state: str, reason: str) -> None:
        """Go down to *state*, if that is further down, and warn once.

        *reason* says what the kernel did, and what a user sees of it.
        """
        if STATES[self.key].index(state) <= self.level:
            return
        self.state = state
        self.lowered += 1
        logger.warning(
            "%s is now %s: %s (with the offload setting %s=%s it is so from the start)",
            *(self.key, state, reason, self.key, _setting_for(self.key, state)),
        )


def _setting_for(key: str, state: str) -> str:
    """Return the setting of *key* that avoids what led to *state*."""
    return state if state in CHOICES[key] else OFF


def summarise(switches: Iterable[Switch]) -> list[int]:
    """Return two numbers a key of `STATES`: the lowest level, and all lowerings."""
    levels = dict.fromkeys(STATES, 0)
    lowered = dict.fromkeys(STATES, 0)
    for one in switches:
        levels[one.key] = max(levels[one.key], one.level)
        lowered[one.key] += one.lowered
    return [number for key in STATES for number in (levels[key], lowered[key])]
