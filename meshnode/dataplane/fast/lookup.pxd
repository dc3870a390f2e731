from libc.stdint cimport uint8_t, uint32_t, uint64_t

from meshnode.dataplane.fast.sessions cimport OpenSession

cdef enum:
    NOBODY = -1
    SEVERAL = -2


cdef struct PrefixEntry:
    uint64_t high
    uint64_t low
    int length     # -1: empty; -2: was removed
    int owner


cdef class PrefixTable:
    cdef PrefixEntry *_entries
    cdef size_t _mask
    cdef size_t _used
    cdef size_t _live
    cdef int _bits
    cdef int _counts[129]
    cdef int _lengths[129]
    cdef int _length_count
    cdef int find(self, const uint8_t *address) noexcept nogil
    cdef int _put(self, uint64_t high, uint64_t low, int length, int owner) except -1
    cdef PrefixEntry *_seek(
        self, uint64_t high, uint64_t low, int length
    ) noexcept nogil
    cdef int _sort(self) except -1
    cdef int _resize(self) except -1


cdef struct NumberEntry:
    uint32_t number
    int state      # 0: empty; 1: taken; 2: was removed
    void *named


cdef class NumberTable:
    cdef NumberEntry *_entries
    cdef size_t _mask
    cdef size_t _used
    cdef size_t _live
    cdef void *find(self, uint32_t number) noexcept nogil
    cdef int _put(self, uint32_t number, void *named) except -1
    cdef int _resize(self) except -1


cdef class IndexTable(NumberTable):
    pass
