# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Whose an address is and which session an index names, asked for every packet.

Theory of operation: open addressing over powers of two. Prefixes of all lengths share
one table, keyed by length and leading bits; a lookup asks for the lengths in use from
the longest on, and few are ever used. Removed entries leave a mark; when less than a
third of the table is free, it is built anew.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from meshnode.dataplane.fast.wire cimport big32

from meshnode.types import Prefix

cdef enum:
    _FIRST_SIZE = 64
    _EMPTY = -1
    _REMOVED = -2


cdef inline size_t _hash(uint64_t high, uint64_t low, uint64_t length) noexcept nogil:
    cdef uint64_t mixed = high * <uint64_t>0x9E3779B97F4A7C15U
    mixed ^= (low + length) * <uint64_t>0xC2B2AE3D27D4EB4FU
    mixed ^= mixed >> 29
    mixed *= <uint64_t>0xBF58476D1CE4E5B9U
    return <size_t>(mixed ^ (mixed >> 32))


cdef inline uint64_t _upper(int bits) noexcept nogil:
    """Return a mask of the *bits* highest of 64 bits; of none, or all, at the ends."""
    if bits <= 0:
        return 0
    if bits >= 64:
        return ~<uint64_t>0
    return ~((<uint64_t>1 << (64 - bits)) - 1)


cdef class PrefixTable:
    """The prefixes of one IP version, each with an owner of 0 and more, or `SEVERAL`."""

    def __cinit__(self, int version):
        self._bits = 32 if version == 4 else 128
        self._entries = NULL
        self._mask = 0
        self._resize()

    def __dealloc__(self):
        free(self._entries)

    def __len__(self):
        return self._live

    def put(self, prefix: Prefix, int owner):
        """Give *prefix* to *owner*; -1 takes it from whoever has it."""
        high, low = _split(prefix.network << (128 - self._bits))
        self._put(high, low, prefix.length, owner)

    def get(self, bytes address):
        """Return the owner of the longest prefix with the packed *address*, or -1."""
        if len(address) * 8 != self._bits:
            raise ValueError("an address of the other version")
        return self.find(address)

    cdef int find(self, const uint8_t *address) noexcept nogil:
        cdef uint64_t high = <uint64_t>big32(address) << 32
        cdef uint64_t low = 0
        cdef int number, length
        cdef PrefixEntry *entry
        if self._bits == 128:
            high |= big32(address + 4)
            low = (<uint64_t>big32(address + 8) << 32) | big32(address + 12)
        for number in range(self._length_count):
            length = self._lengths[number]
            entry = self._seek(high & _upper(length), low & _upper(length - 64), length)
            if entry.length >= 0:
                return entry.owner
        return NOBODY

    cdef PrefixEntry *_seek(
        self, uint64_t high, uint64_t low, int length
    ) noexcept nogil:
        """Return the entry of a prefix, or the empty one where the search ended."""
        cdef size_t at = _hash(high, low, length) & self._mask
        cdef PrefixEntry *entry
        while True:
            entry = &self._entries[at]
            if entry.length == _EMPTY:
                return entry
            if entry.length == length and entry.high == high and entry.low == low:
                return entry
            at = (at + 1) & self._mask

    cdef int _put(self, uint64_t high, uint64_t low, int length, int owner) except -1:
        cdef PrefixEntry *entry = self._seek(high, low, length)
        if entry.length >= 0:
            if owner != NOBODY:
                entry.owner = owner
                return 0
            entry.length = _REMOVED
            self._live -= 1
            self._counts[length] -= 1
            if not self._counts[length]:
                self._sort()
            return 0
        if owner == NOBODY:
            return 0
        if (self._used + 1) * 3 > (self._mask + 1) * 2:
            self._resize()
            entry = self._seek(high, low, length)
        entry.high, entry.low = high, low
        entry.length, entry.owner = length, owner
        self._used += 1
        self._live += 1
        self._counts[length] += 1
        if self._counts[length] == 1:
            self._sort()
        return 0

    cdef int _sort(self) except -1:
        cdef int length
        self._length_count = 0
        for length in range(128, -1, -1):
            if self._counts[length]:
                self._lengths[self._length_count] = length
                self._length_count += 1
        return 0

    cdef int _resize(self) except -1:
        cdef size_t size = _FIRST_SIZE
        cdef size_t at
        cdef PrefixEntry *old = self._entries
        cdef size_t old_size = self._mask + 1 if old != NULL else 0
        cdef PrefixEntry *entry
        while size < 3 * (self._live + 1):
            size *= 2
        self._entries = <PrefixEntry *>calloc(size, sizeof(PrefixEntry))
        if self._entries == NULL:
            self._entries = old
            raise MemoryError
        for at in range(size):
            self._entries[at].length = _EMPTY
        self._mask = size - 1
        for at in range(old_size):
            if old[at].length >= 0:
                entry = self._seek(old[at].high, old[at].low, old[at].length)
                entry[0] = old[at]
        self._used = self._live
        free(old)
        return 0


def _split(network):
    return network >> 64, network & 0xFFFFFFFFFFFFFFFF


cdef class NumberTable:
    """What numbers name, for those that were drawn at random; it keeps none alive."""

    def __cinit__(self):
        self._entries = NULL
        self._mask = 0
        self._resize()

    def __dealloc__(self):
        free(self._entries)

    def __len__(self):
        return self._live

    def __contains__(self, uint32_t number):
        return self.find(number) != NULL

    cdef void *find(self, uint32_t number) noexcept nogil:
        """Return what *number* names, or NULL."""
        cdef size_t at = number & self._mask
        while self._entries[at].state:
            if self._entries[at].state == 1 and self._entries[at].number == number:
                return self._entries[at].named
            at = (at + 1) & self._mask
        return NULL

    cdef int _put(self, uint32_t number, void *named) except -1:
        """Let *number* name something; NULL lets it name nothing."""
        cdef size_t at = number & self._mask
        while self._entries[at].state:
            if self._entries[at].state == 1 and self._entries[at].number == number:
                self._entries[at].named = named
                if named == NULL:
                    self._entries[at].state = 2
                    self._live -= 1
                return 0
            at = (at + 1) & self._mask
        if named == NULL:
            return 0
        if (self._used + 1) * 3 > (self._mask + 1) * 2:
            self._resize()
            at = number & self._mask
            while self._entries[at].state:
                at = (at + 1) & self._mask
        self._entries[at].number, self._entries[at].named = number, named
        self._entries[at].state = 1
        self._used += 1
        self._live += 1
        return 0

    cdef int _resize(self) except -1:
        cdef size_t size = _FIRST_SIZE
        cdef size_t number, at
        cdef NumberEntry *old = self._entries
        cdef size_t old_size = self._mask + 1 if old != NULL else 0
        while size < 3 * (self._live + 1):
            size *= 2
        self._entries = <NumberEntry *>calloc(size, sizeof(NumberEntry))
        if self._entries == NULL:
            self._entries = old
            raise MemoryError
        self._mask = size - 1
        for number in range(old_size):
            if old[number].state == 1:
                at = old[number].number & self._mask
                while self._entries[at].state:
                    at = (at + 1) & self._mask
                self._entries[at] = old[number]
        self._used = self._live
        free(old)
        return 0


cdef class IndexTable(NumberTable):
    """The sessions to receive under, by their local index."""

    def put(self, uint32_t index, OpenSession session):
        """Let *index* name *session*, which its owner keeps alive; None for none."""
        self._put(index, NULL if session is None else &session.keys)
