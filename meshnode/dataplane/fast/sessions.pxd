from libc.stdint cimport uint32_t, uint64_t

from meshnode.dataplane.fast.libc cimport EVP_CIPHER_CTX


cdef struct SealKeys:
    EVP_CIPHER_CTX *context
    uint32_t remote_index
    uint64_t counter
    double expires_at
    double rekey_at


cdef struct OpenKeys:
    EVP_CIPHER_CTX *context
    int slot
    double expires_at
    double rekey_at
    bint is_confirmed
    bint has_greatest
    uint64_t greatest
    uint64_t words[128]


cdef bint is_fresh(const OpenKeys *keys, uint64_t counter) noexcept nogil
cdef bint accept(OpenKeys *keys, uint64_t counter) noexcept nogil


cdef class SealSession:
    cdef SealKeys keys
    cdef readonly int slot
    cdef readonly uint32_t local_index
    cdef readonly object secrets
    cdef public bint is_rekey_reported
    cdef object _sealer


cdef class Window:
    cdef OpenSession _session


cdef class OpenSession:
    cdef OpenKeys keys
    cdef readonly int slot
    cdef readonly uint32_t local_index
    cdef readonly object secrets
    cdef object _opener
