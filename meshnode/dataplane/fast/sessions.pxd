from libc.stdint cimport uint32_t, uint64_t

from meshnode.dataplane.fast.cipher cimport Cipher

cdef enum:
    # Words of the record of a session (`dataplane.shared_sessions`).
    RECORD_WORDS = 272
    HOLDERS_WORD = 0
    COUNTER_WORD = 1
    WINDOW_WORD = 8
    WINDOW_WORDS = 257   # the greatest counter and one, and the ring


cdef struct SealKeys:
    Cipher cipher
    int kind                 # type of the messages, and so their cipher
    uint32_t remote_index
    uint64_t *counter        # of the next packet; perhaps shared
    double expires_at
    double rekey_at
    bint is_rekey_reported


cdef struct OpenKeys:
    Cipher cipher
    Cipher aes               # without a context until it is needed
    int slot
    double expires_at
    double rekey_at
    bint is_confirmed
    uint64_t *window         # perhaps shared


cdef bint claim(SealKeys *keys, uint64_t packets, uint64_t *first) noexcept nogil
cdef bint is_fresh(OpenKeys *keys, uint64_t counter) noexcept nogil
cdef bint accept(OpenKeys *keys, uint64_t counter) noexcept nogil


cdef class SessionMemory:
    cdef object _view
    cdef uint64_t *_words
    cdef size_t _places
    cdef uint64_t _holder
    cdef uint64_t *hold(self, size_t place) except NULL
    cdef void let_go(self, uint64_t *record) noexcept


cdef class SealSession:
    cdef SealKeys keys
    cdef readonly int slot
    cdef readonly uint32_t local_index
    cdef readonly object secrets
    cdef SessionMemory _memory
    cdef uint64_t *_record
    cdef object _sealer


cdef class Window:
    cdef OpenSession _session


cdef class OpenSession:
    cdef OpenKeys keys
    cdef readonly int slot
    cdef readonly uint32_t local_index
    cdef readonly object secrets
    cdef SessionMemory _memory
    cdef uint64_t *_record
    cdef public object cipher   # what control says is sent under; either is received
    cdef object _opener
    cdef object _aes_opener
