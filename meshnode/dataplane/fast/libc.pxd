"""What the compiled engine takes from the C library, the kernel and libcrypto."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

    ssize_t writev(int descriptor, const iovec *pieces, int count)


cdef extern from "<unistd.h>" nogil:
    ssize_t read(int descriptor, void *buffer, size_t size)


cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr

    struct in6_addr:
        uint8_t s6_addr[16]

    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr

    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id

    struct in_pktinfo:
        int ipi_ifindex
        in_addr ipi_spec_dst
        in_addr ipi_addr

    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex

    int IPPROTO_IP
    int IPPROTO_IPV6
    int IP_PKTINFO
    int IPV6_PKTINFO


cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags

    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type

    int AF_INET
    int AF_INET6
    int MSG_DONTWAIT
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    cmsghdr *CMSG_NXTHDR(msghdr *message, cmsghdr *before)
    uint8_t *CMSG_DATA(cmsghdr *header)
    size_t CMSG_SPACE(size_t size)
    size_t CMSG_LEN(size_t size)
    int sendmmsg(int descriptor, mmsghdr *messages, unsigned int count, int flags)
    int recvmmsg(
        int descriptor, mmsghdr *messages, unsigned int count, int flags, void *timeout
    )


cdef extern from "<netinet/udp.h>" nogil:
    int SOL_UDP
    int UDP_SEGMENT
    int UDP_GRO


cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents

    int POLLIN
    int poll(pollfd *descriptors, unsigned long count, int timeout)


cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec

    int CLOCK_BOOTTIME
    int CLOCK_REALTIME
    int clock_gettime(int clock, timespec *time)


cdef extern from "<openssl/params.h>" nogil:
    ctypedef struct OSSL_PARAM:
        void *data

    OSSL_PARAM OSSL_PARAM_construct_octet_string(
        const char *key, void *buffer, size_t size
    )
    OSSL_PARAM OSSL_PARAM_construct_end()


cdef extern from "<openssl/core_names.h>" nogil:
    const char *OSSL_CIPHER_PARAM_AEAD_TAG


cdef extern from "<openssl/evp.h>" nogil:
    ctypedef struct EVP_CIPHER_CTX
    ctypedef struct EVP_CIPHER

    const EVP_CIPHER *EVP_chacha20_poly1305()
    const EVP_CIPHER *EVP_aes_256_gcm()
    EVP_CIPHER_CTX *EVP_CIPHER_CTX_new()
    void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *context)
    int EVP_CIPHER_CTX_get_params(EVP_CIPHER_CTX *context, OSSL_PARAM *parameters)
    int EVP_EncryptInit_ex2(
        EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, const uint8_t *key,
        const uint8_t *nonce, const OSSL_PARAM *parameters
    )
    int EVP_EncryptUpdate(
        EVP_CIPHER_CTX *context, uint8_t *out, int *written, const uint8_t *data,
        int size
    )
    int EVP_EncryptFinal_ex(EVP_CIPHER_CTX *context, uint8_t *out, int *written)
    int EVP_DecryptInit_ex2(
        EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, const uint8_t *key,
        const uint8_t *nonce, const OSSL_PARAM *parameters
    )
    int EVP_DecryptUpdate(
        EVP_CIPHER_CTX *context, uint8_t *out, int *written, const uint8_t *data,
        int size
    )
    int EVP_DecryptFinal_ex(EVP_CIPHER_CTX *context, uint8_t *out, int *written)
