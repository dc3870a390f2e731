"""Sleeping until something is to be done: for packets here, for anything else in Python."""

from meshnode.dataplane.fast.libc cimport (
    CLOCK_BOOTTIME,
    POLLIN,
    clock_gettime,
    poll,
    pollfd,
    timespec,
)

cdef enum:
    MAX_DESCRIPTORS = 16


cdef struct Watch:
    pollfd fds[MAX_DESCRIPTORS]
    int links      # the first so many are Python's
    int count


cdef inline double boottime() noexcept nogil:
    """Return the seconds since the host started, those of sleep included."""
    cdef timespec now
    clock_gettime(CLOCK_BOOTTIME, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cdef inline int begin_watch(Watch *watch, object links, object own) except -1:
    """Watch *links* (descriptor to events) for Python and *own* descriptors for us."""
    cdef int number = 0
    if len(links) + len(own) > MAX_DESCRIPTORS:
        raise ValueError("too many descriptors")
    for descriptor, events in links.items():
        watch.fds[number].fd, watch.fds[number].events = descriptor, events
        number += 1
    watch.links = number
    for descriptor in own:
        watch.fds[number].fd, watch.fds[number].events = descriptor, POLLIN
        number += 1
    watch.count = number
    return 0


cdef inline bint sleep(Watch *watch) noexcept nogil:
    """Sleep until something is ready; False if Python is to look: a link, a signal."""
    cdef int number
    if poll(watch.fds, watch.count, -1) < 0:
        return False
    for number in range(watch.links):
        if watch.fds[number].revents:
            return False
    return True


cdef inline list ready_links(const Watch *watch):
    """Return the descriptors of Python's that are ready."""
    cdef int number
    found = []
    for number in range(watch.links):
        if watch.fds[number].revents:
            found.append(watch.fds[number].fd)
    return found
