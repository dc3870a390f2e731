# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Relaying: type 5 datagrams of one member that go on to another, a batch a call.

    if forwarder.carries(data, size, segment, may_drop):
        forwarder.take(data, size, segment, path, now)
    forwarder.flush()            # before the memory of the batches is used again

Theory of operation. A batch is what the kernel coalesced: datagrams of one sender, of
equal size, but perhaps of several channels. What goes on to one member is what leaves
by one segmented send: from where it was received, with no byte copied, and of each
datagram four bytes changed. All batches of a round leave by one call. Whoever does
not read fast enough loses datagrams, as at any router: nothing waits, for that would
hold up all others.

Bounds: a datagram lies within its batch, and has its prefix, before it is read.
"""

from libc.errno cimport EAGAIN, errno as c_errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

from meshnode.dataplane.fast.bursts cimport (
    BURST_BYTES,
    BURST_DATAGRAMS,
    MAX_BURSTS,
    Burst,
    Outgoing,
    add_burst,
    send_from,
)
from meshnode.dataplane.fast.channels cimport (
    CHANNEL_TYPE,
    ENDS_HERE,
    PREFIX_BYTES,
    ChannelEntry,
    NumbersOfChannels,
    take_bytes,
)
from meshnode.dataplane.fast.paths cimport RawPath, encode
from meshnode.dataplane.fast.taps cimport (
    FORWARDED,
    UNDERLAY_IN,
    UNDERLAY_OUT,
    Tap,
    verdict_of,
)
from meshnode.dataplane.fast.wire cimport little32, put_little32

cdef enum:
    # Of a socket address as `paths` writes them: family, port and address.
    _PLACE4_BYTES = 8
    _PLACE6_BYTES = 24

# Seconds after which it is worth to wake Python for what was only counted.
cdef double _TELL_AFTER = 1.0

cdef enum:
    _PASSES = -1
    _UNKNOWN_CHANNEL = 0
    _CHANNEL_SOURCE = 1
    _CHANNEL_LIMIT = 2
    _NO_ENDPOINT = 3
    _SEND_ERROR = 4

DROPS = (
    "UNKNOWN_CHANNEL", "CHANNEL_SOURCE", "CHANNEL_LIMIT", "NO_ENDPOINT", "SEND_ERROR",
)
"""The names of the reasons that `drops` counts, in its order."""

cdef int[FORWARD_DROPS] _VERDICTS
for _number, _name in enumerate(DROPS):
    _VERDICTS[_number] = verdict_of(_name)


cdef class Forwarder:
    """Forwards for all channels that do not end here; see the module for its use.

    Args:
        slots: how many peers there may be.
        on_refused: called with slot, bytes and segment size of a burst that the
            kernel did not take as it was.
        tap: takes copies while somebody captures.
    """

    def __cinit__(self, int slots, object on_refused, Tap tap):
        self._slots = slots
        self._tap = tap
        # Zeros that nobody touches cost no memory.
        self._places = <Place *>calloc(slots, sizeof(Place))
        if self._places == NULL:
            raise MemoryError
        self._channels = NumbersOfChannels()
        self._on_refused = on_refused
        self.can_segment = self.takes_tails = True

    def __dealloc__(self):
        free(self._places)

    # --- the mirror ---

    def set_channels(self, NumbersOfChannels channels):
        """Forward by these channels, and by no others."""
        self._channels = channels

    def set_place(self, int slot, path, int descriptor):
        """Expect *slot* at *path* and send there by a socket.

        None for nowhere, and a descriptor of -1 for no socket.
        """
        if not 0 <= slot < self._slots:
            raise IndexError("no such slot")
        encode(path, &self._places[slot].path)
        self._places[slot].descriptor = descriptor

    @property
    def relayed(self):
        """How many datagrams went on, and their bytes together."""
        return self._datagrams, self._octets

    def drops(self):
        """Return and forget how many were dropped, in the order of `DROPS`."""
        counts = tuple([self._drops[number] for number in range(FORWARD_DROPS)])
        memset(self._drops, 0, sizeof(self._drops))
        return counts

    # --- the batches ---

    cdef bint is_from(self, int slot, const RawPath *path) noexcept nogil:
        """Whether the peer in *slot* is where *path* comes from, by itself."""
        cdef RawPath *known
        cdef int size
        if not 0 <= slot < self._slots:
            return False
        known = &self._places[slot].path
        if known.version == 0 or known.version != path.version:
            return False
        size = _PLACE4_BYTES if known.version == 4 else _PLACE6_BYTES
        return memcmp(known.remote, path.remote, size) == 0

    cdef ChannelEntry *find(self, uint32_t number) noexcept nogil:
        """Return the channel with this number of ours, NULL if there is none."""
        return <ChannelEntry *>self._channels.find(number)

    cdef bint carries(
        self, const uint8_t *data, int size, int segment, bint may_drop
    ) noexcept nogil:
        """Whether all datagrams of a batch are for us to take; nothing is changed.

        Those of unknown channels are, if they *may_drop*.
        """
        cdef ChannelEntry *entry
        cdef uint32_t number
        cdef uint32_t before = 0
        cdef int at = 0
        if segment < PREFIX_BYTES:
            return False
        while at < size:
            if size - at < PREFIX_BYTES or little32(data + at) != CHANNEL_TYPE:
                return False
            number = little32(data + at + 4)
            if at == 0 or number != before:
                entry = self.find(number)
                if entry == NULL and not may_drop:
                    return False
                if entry != NULL and entry.onward == ENDS_HERE:
                    return False
            before = number
            at += segment
        return True

    cdef void take(
        self, uint8_t *data, int size, int segment, const RawPath *path, double now
    ) noexcept nogil:
        """Forward what a batch that we carry has, as far as it may go."""
        cdef ChannelEntry *entry = NULL
        cdef uint32_t number
        cdef uint32_t before = 0
        cdef int at = 0
        cdef int unit = 0
        cdef int length, refusal
        cdef Burst burst
        burst.count = 0
        while at < size:
            length = min(segment, size - at)
            number = little32(data + at + 4)
            if at == 0 or number != before:
                entry = self.find(number)
                unit = length
                self._add(&burst)
                burst.count = 0
            before = number
            # The limits know one size, that of the first.
            refusal = self._check(entry, unit, path, now)
            if self._tap.sides:
                self._note(entry, refusal, data + at, length, path)
            if refusal != _PASSES:
                self._drop(refusal, 1)
                self._add(&burst)
                burst.count = 0
                at += segment
                continue
            if (
                burst.count == BURST_DATAGRAMS
                or (burst.count and burst.used + length > BURST_BYTES)
            ):
                self._add(&burst)
                burst.count = 0
            if not burst.count:
                burst.data, burst.slot = data + at, entry.onward
                burst.segment, burst.used = length, 0
            put_little32(data + at + 4, entry.label)
            if self._tap.sides:
                self._tap.put(
                    UNDERLAY_OUT, data + at, length, entry.onward, FORWARDED,
                    &self._places[entry.onward].path, entry.label,
                )
            self._datagrams += 1
            self._octets += length
            burst.used += length
            burst.last = length
            burst.count += 1
            at += segment
        self._add(&burst)
        if now - self._told_at >= _TELL_AFTER:
            self._told_at = now
            self.has_news = True

    cdef int _check(
        self, ChannelEntry *entry, int size, const RawPath *path, double now
    ) noexcept nogil:
        """Return why a datagram may not go on, or that it passes."""
        if entry == NULL:
            return _UNKNOWN_CHANNEL
        if not self.is_from(entry.slot, path):
            return _CHANNEL_SOURCE
        if entry.onward >= self._slots or not self._places[entry.onward].path.version:
            return _NO_ENDPOINT
        if not take_bytes(entry, size, now):
            return _CHANNEL_LIMIT
        return _PASSES

    cdef void _note(
        self, const ChannelEntry *entry, int refusal, const uint8_t *data, int size,
        const RawPath *path,
    ) noexcept nogil:
        """Let the tap have what came, and what becomes of it."""
        cdef int verdict = FORWARDED if refusal == _PASSES else _VERDICTS[refusal]
        cdef int slot = -1
        # Who is not where the peer of the channel is, is not that peer.
        if entry != NULL and refusal != _CHANNEL_SOURCE:
            slot = entry.slot
        self._tap.put(
            UNDERLAY_IN, data, size, slot, verdict, path, little32(data + 4)
        )

    cdef void _add(self, Burst *burst) noexcept nogil:
        """Let a burst be the next to leave; none if it is empty."""
        cdef Place *place
        if not burst.count:
            return
        place = &self._places[burst.slot]
        if place.descriptor < 0:
            self._drop(_SEND_ERROR, burst.count)
            return
        if self._outgoing.count == MAX_BURSTS or place.descriptor != self._descriptor:
            self.flush()
        if burst.count > 1 and not (
            self.can_segment and (self.takes_tails or burst.last == burst.segment)
        ):
            # In order: what came before leaves before.
            self.flush()
            with gil:
                self._refuse(burst)
            return
        self._descriptor = place.descriptor
        self._bursts[self._outgoing.count] = burst[0]
        add_burst(&self._outgoing, &place.path, burst)

    cdef void flush(self) noexcept nogil:
        """Send what waits, by one call if the kernel takes it."""
        cdef int at = 0
        cdef int count = self._outgoing.count
        while at < count:
            at += send_from(&self._outgoing, at, self._descriptor)
            if at == count:
                break
            if c_errno == EAGAIN:
                # The rest would find the socket as full.
                while at < count:
                    self._drop(_SEND_ERROR, self._bursts[at].count)
                    at += 1
                break
            with gil:
                self._refuse(&self._bursts[at])
            at += 1
        self._outgoing.count = 0

    cdef void _drop(self, int reason, int count) noexcept nogil:
        self._drops[reason] += count
        self.has_news = True

    cdef int _refuse(self, Burst *burst) except -1 with gil:
        self.has_news = True
        self._on_refused(
            burst.slot, bytearray(burst.data[: burst.used]), burst.segment
        )
        return 0
