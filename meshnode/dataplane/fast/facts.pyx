# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What `dataplane.traffic` records, written without Python.

Theory of operation: that module tells what a record is and why its words are written in
this order; a test writes the same facts by both and compares the memory. A line has one
writer, the process, so whether a packet went the compiled way or the reference's does
not matter to it.
"""

from libc.stdint cimport uint64_t

from meshnode.dataplane.fast.atomics cimport load, store

from meshnode.ports import NEVER

cdef double _NEVER = NEVER

cdef enum:
    _LINE = 8            # words
    # Words of a worker's line.
    _PACKETS = 0
    _BYTES = 1
    _LAST_AT = 2
    _LAST_DATA_AT = 3
    _WAIT_SINCE = 4
    _WAIT_MARK = 5
    _LAST_USERS_AT = 6
    _STAMP = 7
    # Words of control's line.
    _SENT_HANDSHAKES = 0
    _ANSWERS = 3
    _WATCH = 6
    _GENERATION = 7
    _WATCHED_BIT = 1


cdef class Recorder:
    """Writes the line of one worker.

    Args:
        table: a `TrafficTable`.
        is_egress: whether the worker sends; else it receives.
        number: which of the workers of its direction it is, from 0 on.
    """

    def __cinit__(self, table, bint is_egress, int number=0):
        cdef int workers = table.workers
        cdef unsigned char[::1] octets = table.words.cast("B")
        if not 0 <= number < workers:
            raise ValueError("no such worker")
        self._view = octets
        self.facts.words = <uint64_t *>&octets[0]
        self.facts.slots = table.slots
        self.facts.record = _LINE * (2 * workers + 1)
        self.facts.line = _LINE * (number if is_egress else workers + number)
        self.facts.opposite = _LINE * workers if is_egress else 0
        self.facts.opposites = workers
        self.facts.control = _LINE * 2 * workers
        self.facts.answers = _ANSWERS if is_egress else _SENT_HANDSHAKES

    @property
    def slots(self):
        """How many records there are."""
        return self.facts.slots

    def data(self, int slot, uint64_t packets, uint64_t octets, double now):
        """Count data; return whether a wait began that nobody watches.

        Raises:
            IndexError: if there is no such slot, as the next.
        """
        self._check(slot)
        return note_data(&self.facts, slot, packets, octets, now)

    def keepalives(self, int slot, uint64_t packets, uint64_t octets, double now):
        """Count empty packets."""
        self._check(slot)
        note_keepalives(&self.facts, slot, packets, octets, now)

    def users(self, int slot, double now):
        """Note that some of the data just counted was not of control's making."""
        self._check(slot)
        note_users(&self.facts, slot, now)

    cdef int _check(self, int slot) except -1:
        if not 0 <= slot < self.facts.slots:
            raise IndexError("no such slot")
        return 0


cdef inline void _put_time(uint64_t *word, double value) noexcept nogil:
    (<double *>word)[0] = value


cdef uint64_t *_count(
    const Facts *facts, int slot, uint64_t packets, uint64_t octets, double now
) noexcept nogil:
    """Count packets; return the line."""
    cdef uint64_t *record = facts.words + <size_t>slot * facts.record
    cdef uint64_t *line = record + facts.line
    cdef uint64_t stamp = load(record + facts.control + _GENERATION) + 1
    if line[_STAMP] != stamp:
        line[_PACKETS] = line[_BYTES] = 0
        _put_time(line + _LAST_AT, _NEVER)
        _put_time(line + _LAST_DATA_AT, _NEVER)
        _put_time(line + _WAIT_SINCE, _NEVER)
        _put_time(line + _LAST_USERS_AT, _NEVER)
        line[_WAIT_MARK] = ~<uint64_t>0
        store(line + _STAMP, stamp)
    store(line + _PACKETS, line[_PACKETS] + packets)
    line[_BYTES] += octets
    _put_time(line + _LAST_AT, now)
    return line


cdef bint note_data(
    const Facts *facts, int slot, uint64_t packets, uint64_t octets, double now
) noexcept nogil:
    """Count data; return whether a wait began that nobody watches."""
    cdef uint64_t *line = _count(facts, slot, packets, octets, now)
    cdef uint64_t *record = facts.words + <size_t>slot * facts.record
    cdef uint64_t *control = record + facts.control
    cdef uint64_t *opposite = record + facts.opposite
    cdef uint64_t mark = load(control + facts.answers)
    cdef uint64_t stamp = load(control + _GENERATION) + 1
    cdef int number
    _put_time(line + _LAST_DATA_AT, now)
    for number in range(facts.opposites):
        if load(opposite + _STAMP) == stamp:
            mark += load(opposite + _PACKETS)
        opposite += _LINE
    if line[_WAIT_MARK] == mark:
        return False
    # The mark last, and before the flag is read: see `traffic` of both.
    _put_time(line + _WAIT_SINCE, now)
    store(line + _WAIT_MARK, mark)
    return not load(control + _WATCH) & _WATCHED_BIT


cdef void note_users(const Facts *facts, int slot, double now) noexcept nogil:
    """Note that some of the data just counted was not of control's making."""
    cdef uint64_t *record = facts.words + <size_t>slot * facts.record
    _put_time(record + facts.line + _LAST_USERS_AT, now)


cdef void note_keepalives(
    const Facts *facts, int slot, uint64_t packets, uint64_t octets, double now
) noexcept nogil:
    """Count empty packets; they wait for no answer."""
    _count(facts, slot, packets, octets, now)
