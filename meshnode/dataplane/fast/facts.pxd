from libc.stdint cimport uint64_t


cdef struct Facts:
    uint64_t *words     # the whole memory
    int slots           # whose records it holds; callers ask for no other
    int record          # words of one record
    int line            # our line in it
    int opposite        # the first of the other direction's lines
    int opposites       # how many of them there are
    int control         # control's line
    int answers         # the word of that line that counts for the other direction


cdef bint note_data(
    const Facts *facts, int slot, uint64_t packets, uint64_t octets, double now
) noexcept nogil
cdef void note_users(const Facts *facts, int slot, double now) noexcept nogil
cdef void note_keepalives(
    const Facts *facts, int slot, uint64_t packets, uint64_t octets, double now
) noexcept nogil


cdef class Recorder:
    cdef Facts facts
    cdef object _view
    cdef int _check(self, int slot) except -1
