# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What one `recvmmsg` brings: batches of datagrams, and where each came from.

The kernel coalesces up to 64 equal datagrams of one sender into a batch (UDP_GRO,
since 5.0). The memory is used again by the next call.
"""

from libc.stdint cimport uint8_t, uint16_t
from libc.stdlib cimport free, malloc

from meshnode.dataplane.fast.libc cimport MSG_DONTWAIT, msghdr, recvmmsg
from meshnode.dataplane.fast.paths cimport RawPath, received

cdef enum:
    # Of large batches only so many, or they would leave the cache before they are read.
    _LARGE_BATCHES = 8
    _LARGE_BYTES = 16384


cdef class Arrivals:
    """The batches of the last call; `count` is how many."""

    def __cinit__(self):
        self._buffers = <uint8_t *>malloc(BATCHES * BATCH_BYTES)
        if self._buffers == NULL:
            raise MemoryError
        self._wanted = BATCHES

    def __dealloc__(self):
        free(self._buffers)

    def set_sockets(self, ports):
        """Receive by sockets with these ports, by descriptor; 0 for the node's own."""
        cdef int number = 0
        if len(ports) > SOCKETS:
            raise ValueError("too many sockets")
        self._socket_count = len(ports)
        for descriptor, port in ports.items():
            self._sockets[number], self._ports[number] = descriptor, port
            number += 1

    cdef bint receive(self, int descriptor) noexcept nogil:
        """Receive what a socket has, up to a bound; False if it has nothing."""
        cdef int number, count
        cdef msghdr *message
        for number in range(self._wanted):
            message = &self._messages[number].msg_hdr
            self._pieces[number].iov_base = self._buffers + number * BATCH_BYTES
            # As much as the reference's arena holds, should it get the batch.
            self._pieces[number].iov_len = BATCH_BYTES - 1
            message.msg_name = self._names[number]
            message.msg_namelen = NAME_BYTES
            message.msg_iov = &self._pieces[number]
            message.msg_iovlen = 1
            message.msg_control = self._controls[number]
            message.msg_controllen = ANCILLARY_BYTES
            message.msg_flags = 0
        self.count = 0
        self._port = 0
        for number in range(self._socket_count):
            if self._sockets[number] == descriptor:
                self._port = self._ports[number]
        # An error is what an earlier send caused; reading has cleared it.
        count = recvmmsg(descriptor, self._messages, self._wanted, MSG_DONTWAIT, NULL)
        if count <= 0:
            return False
        self.count = count
        self._wanted = BATCHES
        if self._messages[count - 1].msg_len > _LARGE_BYTES:
            self._wanted = _LARGE_BATCHES
        return True

    cdef int take(
        self, int number, uint8_t **data, RawPath *path, int *segment
    ) noexcept nogil:
        """Return the bytes of a batch; tell where they are, whence, and of what size."""
        cdef int size = self._messages[number].msg_len
        data[0] = self._buffers + number * BATCH_BYTES
        segment[0] = received(&self._messages[number].msg_hdr, self._port, path)
        if segment[0] <= 0:
            segment[0] = size
        return size
