from libc.stdint cimport uint8_t, uint64_t


cdef struct Frame:
    uint8_t *packet  # the IP packet, behind the virtio header
    int size
    int count        # packets that the frame stands for; 0: the reference decides
    int protocol     # TCP, UDP, or 0 for one complete packet
    int start        # of the transport header
    int header       # bytes before the payload
    int segment      # bytes of payload in each packet but the last
    uint64_t addresses


cdef void read_frame(uint8_t *data, int size, Frame *frame) noexcept nogil
cdef int packet_size(const Frame *frame, int number) noexcept nogil
cdef void write_packet(const Frame *frame, int number, uint8_t *out) noexcept nogil
