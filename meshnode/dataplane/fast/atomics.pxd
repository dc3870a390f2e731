"""Loads and stores that processes share; all are those of C11, sequentially ordered.

Every word has eight bytes and lies at a multiple of eight.
"""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t mn_load(uint64_t *at) {
        return __atomic_load_n(at, __ATOMIC_SEQ_CST);
    }
    static inline void mn_store(uint64_t *at, uint64_t value) {
        __atomic_store_n(at, value, __ATOMIC_SEQ_CST);
    }
    static inline uint64_t mn_add(uint64_t *at, uint64_t value) {
        return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
    }
    static inline uint64_t mn_or(uint64_t *at, uint64_t value) {
        return __atomic_fetch_or(at, value, __ATOMIC_SEQ_CST);
    }
    static inline uint64_t mn_and(uint64_t *at, uint64_t value) {
        return __atomic_fetch_and(at, value, __ATOMIC_SEQ_CST);
    }
    static inline int mn_swap(uint64_t *at, uint64_t *expected, uint64_t value) {
        return __atomic_compare_exchange_n(
            at, expected, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    """
    uint64_t load "mn_load"(uint64_t *at) noexcept nogil
    void store "mn_store"(uint64_t *at, uint64_t value) noexcept nogil
    # These return what was there before.
    uint64_t fetch_add "mn_add"(uint64_t *at, uint64_t value) noexcept nogil
    uint64_t fetch_or "mn_or"(uint64_t *at, uint64_t bits) noexcept nogil
    uint64_t fetch_and "mn_and"(uint64_t *at, uint64_t bits) noexcept nogil
    # Write *value* if *expected* is there, else tell what is.
    bint swap "mn_swap"(
        uint64_t *at, uint64_t *expected, uint64_t value
    ) noexcept nogil
