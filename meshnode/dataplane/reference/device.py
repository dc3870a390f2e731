"""The TUN device as the pumps use it: whole frames, and errors sorted by meaning."""

import errno
import os

from meshnode.codec.coalesce import Frame
from meshnode.codec.virtio import HEADER
from meshnode.dataplane.interface import DeviceGoneError

MAX_FRAME = HEADER.size + 65535
"""The longest frame with its header, in bytes."""


class TunDevice:
    """A non-blocking descriptor of a TUN device opened with IFF_VNET_HDR."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor; others of the same device live on."""
        os.close(self._descriptor)

    def read(self) -> bytes | None:
        """Return the next frame, or None if none is waiting.

        Raises:
            DeviceGoneError: if the device was deleted.
        """
        try:
            return os.read(self._descriptor, MAX_FRAME)
        except BlockingIOError:
            return None
        except OSError as error:
            check_gone(error)
            return None

    def write(self, frame: Frame) -> int:
        """Write one frame; return 0, or why the kernel did not take it.

        It does not while the device is down (EIO), or if it finds fault with the frame
        (EINVAL).

        Raises:
            DeviceGoneError: if the device was deleted.
        """
        try:
            os.writev(self._descriptor, frame)
        except OSError as error:
            check_gone(error)
            return error.errno or errno.EIO
        return 0


def check_gone(error: OSError) -> None:
    """Raise `DeviceGoneError` if *error* says that the device was deleted."""
    # The descriptor outlives the device and says so by this error.
    if error.errno in (errno.EBADFD, errno.ENODEV, errno.ENXIO):
        raise DeviceGoneError("the TUN device was deleted; start the interface again")
