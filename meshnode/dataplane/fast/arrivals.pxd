from libc.stdint cimport uint8_t, uint16_t

from meshnode.dataplane.fast.libc cimport iovec, mmsghdr
from meshnode.dataplane.fast.paths cimport RawPath

cdef enum:
    BATCHES = 32
    BATCH_BYTES = 65536
    NAME_BYTES = 28
    ANCILLARY_BYTES = 128
    SOCKETS = 8


cdef class Arrivals:
    cdef uint8_t *_buffers
    cdef mmsghdr _messages[BATCHES]
    cdef iovec _pieces[BATCHES]
    cdef uint8_t _controls[BATCHES][ANCILLARY_BYTES]
    cdef uint8_t _names[BATCHES][NAME_BYTES]
    cdef int _sockets[SOCKETS]
    cdef uint16_t _ports[SOCKETS]
    cdef int _socket_count
    cdef uint16_t _port       # of the socket that the batches came by
    cdef int _wanted          # batches to receive by the next call
    cdef int count
    cdef bint receive(self, int descriptor) noexcept nogil
    cdef int take(
        self, int number, uint8_t **data, RawPath *path, int *segment
    ) noexcept nogil
