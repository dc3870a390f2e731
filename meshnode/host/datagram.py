"""UDP sockets beside the node's own port, for what is not of the mesh's wire."""

import ctypes
import socket


def open_datagram_socket(version: int, fwmark: int) -> socket.socket:
    """Return a non-blocking UDP socket of one version of IP, 4 or 6; raises `OSError`.

    What it sends carries *fwmark* (32 bits, 0 for none) and so stays out of the
    overlay's routes.
    """
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    one = socket.socket(family, socket.SOCK_DGRAM)
    try:
        one.setblocking(False)
        if version == 6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if fwmark:
            # The kernel's mark is unsigned, the integer of `setsockopt` is not.
            mark = ctypes.c_int(fwmark).value
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except OSError:
        one.close()
        raise
    return one
