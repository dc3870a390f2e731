# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The tap of the compiled engine: `dataplane.tap.RingTap`, without Python a packet.

    tap.look()                 # before a batch: what is wanted
    if tap.sides:              # all that a packet costs while nobody captures
        tap.put(side, data, size, slot, verdict, &path, channel)
        tap.condemn(verdict)   # of what was put last
    tap.show()                 # after it

The same object serves the reference's half, which handles the exceptions: so there is
one writer of the ring. Bounds: a place lies within the ring whatever the reader wrote,
for only the number of free bytes depends on that.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from meshnode.dataplane.fast.atomics cimport load, store
from meshnode.dataplane.fast.libc cimport (
    CLOCK_REALTIME,
    clock_gettime,
    in6_pktinfo,
    in_pktinfo,
    sockaddr_in,
    sockaddr_in6,
    timespec,
)
from meshnode.dataplane.fast.paths cimport RawPath, encode
from meshnode.dataplane.fast.wire cimport big16

from meshnode.codec import tap as layout
from meshnode.errors import DropReason

cdef enum:
    _HEAD = 0
    _DROPPED = 1
    _TAIL = 8
    _WANTED = 16
    _SNAPLEN = 17
    _MAX_SNAPLEN = 65535
    _HEADER_BYTES = 4096
    _RING_BYTES = 8388608


cdef struct Record:
    # As `codec.tap.RECORD`.
    uint32_t size
    uint32_t copied
    uint32_t length
    uint8_t side
    uint8_t verdict
    uint8_t version
    uint8_t unused
    uint64_t time_ns
    int32_t slot
    uint32_t channel
    uint8_t remote[16]
    uint8_t local[16]
    uint16_t remote_port
    uint16_t local_port
    uint32_t spare


if (
    sizeof(Record) != layout.RECORD.size
    or (_HEADER_BYTES, _RING_BYTES) != (layout.HEADER_BYTES, layout.RING_BYTES)
):
    raise ImportError("the compiled tap is of another version: build it again")


cdef int verdict_of(object name) except -1:
    """Return the verdict on what is dropped for the reason with this name."""
    return layout.code_of(DropReason[name])


cdef class Tap:
    """Writes the ring in *memory*, of which this process is the only writer.

    Without memory (None) nothing is ever wanted.
    """

    def __cinit__(self, memory):
        cdef uint8_t[::1] view
        self._last = NULL
        self._words = NULL
        if memory is None:
            return
        if len(memory) < _HEADER_BYTES + _RING_BYTES:
            raise ValueError("not a whole ring")
        self._memory = view = memory
        self._words = <uint64_t *>&view[0]
        self._ring = &view[_HEADER_BYTES]
        # One that died before us left what it had published, and no more.
        self._head = load(self._words + _HEAD)

    # --- for the reference's half ---

    def refresh(self):
        """Find out what is wanted now."""
        self.look()

    def note(
        self, int side, data, *, int slot=-1, int verdict=PASSED, path=None,
        uint32_t channel=0,
    ):
        """Copy one packet; where there is no room for it, count it."""
        cdef RawPath raw
        cdef const uint8_t[::1] view = data
        encode(path, &raw)
        cdef int size = view.shape[0]
        self.put(side, &view[0] if size else NULL, size, slot, verdict, &raw, channel)

    def judge(self, reason):
        """Say why the packet that was noted last is dropped."""
        self.condemn(layout.code_of(reason))

    def name(self, int slot):
        """Say whose the packet is that was noted last."""
        if self._last != NULL:
            (<Record *>self._last).slot = slot

    def publish(self):
        """Let the reader have what was noted."""
        self.show()

    # --- for the compiled way ---

    cdef void look(self) noexcept nogil:
        """Find out what is wanted, for a whole batch."""
        self._last = NULL
        if self._words == NULL:
            return
        self.sides = <int>load(self._words + _WANTED) & (INNER | OUTER)
        if self.sides:
            self._snaplen = min(load(self._words + _SNAPLEN), <uint64_t>_MAX_SNAPLEN)

    cdef void show(self) noexcept nogil:
        """Let the reader have what was put."""
        if self._words != NULL and self.sides:
            store(self._words + _HEAD, self._head)

    cdef void put(
        self, int side, const uint8_t *data, int size, int slot, int verdict,
        const RawPath *path, uint32_t channel,
    ) noexcept nogil:
        """Copy a packet of *size* bytes, with what is known of it, if it is wanted."""
        cdef uint64_t copied = min(<uint64_t>size, self._snaplen)
        cdef uint64_t whole = (sizeof(Record) + copied + 7) & ~<uint64_t>7
        cdef Record *record
        cdef timespec now
        self._last = NULL
        if not self.sides & (INNER if side < UNDERLAY_IN else OUTER):
            return
        record = <Record *>self._place(whole)
        self._last = <uint8_t *>record
        if record == NULL:
            store(self._words + _DROPPED, self._words[_DROPPED] + 1)
            return
        memset(record, 0, sizeof(Record))
        clock_gettime(CLOCK_REALTIME, &now)
        record.size, record.copied, record.length = <uint32_t>whole, copied, size
        record.side, record.verdict = side, verdict
        record.time_ns = <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec
        record.slot, record.channel = slot, channel
        _put_path(record, path)
        memcpy(<uint8_t *>record + sizeof(Record), data, copied)

    cdef void put_burst(
        self, int side, const uint8_t *data, int size, int segment, int slot,
        int verdict, const RawPath *path, uint32_t channel,
    ) noexcept nogil:
        """Copy equal datagrams that lie one behind the other; the last may be shorter."""
        cdef int at = 0
        while at < size:
            self.put(
                side, data + at, min(segment, size - at), slot, verdict, path, channel
            )
            at += segment

    cdef void condemn(self, int verdict) noexcept nogil:
        """Say what became of the packet that was put last."""
        if self._last != NULL:
            (<Record *>self._last).verdict = verdict

    cdef uint8_t *_place(self, uint64_t size) noexcept nogil:
        """Return where a record of *size* bytes goes, NULL if there is no room."""
        cdef uint64_t at = self._head & (_RING_BYTES - 1)
        cdef uint64_t left = _RING_BYTES - at
        cdef uint64_t skipped = left if left < size else 0
        cdef uint64_t used
        if self._words == NULL:
            return NULL
        used = self._head - load(self._words + _TAIL)
        if used > _RING_BYTES or size + skipped > _RING_BYTES - used:
            return NULL
        if skipped:
            memset(self._ring + at, 0, 4)
            at = 0
        self._head += skipped + size
        return self._ring + at


cdef void _put_path(Record *record, const RawPath *path) noexcept nogil:
    cdef const sockaddr_in *v4 = <const sockaddr_in *>path.remote
    cdef const sockaddr_in6 *v6 = <const sockaddr_in6 *>path.remote
    cdef const in_pktinfo *info4 = <const in_pktinfo *>path.info
    cdef const in6_pktinfo *info6 = <const in6_pktinfo *>path.info
    record.version = path.version
    if path.version == 4:
        memcpy(record.remote, &v4.sin_addr, 4)
    elif path.version == 6:
        memcpy(record.remote, &v6.sin6_addr, 16)
    else:
        return
    record.remote_port = big16(path.remote + 2)
    record.local_port = path.port
    if path.has_source and path.version == 4:
        memcpy(record.local, &info4.ipi_spec_dst, 4)
    elif path.has_source:
        memcpy(record.local, &info6.ipi6_addr, 16)
