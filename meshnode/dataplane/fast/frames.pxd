from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    MAX_HEADERS = 256    # IP and transport headers of a frame of several packets
    FRAME_SLACK = 16     # bytes behind a frame that `place_packet` may write to


cdef struct Frame:
    uint8_t *packet  # the IP packet, behind the virtio header
    int size
    int count        # packets that the frame stands for; 0: the reference decides
    int protocol     # TCP, UDP, or 0 for one packet
    int start        # of the transport header
    int header       # bytes before the payload
    int segment      # bytes of payload in each packet but the last
    int checksum     # where the checksum of one packet is to be completed; 0: nowhere
    uint64_t addresses
    uint8_t headers[MAX_HEADERS]


cdef void read_frame(uint8_t *data, int size, Frame *frame) noexcept nogil
cdef int packet_size(const Frame *frame, int number) noexcept nogil
cdef uint8_t *place_packet(Frame *frame, int number) noexcept nogil
