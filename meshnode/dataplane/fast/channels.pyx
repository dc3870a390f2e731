# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Relay channels in C structures, which the compiled ways and the reference share.

So a datagram may take either way at any time, and both spend the same allowance.
"""

from meshnode.dataplane.fast.lookup cimport NumberTable

from meshnode.dataplane.channel_table import burst_of
from meshnode.ports import NEVER

_NO_LIMIT = 2**63 - 1


cdef class Channel:
    """One channel and how much may still go on by it; as `channel_table` wants it."""

    def __init__(self, command):
        self.entry.since = NEVER
        self.entry.tokens = burst_of(command.rate)
        self.renew(command)

    def renew(self, command):
        """Begin the quota anew, and keep what is known of the rate."""
        self.command = command
        self.entry.slot, self.entry.label = command.slot, command.label
        self.entry.onward = ENDS_HERE if command.onward is None else command.onward
        self.entry.rate, self.entry.burst = command.rate, burst_of(command.rate)
        self.entry.has_quota = command.quota > 0
        self.entry.left = min(command.quota, _NO_LIMIT)

    def take(self, int count, int octets, *, double now):
        """Return how many of *count* datagrams of *octets* bytes each may go on."""
        cdef int number
        for number in range(count):
            if not take_bytes(&self.entry, octets, now):
                return number
        return count


cdef bint take_bytes(ChannelEntry *entry, int size, double now) noexcept nogil:
    """Take the bytes of a datagram from what may go on; False if it may not."""
    if entry.rate > 0:
        if now > entry.since:
            # Before the first time that is without end.
            entry.tokens += (now - entry.since) * entry.rate
            entry.tokens = min(entry.tokens, entry.burst)
            entry.since = now
        if size > entry.tokens:
            return False
    if entry.has_quota and size > entry.left:
        return False
    entry.tokens -= size
    entry.left -= size
    return True


cdef class NumbersOfChannels(NumberTable):
    """The channels to forward and to receive by, by our numbers of them."""

    def put(self, number, Channel channel):
        """Let *number* name *channel*, which its owner keeps alive; None for none."""
        self._put(number, NULL if channel is None else &channel.entry)
