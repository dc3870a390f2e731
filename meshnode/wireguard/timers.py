"""The five timers of a peer, computed from what its traffic did (paper 6).

Theory of operation. WireGuard arms and cancels its timers with every packet. Packets
do not pass through here, so a timer that depends on them is not armed: its expiry is
*computed* from facts of the data plane (`Traffic`) whenever somebody asks. Only what
handshakes do is stored. The names are those of wireguard-go:

retransmit handshake
    5 s + jitter after an initiation, until answered or given up.
send keepalive
    10 s after data arrived and nothing left. Data that arrives while it runs asks
    for one more, 10 s later.
new handshake
    15 s + jitter after data left and nothing authenticated arrived.
zero key material
    540 s after the last session was derived, or the last handshake given up.
persistent keepalive
    N s after anything authenticated passed in either direction.

Jitter is drawn once for each wait, by whoever begins it, and kept here.
"""

import enum

from meshnode.deadlines import Deadline, earliest
from meshnode.ports import NEVER, Traffic
from meshnode.wireguard.constants import KEEPALIVE_TIMEOUT, REKEY_TIMEOUT


class Timer(enum.Enum):
    """The five timers; the value is the reason a deadline shows."""

    RETRANSMIT_HANDSHAKE = "retransmit handshake"
    SEND_KEEPALIVE = "send keepalive"
    NEW_HANDSHAKE = "new handshake after silence"
    ZERO_KEY_MATERIAL = "zero key material"
    PERSISTENT_KEEPALIVE = "persistent keepalive"


class Timers:
    """The timers of one peer.

    Stored moments are boottime seconds or None. `silence_jitter` is added to the
    15 s of the new-handshake timer; `persistent_interval` is in seconds, 0 for off,
    and `persistent_base` the moment it counts from when no traffic passed since.
    """

    __slots__ = (
        "_keepalive_done_for",
        "_second_keepalive_at",
        "_second_keepalive_set_at",
        "persistent_base",
        "persistent_interval",
        "retransmit_at",
        "silence_jitter",
        "zero_keys_at",
    )

    def __init__(self, *, persistent_interval: int = 0) -> None:
        self.retransmit_at: float | None = None
        self.zero_keys_at: float | None = None
        self.silence_jitter = 0.0
        self.persistent_interval = persistent_interval
        self.persistent_base = NEVER
        self._keepalive_done_for: float | None = None
        self._second_keepalive_at: float | None = None
        self._second_keepalive_set_at = NEVER

    def awaits_traffic(self, traffic: Traffic) -> bool:
        """Tell whether a timer that traffic began is running."""
        return (
            self._silence_at(traffic) is not None
            or self._keepalive_at(traffic) is not None
        )

    def next_deadline(self, traffic: Traffic) -> Deadline | None:
        """Return the timer that expires first, given the facts in *traffic*."""
        return earliest(
            *(
                Deadline(at, timer.value)
                for timer, at in self._expiries(traffic)
                if at is not None
            )
        )

    def pop_expired(self, traffic: Traffic, *, now: float) -> list[Timer]:
        """Return the timers that expired at or before *now*, and conclude them.

        However late it is called, an overdue timer is reported once: there is no
        storm after a stall. For `NEW_HANDSHAKE` the caller must also call
        `TrafficView.stop_waiting`, which ends the wait in the facts.
        """
        expired = [
            timer
            for timer, at in self._expiries(traffic)
            if at is not None and at <= now
        ]
        for timer in expired:
            self._conclude(timer, traffic, now)
        return expired

    def _expiries(self, traffic: Traffic) -> list[tuple[Timer, float | None]]:
        return [
            (Timer.RETRANSMIT_HANDSHAKE, self.retransmit_at),
            (Timer.SEND_KEEPALIVE, self._keepalive_at(traffic)),
            (Timer.NEW_HANDSHAKE, self._silence_at(traffic)),
            (Timer.ZERO_KEY_MATERIAL, self.zero_keys_at),
            (Timer.PERSISTENT_KEEPALIVE, self._persistent_at(traffic)),
        ]

    def _silence_at(self, traffic: Traffic) -> float | None:
        since = traffic.unanswered_since
        if since is None:
            return None
        return since + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + self.silence_jitter

    def _keepalive_at(self, traffic: Traffic) -> float | None:
        since = traffic.unacknowledged_since
        if since is not None and since != self._keepalive_done_for:
            return since + KEEPALIVE_TIMEOUT
        # The keepalive that began the second wait does not cancel it; data does.
        if traffic.last_data_sent_at > self._second_keepalive_set_at:
            return None
        return self._second_keepalive_at

    def _persistent_at(self, traffic: Traffic) -> float | None:
        if not self.persistent_interval:
            return None
        last = max(traffic.last_sent_at, traffic.last_received_at, self.persistent_base)
        return None if last == NEVER else last + self.persistent_interval

    def _conclude(self, timer: Timer, traffic: Traffic, now: float) -> None:
        match timer:
            case Timer.RETRANSMIT_HANDSHAKE:
                self.retransmit_at = None
            case Timer.SEND_KEEPALIVE:
                self._conclude_keepalive(traffic, now)
            case Timer.NEW_HANDSHAKE:
                pass  # the owner ends the wait in the facts themselves
            case Timer.ZERO_KEY_MATERIAL:
                self.zero_keys_at = None
            case Timer.PERSISTENT_KEEPALIVE:
                self.persistent_base = now

    def _conclude_keepalive(self, traffic: Traffic, now: float) -> None:
        since = traffic.unacknowledged_since
        first = since is not None and since != self._keepalive_done_for
        self._keepalive_done_for = since
        self._second_keepalive_at = None
        if first and since is not None and traffic.last_data_received_at > since:
            self._second_keepalive_at = now + KEEPALIVE_TIMEOUT
            self._second_keepalive_set_at = now
