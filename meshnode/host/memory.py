"""Memory that processes share: anonymous files of a fixed size.

The size is sealed, so a process that was taken over cannot shrink the file under
the others and kill them with SIGBUS. Shared memory is left out of core dumps.
"""

import errno
import fcntl
import mmap
import os

from meshnode.errors import HostError

_MFD_NOEXEC_SEAL = 0x0008
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def create_shared(name: str, size: int) -> int:
    """Return a memfd of *size* zero bytes, closed on exec; *name* is for debugging.

    Raises:
        HostError: if the memory cannot be had.
    """
    try:
        fd = _create(name)
        try:
            os.ftruncate(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            os.close(fd)
            raise
    except OSError as error:
        raise HostError(
            f"no shared memory for {name}: {error.strerror}",
            errno=error.errno or errno.ENOMEM,
        ) from error
    return fd


def map_shared(fd: int, size: int, *, writable: bool = True) -> mmap.mmap:
    """Map the first *size* bytes of a memfd; the mapping keeps the memory alive.

    Raises:
        HostError: if the file is smaller than that, or cannot be mapped.
    """
    access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    try:
        mapping = mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=access)
    except (OSError, ValueError) as error:
        raise HostError(
            f"cannot map {size} bytes of shared memory: {error}", errno=errno.EINVAL
        ) from error
    mapping.madvise(mmap.MADV_DONTDUMP)
    return mapping


def create_sealed(name: str, data: bytes) -> int:
    """Return a memfd that holds *data*, which nobody can change any more.

    It is closed on exec; *name* is for debugging.

    Raises:
        HostError: if the memory cannot be had.
    """
    fd = -1
    try:
        fd = _create(name)
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_WRITE)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        raise HostError(
            f"no memory for {name}: {error.strerror}",
            errno=error.errno or errno.ENOMEM,
        ) from error
    return fd


def read_sealed(fd: int, size: int) -> bytes:
    """Return what a memfd of `create_sealed` holds, which must be *size* bytes.

    Raises:
        HostError: if it is another number of them, or they could still change.
    """
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        data = os.pread(fd, size + 1, 0)
    except OSError as error:
        raise HostError(
            f"cannot read sealed memory: {error.strerror}",
            errno=error.errno or errno.EINVAL,
        ) from error
    if not seals & fcntl.F_SEAL_WRITE or len(data) != size:
        raise HostError("the sealed memory is not what was said", errno=errno.EPROTO)
    return data


def _create(name: str) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        # Kernels before 6.3 do not know the flag; later ones grumble without it.
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(name, flags)
