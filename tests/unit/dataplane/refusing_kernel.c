/* A kernel that refuses what it offered, to be preloaded.

   REFUSED names what: "segments" (no checksums for segmented sends, EIO), "tails" (a
   last segment that is shorter, EINVAL, as Linux 6.6.44 did), "room" (whatever is sent,
   EAGAIN: the buffer is full), "tcp" and "udp" (frames of many such packets for a TUN
   device, EINVAL). `refusals` counts them. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { UDP_SEGMENT = 103, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_UDP_L4 = 5 };

int refusals;

static int is_refused(const char *what) {
    const char *refused = getenv("REFUSED");
    return refused != NULL && strcmp(refused, what) == 0;
}

static int refuse(int code) {
    refusals++;
    errno = code;
    return -1;
}

static size_t segment_size(const struct msghdr *message) {
    struct msghdr *whole = (struct msghdr *)message;
    struct cmsghdr *header = CMSG_FIRSTHDR(whole);
    for (; header != NULL; header = CMSG_NXTHDR(whole, header)) {
        if (header->cmsg_level == IPPROTO_UDP && header->cmsg_type == UDP_SEGMENT) {
            uint16_t size;
            memcpy(&size, CMSG_DATA(header), sizeof(size));
            return size;
        }
    }
    return 0;
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    size_t size = segment_size(message), total = 0;
    for (size_t number = 0; number < message->msg_iovlen; number++)
        total += message->msg_iov[number].iov_len;
    if (is_refused("room"))
        return refuse(EAGAIN);
    if (size != 0 && is_refused("segments"))
        return refuse(EIO);
    if (size != 0 && total % size != 0 && is_refused("tails"))
        return refuse(EINVAL);
    return real(descriptor, message, flags);
}

int sendmmsg(int descriptor, struct mmsghdr *messages, unsigned count, int flags) {
    for (unsigned number = 0; number < count; number++) {
        ssize_t sent = sendmsg(descriptor, &messages[number].msg_hdr, flags);
        if (sent < 0)
            return number > 0 ? (int)number : -1;
        messages[number].msg_len = (unsigned)sent;
    }
    return (int)count;
}

ssize_t writev(int descriptor, const struct iovec *pieces, int count) {
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    /* The second byte of a frame is what kind of packets it stands for. */
    uint8_t kind = ((const uint8_t *)pieces[0].iov_base)[1];
    if ((kind == GSO_TCPV4 || kind == GSO_TCPV6) && is_refused("tcp"))
        return refuse(EINVAL);
    if (kind == GSO_UDP_L4 && is_refused("udp"))
        return refuse(EINVAL);
    return real(descriptor, pieces, count);
}
