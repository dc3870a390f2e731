"""The node's clock: CLOCK_BOOTTIME, which goes on while the machine is suspended.

Ages of sessions follow it (WireGuard paper, section 6), so a laptop that slept for
an hour knows that its keys are an hour older.
"""

import ctypes
import errno
import os
import time
from contextlib import suppress

from meshnode.errors import HostError
from meshnode.host import libc

_TFD_TIMER_ABSTIME = 1
_NANOSECONDS = 1_000_000_000


class _ItimerSpec(ctypes.Structure):
    """`struct itimerspec`: the interval, then the moment."""

    _fields_ = [
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    ]


def boottime() -> float:
    """Return the seconds since the machine was started, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class BootTimer:
    """A descriptor that becomes readable at a moment of boottime.

    It wakes a machine's process right after a suspension too, which a sleep
    measured on the monotonic clock does not. The descriptor is non-blocking and
    closed on exec.

    Raises:
        HostError: if the process has no descriptor left.
    """

    def __init__(self) -> None:
        try:
            self._fd = libc.call(
                "timerfd_create", time.CLOCK_BOOTTIME, os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError as error:
            raise HostError(
                f"cannot make a timer: {error.strerror}",
                errno=error.errno or errno.EMFILE,
            ) from error

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._fd

    def set(self, at: float | None) -> None:
        """Become readable at *at* boottime seconds; never for None.

        A moment in the past makes it readable at once. An expiry that was not
        cleared yet is forgotten.
        """
        # Zero would disarm the timer, so the earliest moment is one nanosecond.
        when = 0 if at is None else max(1, round(at * _NANOSECONDS))
        spec = _ItimerSpec(0, 0, *divmod(when, _NANOSECONDS))
        libc.call(
            "timerfd_settime", self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None
        )

    def clear(self) -> None:
        """Take note of the expiry, so that the descriptor is not readable any more."""
        with suppress(BlockingIOError):
            os.read(self._fd, 8)

    def close(self) -> None:
        """Close the descriptor; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
